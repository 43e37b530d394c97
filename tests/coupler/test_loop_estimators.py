"""Estimators against the kernels that define their values; decisions against compiled handlers."""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.control_messages import DECIDE, Decision
from cudaq_target.coupler.frame import Status, function_id, read_response, request_frame
from cudaq_target.coupler.loops.decide import DecisionState, decision_handler
from cudaq_target.coupler.loops.estimators import (
    CorrectionEstimator,
    CostEstimator,
    EnergyEstimator,
    FrequencyEstimator,
    MeanEstimator,
)
from cudaq_target.coupler.loops.intake import Intake
from cudaq_target.coupler.loops.interface import Experiment
from cudaq_target.coupler.loops.shot_functions import (
    Kind,
    decoded_values,
    flip_values,
    ising_values,
    maxcut_values,
    mis_values,
    pauli_values,
    qubo_values,
)
from cudaq_target.coupler.loops.shot_plans import says_stop
from cudaq_target.coupler.loops.tail import TailEstimator
from cudaq_target.coupler.loops.tallies import Rule, boundary_, boundary_table
from cudaq_target.coupler.payload import ShotBatch
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.kernels.decoders.graph import graph_from_checks
from cudaq_target.kernels.decoders.lookup import LookupDecoder, build_table
from cudaq_target.kernels.decoders.union_find import UnionFindDecoder
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import MixtureBernstein, bernoulli_interval, log_mixture
from cudaq_target.kernels.layout import pack_bits
from cudaq_target.kernels.observables import (
    ising_energies,
    maxcut_costs,
    mis_costs,
    pauli_z_values,
    qubo_costs,
)
from cudaq_target.kernels.pauli_groups import PauliStream, group_pauli_terms
from cudaq_target.kernels.readout import corrected_z_values

EDGES = [(0, 1), (1, 2), (0, 69), (68, 69)]
N_BITS = 70
TERMS = {"IIII": 0.3, "ZZII": 0.5, "IZIZ": -0.25, "XIXI": 0.4, "YYII": 0.1}


def rows_of(seed, n_shots, n_bits):
    rng = np.random.default_rng(seed)
    return pack_bits(rng.integers(0, 2, (n_shots, n_bits), dtype=np.uint8))


def repetition():
    """Three bits, two checks, the first bit's flip as observable; detectors are parities."""
    checks = np.array([[1, 1, 0], [0, 1, 1]], dtype=np.uint8)
    return graph_from_checks(checks, np.array([[1, 0, 0]], dtype=np.uint8), 0.1)


def masks(*rows):
    return np.array([[sum(1 << k for k in row)] for row in rows], dtype=np.uint64)


DETECTORS, OBSERVABLES = masks([0, 1], [1, 2]), masks([0])


def every_function():
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(5, 5))
    confusion = np.array([[[0.9, 0.2], [0.1, 0.8]]] * 5)
    terms = masks([0], [1, 2], [0, 3, 4])
    decoder = UnionFindDecoder(repetition())
    return {
        "pauli": pauli_values(5, terms, [0.5, -1.0, 0.25], 0.1),
        "corrected": pauli_values(5, terms, [0.5, -1.0, 0.25], 0.1, confusion),
        "ising": ising_values(70, EDGES, [1.0, 0.5, -1.0, 2.0], np.linspace(-1, 1, 70), 0.5),
        "maxcut": maxcut_values(70, EDGES, [1.0, 0.5, -1.0, 2.0]),
        "qubo": qubo_values(5, matrix, 0.25),
        "mis": mis_values(70, EDGES, 1.5),
        "flip": flip_values(70, [3, 69]),
        "decoded": decoded_values(decoder, 3, DETECTORS, OBSERVABLES),
    }


FUNCTIONS = every_function()


@given(seed=st.integers(0, 2**32 - 1), n_shots=st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_functions_of_a_shot_are_those_of_the_kernels(seed, n_shots):
    wide, narrow = rows_of(seed, n_shots, 70), rows_of(seed, n_shots, 5)
    weights, fields = [1.0, 0.5, -1.0, 2.0], np.linspace(-1, 1, 70)
    terms = masks([0], [1, 2], [0, 3, 4])
    confusion = np.array([[[0.9, 0.2], [0.1, 0.8]]] * 5)
    matrix = np.random.default_rng(2).normal(size=(5, 5))
    expected = {
        "pauli": pauli_z_values(narrow, 5, terms, [0.5, -1.0, 0.25], 0.1),
        "corrected": corrected_z_values(
            narrow, 5, terms, [0.5, -1.0, 0.25], confusion, 0.1, backend="numpy"
        ),
        "ising": ising_energies(wide, 70, EDGES, weights, fields, 0.5, backend="numpy"),
        "maxcut": maxcut_costs(wide, 70, EDGES, weights, backend="numpy"),
        "qubo": qubo_costs(narrow, 5, matrix, 0.25, backend="numpy"),
        "mis": mis_costs(wide, 70, EDGES, backend="numpy").costs(1.5),
        "flip": (wide[:, 0] >> np.uint64(3) ^ wide[:, 1] >> np.uint64(5)) & np.uint64(1),
    }
    for name, values in expected.items():
        function = FUNCTIONS[name]
        found = function.values(narrow if function.n_bits == 5 else wide)
        np.testing.assert_allclose(found, values, atol=1e-12)
        assert found.min() >= function.low - 1e-12
        assert found.max() <= function.high + 1e-12


def test_decoding_leaves_what_the_decoder_cannot_correct():
    shots = np.arange(8, dtype=np.uint64).reshape(-1, 1)
    weight = np.array([bin(k).count("1") for k in range(8)])
    # A repetition code of three bits corrects one flip, and fails at two or more.
    assert FUNCTIONS["decoded"].values(shots).tolist() == (weight > 1).astype(float).tolist()
    checks = np.array([[1, 1, 0], [0, 1, 1]], dtype=np.uint8)
    observables = np.array([[1, 0, 0]], dtype=np.uint8)
    table = LookupDecoder(build_table(checks, observables))
    for decoder in (UnionFindDecoder(repetition()), table):
        estimator = CorrectionEstimator(decoder, 3, DETECTORS, OBSERVABLES)
        estimator.update(0, shots)
        assert estimator.estimate().value == 0.5
    with pytest.raises(KernelInputError, match="detectors"):
        CorrectionEstimator(table, 3, OBSERVABLES, OBSERVABLES)


def test_a_decoder_without_a_table_is_asked_shot_by_shot():
    n = 20  # bits in a row, more detectors than a table has
    checks = np.eye(n - 1, n, dtype=np.uint8) + np.eye(n - 1, n, 1, dtype=np.uint8)
    observable = np.zeros((1, n), dtype=np.uint8)
    observable[0, 0] = 1
    decoder = UnionFindDecoder(graph_from_checks(checks, observable, 0.1))
    detectors = masks(*([k, k + 1] for k in range(n - 1)))
    estimator = CorrectionEstimator(decoder, n, detectors, masks([0]))
    shots = (np.random.default_rng(3).random((500, n)) < 0.3).astype(np.uint8)
    estimator.update(0, pack_bits(shots))
    fails = shots.sum(axis=1) > n / 2
    ties = shots.sum(axis=1) == n / 2
    assert fails.mean() <= estimator.estimate().value <= (fails | ties).mean()


@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=8),
)
@settings(max_examples=20, deadline=None)
def test_energy_is_that_of_the_stream_of_groups_however_it_is_cut(seed, cuts):
    constant, groups = group_pauli_terms(TERMS)
    stream = PauliStream(groups, constant)
    estimator, by_group = EnergyEstimator(TERMS), EnergyEstimator(groups, constant)
    for k in range(len(groups)):
        rows = rows_of(seed + k, sum(cuts) + 1, 4)
        stream.update(k, rows)
        by_group.update(k, rows)
        for part in np.split(rows, np.cumsum(cuts)):
            estimator.update(k, part)
    found = estimator.estimate()
    assert found == by_group.estimate()
    assert found.value == pytest.approx(stream.mean, abs=1e-12)
    assert found.standard_error == pytest.approx(stream.standard_error, abs=1e-12)
    assert found.n_shots_by_setting == stream.n_shots
    exact = stream.interval()
    assert found.low <= exact.low + 1e-9
    assert found.high >= exact.high - 1e-9
    assert found.high - found.low <= 1.02 * exact.width + 1e-9
    estimator.begin(())
    assert estimator.estimate().n_shots == 0


def test_the_table_of_the_boundary_is_above_it_and_near():
    table = boundary_table(0.95)
    squares = np.concatenate([[0.0, 1e-3, 0.01, 1e9], np.geomspace(1e-3, 1e9, 300)])
    found = np.array([boundary_(table, v) for v in squares])
    assert (log_mixture(found, squares, 1.0) >= np.log(2 / 0.05) - 1e-9).all()
    assert (log_mixture(0.98 * found - 1e-6, squares, 1.0) < np.log(2 / 0.05)).all()
    assert boundary_(table, 1e12) == np.inf


@pytest.mark.parametrize("make", [FrequencyEstimator, None])
def test_intervals_hold_at_every_look(make):
    """Of 400 streams, those that a level of 80 % loses at any look stay far below 20 %."""
    rng = np.random.default_rng(7)
    lost = 0
    for _ in range(400):
        bits = (rng.random((256, 1)) < 0.1).astype(np.uint8)
        rows = pack_bits(bits)
        if make is None:
            estimator = TailEstimator(flip_values(1, [0]), 0.5, confidence=0.8)
            exact = 0.0
        else:
            estimator, exact = make(1, confidence=0.8), 0.1
        inside = True
        for first in range(0, 256, 16):
            estimator.update(0, rows[first : first + 16])
            now = estimator.estimate()
            inside &= now.low <= exact <= now.high
        lost += not inside
    assert lost <= 80


def test_counts_and_their_interval():
    estimator = FrequencyEstimator(3, [1])
    rows = rows_of(1, 300, 3)
    estimator.update(0, rows)
    ones = [int((rows[:, 0] >> np.uint64(k) & np.uint64(1)).sum()) for k in range(3)]
    assert estimator.counts.tolist() == ones
    assert estimator.estimate().value == pytest.approx(ones[1] / 300)
    assert estimator.probability_interval() == bernoulli_interval(ones[1], 300)


@given(seed=st.integers(0, 2**32 - 1), part=st.sampled_from([0.1, 0.25, 0.5, 1.0]))
@settings(max_examples=20, deadline=None)
def test_the_tail_is_the_mean_of_the_lowest_costs(seed, part):
    cost = FUNCTIONS["qubo"]
    rows = rows_of(seed, 90, 5)
    estimator = TailEstimator(cost, part)
    for block in np.array_split(rows, 5):
        estimator.update(0, block)
    lowest = np.sort(cost.values(rows))[: int(np.ceil(part * 90))]
    found = estimator.estimate()
    assert found.value == pytest.approx(lowest.mean(), abs=1e-9)
    assert cost.low <= found.low <= found.value <= found.high <= cost.high
    if part == 1.0:
        assert found.standard_error == pytest.approx(cost.values(rows).std(ddof=1) / sqrt(90))


def test_read_out_correction_gives_the_mean_without_errors():
    flips = np.array([[0.95, 0.12], [0.05, 0.88]])
    rng = np.random.default_rng(5)
    clean = (rng.random((40_000, 2)) < [0.2, 0.6]).astype(np.uint8)
    wrong = rng.random(clean.shape) < np.where(clean, 0.12, 0.05)
    rows = pack_bits((clean ^ wrong).astype(np.uint8))
    exact = 0.6 + (0.6 * -0.2)
    plain, corrected = (
        EnergyEstimator({"ZI": 1.0, "ZZ": 1.0}, confusion=matrix)
        for matrix in (None, [flips, flips])
    )
    for estimator in (plain, corrected):
        estimator.update(0, rows)
    found = corrected.estimate()
    assert abs(found.value - exact) < 5 * found.standard_error
    assert abs(plain.estimate().value - exact) > 5 * plain.estimate().standard_error
    assert found.standard_error > plain.estimate().standard_error


@pytest.mark.parametrize("interval", ["anytime", "normal"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_handler_decides_and_counts_as_the_estimator_does(name, interval):
    function = FUNCTIONS[name]
    estimator = MeanEstimator([function, function], 0.5, interval=interval)
    estimator.update(1, rows_of(9, 40, function.n_bits))
    experiment = Experiment((), max_shots=400, setting=0)
    span = function.high - function.low
    rule = Rule(half_width=0.55 * span, other_half=estimator.estimate().half_widths[1])
    if interval == "normal":
        rule = Rule(target_error=0.03 * span)
    intake = Intake(estimator, Judge(rule), (function.n_bits + 63) // 64)
    intake.begin(experiment, 16)
    state = DecisionState(estimator, function.n_bits, 64)
    dispatcher = Dispatcher()
    decision_handler().add_to(dispatcher, DECIDE, state=state.words.view(np.uint8))
    session = dispatcher.session(1 << 14)
    state.arm(77, experiment, 16, rule, intake)
    first = 0
    for n_shots in itertools.cycle([16, 7, 9, 33, 1]):
        rows = rows_of(first, min(n_shots, 400 - first), function.n_bits)
        stops = intake.take(rows)
        status, answer = ask(dispatcher, session, ShotBatch(77, first, function.n_bits, rows))
        assert status == Status.OK
        assert answer.is_stop == stops == state.has_stopped
        first += len(rows)
        if intake.n_held == 0 or stops:
            estimate = estimator.estimate()
            assert answer.mean == pytest.approx(estimate.value, abs=1e-12 * span)
            if interval == "anytime":
                assert answer.low == pytest.approx(estimate.low, abs=1e-12 * span)
                assert answer.high == pytest.approx(estimate.high, abs=1e-12 * span)
        if stops or first >= 400:
            break
    assert state.n_run == intake.n_used + intake.n_held
    # Bit for bit: what both added up.
    numbers = state.words.view(np.float64)[32:37]
    if not intake.n_held:
        assert numbers.tobytes() == estimator.tallies[0, :5].tobytes()
    # Another run, a gap, another width: refused, and nothing changes.
    one = rows_of(0, 1, function.n_bits)
    for batch in (
        ShotBatch(78, first, function.n_bits, one),
        ShotBatch(77, first + 1, function.n_bits, one),
    ):
        assert ask(dispatcher, session, batch)[0] == Status.BAD_REQUEST


class Judge:
    """A policy that judges by a rule, and nothing else."""

    def __init__(self, rule):
        self._rule = rule.to_array()

    def judge(self, estimate):
        return says_stop(self._rule, 0, estimate)


def ask(dispatcher, session, batch):
    frame = memoryview(request_frame(function_id(DECIDE), batch.to_bytes(), 1, 0))
    answer = memoryview(bytearray(256))
    n_bytes = dispatcher.handle(session, frame, answer, exact=True)
    header = read_response(answer, n_bytes, 256, exact=True)
    result = bytes(answer[24 : 24 + header.result_len])
    return header.status, Decision.from_bytes(result)


def test_what_makes_no_sense_is_refused():
    cost = flip_values(2, [0])
    with pytest.raises(KernelInputError, match="functions"):
        MeanEstimator([])
    with pytest.raises(KernelInputError, match="interval"):
        MeanEstimator([cost], interval="often")
    with pytest.raises(KernelInputError, match="prior_shots"):
        MeanEstimator([cost], prior_shots=0.0)
    with pytest.raises(KernelInputError, match="part"):
        TailEstimator(cost, 0.0)
    with pytest.raises(KernelInputError, match="qubits"):
        flip_values(2, [2])
    with pytest.raises(KernelInputError, match="setting"):
        CostEstimator(cost).update(1, rows_of(0, 1, 2))
    with pytest.raises(KernelInputError, match="depends on the shot"):
        ising_values(2, [], [])
    with pytest.raises(KernelInputError):
        CostEstimator(cost).update(0, rows_of(0, 4, 70))
    assert cost.kind is Kind.PARITIES
    assert MixtureBernstein(0.0, 1.0).n_values == 0
