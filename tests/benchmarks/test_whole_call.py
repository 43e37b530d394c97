"""The benchmark of whole calls: what is exact, what a call counts, and one real run."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from benchmarks import whole_call
from benchmarks.report import Row
from benchmarks.whole_call import CLOUD, LOCAL, STOCK
from benchmarks.whole_call_programs import (
    GATE_QUBITS,
    Drive,
    are_likely,
    exact,
    gate_probabilities,
    largest_error,
    pulse,
    reversed_keys,
    sent,
    sweep,
)
from benchmarks.whole_call_turns import N_SHOTS, Taken
from cudaq_target.analog import ahs
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.fakes import Exchange

pytest.importorskip("cudaq", reason="the contenders need CUDA-Q")


def spec_of(drive: Drive) -> AnalogSpec:
    curves = (Waveform(drive.times_ns, values) for values in (drive.rabi, drive.detuning))
    return AnalogSpec.of(drive.atoms_um, *curves)


def test_one_atom_turns_as_rabi_says() -> None:
    rabi, detuning, duration_ns = 7.0, 4.0, 310.0
    found = exact(Drive(((0.0, 0.0),), (0.0, duration_ns), (rabi, rabi), (detuning, detuning)))
    effective = np.hypot(rabi, detuning)
    wanted = (rabi / effective * np.sin(0.5 * effective * 1e-3 * duration_ns)) ** 2
    assert found == pytest.approx([1.0 - wanted, wanted], abs=1e-9)


def test_a_far_atom_is_alone_and_a_pair_is_blockaded() -> None:
    drive = pulse()
    angle = drive.rabi[0] * 1e-3 * drive.times_ns[-1]
    found = exact(drive).reshape(2, 2, 2)  # atom 0 most significant
    assert found[1].sum() == pytest.approx(np.sin(0.5 * angle) ** 2, abs=1e-3)
    one_of_the_pair = found[:, 0, 1].sum() + found[:, 1, 0].sum()
    assert one_of_the_pair == pytest.approx(np.sin(0.5 * 2**0.5 * angle) ** 2, abs=2e-2)


@pytest.mark.parametrize("drive", [pulse(), sweep()], ids=["pulse", "sweep"])
def test_what_was_sent_is_read_back(drive: Drive) -> None:
    probabilities = exact(drive)
    spec = spec_of(drive)
    for text, is_ahs in (
        (ahs.dumps(spec), True),
        (build(spec, "MockDevice").sequence.to_abstract_repr(), False),
    ):
        error = np.abs(sent(text, is_ahs=is_ahs) - probabilities).max()
        assert error < whole_call.SENT_LIMIT
    rounded = sent(ahs.dumps(spec, decimals=ahs.CUDAQ_DECIMALS), is_ahs=True)
    assert np.abs(rounded - probabilities).max() > 3.0 * whole_call.SENT_LIMIT


def test_counts_are_judged_in_the_order_of_their_bits() -> None:
    probabilities = exact(pulse())
    drawn = np.random.default_rng(1).multinomial(5000, probabilities)
    counts = {f"{k:03b}": int(n) for k, n in enumerate(drawn)}
    assert are_likely(counts, probabilities)
    assert largest_error(counts, probabilities) < 0.03
    assert not are_likely(reversed_keys(counts), probabilities)
    likely = np.flatnonzero(gate_probabilities())
    assert [f"{k:0{GATE_QUBITS}b}" for k in likely] == ["00001", "11110"]


def test_pauses_are_long_silences_between_the_requests_of_a_call() -> None:
    moments_ms = (5, 11, 12, 1012, 1013, 2500)  # the first and the last belong to other calls
    requests = [
        Exchange("jobs.get", "GET", "/", {}, {}, b"", 200, moment * 1_000_000)
        for moment in moments_ms
    ]
    taken = Taken()
    taken.add([(10_000_000, 1_020_000_000)], requests)
    assert taken.n_requests == [4]
    assert taken.ms == pytest.approx(1010.0)
    assert taken.beyond_ms == pytest.approx((10.0,))


def test_wrong_counts_fail_the_run() -> None:
    drawn = np.random.default_rng(2).multinomial(2000, exact(pulse()))
    counts = Counter({f"{k:03b}": int(n) for k, n in enumerate(drawn)})
    right, wrong = Taken(counts=counts), Taken(counts=Counter(reversed_keys(counts)))
    row = whole_call.counts_row("pulse", {LOCAL: right, CLOUD: right, STOCK: wrong})
    assert row.holds
    assert "as answered" in str(row.peer)
    row = whole_call.counts_row("pulse", {LOCAL: right, CLOUD: wrong})
    assert row.is_correctness
    assert row.holds is False
    assert row.note == f"wrong: {CLOUD.label}"


def test_a_peer_that_is_not_there_is_named() -> None:
    ours = Taken(whole_ms=[3.0], waited_ms=[0.0], n_requests=[5])
    row = whole_call.versus("evolve", ours, STOCK, {CLOUD: ours}, {STOCK: "ImportError: cudaq"})
    assert (row.value, row.peer, row.ratio) == (3.0, None, None)
    assert row.note == "no peer: ImportError: cudaq"


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return list(whole_call.rows(True))


def row_named(found: list[Row], *parts: str) -> Row:
    (row,) = (row for row in found if all(part in row.name for part in parts))
    return row


def test_ours_is_right_on_every_machine(found: list[Row]) -> None:
    checked = [row for row in found if row.is_correctness]
    assert len(checked) == 4
    assert all(row.holds for row in checked)
    for row in found:
        public = json.loads(json.dumps(row.public()))
        assert public["holds"] is None or public["reach"] is not None


def test_stock_cudaq_ran_too(found: list[Row]) -> None:
    """Its refusal of kernels, its rounding and its order of bits are those of this run."""
    whole = row_named(found, "machine time 0 s, against stock")
    assert whole.ratio is not None
    assert f"{N_SHOTS} shots" in whole.note
    assert str(row_named(found, "requests").peer).startswith("stock CUDA-Q: ")
    for row in (row_named(found, "gate", "local"), row_named(found, "gate", "cloud")):
        assert "stock CUDA-Q refuses: RuntimeError: Arbitrary kernel execution" in str(row.peer)
    sent_by_peer = str(row_named(found, "arrives").peer)
    assert float(sent_by_peer.rpartition(" ")[2]) > 1e-2
    answered, turned = str(row_named(found, "counts").peer).partition(": ")[2].split(", ")
    assert float(answered.split()[0]) > 0.1 > float(turned.split()[0])
