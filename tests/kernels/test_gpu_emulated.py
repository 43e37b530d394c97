"""The GPU back end, run on this processor by `emulated_device`, gives what the reference gives."""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.kernels import statevector
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.gpu import decoding as gpu_decoding
from cudaq_target.kernels.gpu import layout as gpu_layout
from cudaq_target.kernels.gpu import observables as gpu_observables
from cudaq_target.kernels.gpu import statistics as gpu_statistics
from cudaq_target.kernels.layout import outcome_words
from cudaq_target.kernels.reference import layout, observables, statistics
from tests.kernels.emulated_device import emulated_gpu  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("emulated_gpu")

SHAPES = [(1, 1), (64, 63), (65, 64), (100, 65), (700, 256), (1100, 300), (130, 1000), (3, 9000),
          (5000, 13), (2100, 128), (1100, 192)]  # fmt: skip
EMPTY = [(0, 0), (0, 5), (5, 0)]


def shots_of(n_shots: int, n_bits: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, n_shots, n_bits])
    share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], size=n_bits)
    bits = (rng.random((n_shots, n_bits)) < share).astype(np.uint8)
    return layout.pack_bits(bits)


def assert_same(ours, reference) -> None:
    if isinstance(reference, tuple):
        for a, b in zip(ours, reference, strict=True):
            assert_same(a, b)
        return
    assert ours.dtype == reference.dtype
    np.testing.assert_array_equal(ours, reference)


@pytest.mark.parametrize(("n_shots", "n_bits"), SHAPES + EMPTY)
def test_layout(n_shots: int, n_bits: int) -> None:
    shots = shots_of(n_shots, n_bits)
    rng = np.random.default_rng(1)
    qubits = rng.permutation(n_bits)[: (n_bits + 1) // 2]
    keep = rng.random(n_shots) < 0.5
    bits = layout.unpack_bits(shots, n_bits)
    planes = layout.transpose_bits(shots, n_bits)
    outcomes = {int(q): int(bits[0, q]) for q in qubits[:3]} if n_shots else {}
    calls = [
        ("unpack_bits", (shots, n_bits)),
        ("pack_bits", (bits,)),
        ("transpose_bits", (shots, n_bits)),
        ("planes_to_shots", (planes, n_shots)),
        ("select_shots", (shots, keep)),
        ("post_select", (shots, *outcome_words(outcomes, n_bits))),
        ("concatenate_shots", ([shots, shots[:3]],)),
        ("marginal_bits", (shots, n_bits, qubits)),
    ]
    for name, arguments in calls:
        assert_same(getattr(gpu_layout, name)(*arguments), getattr(layout, name)(*arguments))


@pytest.mark.parametrize(("n_shots", "n_bits"), SHAPES)
@pytest.mark.parametrize("name", ["occupation", "pair_correlations", "histogram"])
def test_statistics(name: str, n_shots: int, n_bits: int) -> None:
    if name == "pair_correlations" and n_bits > 1000:
        pytest.skip("takes a minute; 1000 qubits cover it")
    shots = shots_of(n_shots, n_bits)
    expected = getattr(statistics, name)(shots, n_bits)
    assert_same(getattr(gpu_statistics, name)(shots, n_bits), expected)


@pytest.mark.parametrize(("n_shots", "n_bits"), [(1, 2), (300, 65), (520, 256), (40, 1700)])
def test_observables(n_shots: int, n_bits: int) -> None:
    shots = shots_of(n_shots, n_bits)
    rng = np.random.default_rng(5)
    edges = np.array([rng.choice(n_bits, 2, replace=False) for _ in range(n_bits)])
    weights, fields = rng.normal(size=n_bits), rng.normal(size=n_bits)
    matrix = rng.normal(size=(n_bits, n_bits)) * (rng.random((n_bits, n_bits)) < 0.05)
    masks = shots_of(1100, n_bits, seed=2)
    terms = rng.normal(size=len(masks))
    exact = [("mis_costs", (edges,)), ("violation_counts", (edges,)),
             ("pauli_z_expectation", (masks,))]  # fmt: skip
    for name, arguments in exact:
        expected = getattr(observables, name)(shots, n_bits, *arguments)
        assert_same(getattr(gpu_observables, name)(shots, n_bits, *arguments), expected)
    rounded = [
        ("ising_energies", (edges, weights, fields, 0.25), 2 * n_bits),
        ("ising_energies", (edges, weights, 0 * fields, 0.25), 2 * n_bits),
        ("maxcut_costs", (edges, weights), n_bits),
        ("qubo_costs", (matrix, -1.5), n_bits**2),
        ("pauli_z_values", (masks, terms, 1.0), len(masks)),
    ]
    for name, arguments, n_terms in rounded:
        expected = getattr(observables, name)(shots, n_bits, *arguments)
        bound = n_terms * 2**-52 * (2 + sum(np.abs(part).sum() for part in arguments[-2:]))
        ours = getattr(gpu_observables, name)(shots, n_bits, *arguments)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize(
    ("n_shots", "n_bits", "n_checks"),
    [(1, 1, 1), (700, 100, 65), (513, 256, 128), (100, 900, 1000)],
)
def test_parities(n_shots: int, n_bits: int, n_checks: int) -> None:
    shots, masks = shots_of(n_shots, n_bits), shots_of(n_checks, n_bits, seed=3)
    odd = np.bitwise_count(shots[:, None] & masks).sum(axis=2) & 1
    expected = layout.pack_bits(odd.astype(np.uint8))
    assert_same(gpu_decoding.parity_rows(shots, n_bits, masks), expected)
    planes = layout.transpose_bits(shots, n_bits)
    ours = gpu_decoding.parity_planes(planes, n_bits, masks)
    assert_same(ours, layout.transpose_bits(expected, n_checks))


def test_look_ups() -> None:
    table = np.random.default_rng(0).integers(0, 256, size=(64, 3), dtype=np.uint8)
    syndromes = shots_of(100, 6)
    assert_same(gpu_decoding.look_up(syndromes, table), table[syndromes[:, 0].astype(np.int64)])


def test_counters_of_one_thread_overflow_into_the_next_round() -> None:
    """More rows per thread than its adders of 12 bits hold, and rows that start off a pair."""
    shots = shots_of(1 << 13, 64)
    many = np.tile(shots, (600, 1))
    expected = 600 * statistics.occupation(shots, 64)
    assert_same(gpu_statistics.occupation(many, 64), expected)
    odd = np.tile(shots_of(1000, 190), (20, 1))
    for first in (0, 1, 2, 3):
        expected = statistics.occupation(odd[first:], 190)
        assert_same(gpu_statistics.occupation(odd[first:], 190), expected)


def test_histograms_outgrow_their_first_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_statistics, "_FIRST_PLACES", 64)
    rng = np.random.default_rng(8)
    shots = rng.integers(0, 2**64, size=(3000, 2), dtype=np.uint64)
    shots[::2] = shots[0]
    assert_same(gpu_statistics.histogram(shots, 128), statistics.histogram(shots, 128))


TOLERANCE = {np.complex64: 3e-6, np.complex128: 1e-14}


def state_of(size: int, dtype: type) -> np.ndarray:
    rng = np.random.default_rng(size)
    state = rng.normal(size=size) + 1j * rng.normal(size=size)
    return (state / np.linalg.norm(state)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize(
    ("dims", "sites", "out_dims"),
    [
        ((2,), (0,), None),
        ((2,) * 9, (4,), None),
        ((2,) * 9, (8, 0), None),
        ((2,) * 10, (3, 9, 1), None),
        ((2,) * 6, (5, 2, 0, 3), None),
        ((3, 2, 4, 3), (2, 0), None),
        ((2, 3, 2), (1,), (2,)),
        ((2, 2, 3), (0, 2), (3, 2)),
    ],
)
def test_blocks(dims, sites, out_dims, dtype) -> None:
    rng = np.random.default_rng(9)
    n_in = int(np.prod([dims[site] for site in sites]))
    n_out = n_in if out_dims is None else int(np.prod(out_dims))
    matrix = rng.normal(size=(n_out, n_in)) + 1j * rng.normal(size=(n_out, n_in))
    state = state_of(int(np.prod(dims)), dtype)
    expected = statevector.apply_block(
        state.copy(), dims, sites, matrix, out_dims=out_dims, backend="numpy"
    )
    given = state.copy()
    ours = statevector.apply_block(given, dims, sites, matrix, out_dims=out_dims, backend="gpu")
    assert ours.dtype == dtype
    assert (ours is given) == (out_dims is None)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=10 * n_in * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_diagonals(dtype) -> None:
    dims, sites = (2, 3, 2, 4, 2), (3, 0, 1)
    factors = np.exp(1j * np.arange(24.0))
    state = state_of(96, dtype)
    expected = statevector.apply_diagonal(state.copy(), dims, sites, factors, backend="numpy")
    ours = statevector.apply_diagonal(state, dims, sites, factors, backend="gpu")
    assert ours is state
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("n_qubits", [1, 5, 11, 12, 18, 19])
def test_rotations(n_qubits: int, dtype) -> None:
    rng = np.random.default_rng(4)
    angles = rng.normal(size=(n_qubits, 3))
    half = angles[:, 0] / 2
    rotations = np.empty((n_qubits, 2, 2), dtype=complex)
    rotations[:, 0, 0], rotations[:, 1, 1] = np.cos(half), np.cos(half)
    rotations[:, 0, 1] = -np.exp(-1j * angles[:, 1]) * np.sin(half)
    rotations[:, 1, 0] = np.exp(1j * angles[:, 1]) * np.sin(half)
    rotations[n_qubits // 3] = np.eye(2)
    state = state_of(1 << n_qubits, dtype)
    expected = statevector.rotate_qubits(state.copy(), rotations, backend="numpy")
    ours = statevector.rotate_qubits(state, rotations, backend="gpu")
    np.testing.assert_allclose(ours, expected, rtol=0, atol=n_qubits * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("dims", [(2,), (2, 3, 2, 4, 2), (2,) * 14])
def test_measurements(dims, dtype) -> None:
    state = state_of(int(np.prod(dims)), dtype)
    close = {"rtol": 0, "atol": TOLERANCE[dtype]}
    for site in {0, len(dims) // 2, len(dims) - 1}:
        ours = statevector.level_populations(state, dims, site, backend="gpu")
        expected = statevector.level_populations(state, dims, site, backend="numpy")
        np.testing.assert_allclose(ours, expected, **close)
    ours = statevector.probabilities(state, backend="gpu")
    np.testing.assert_allclose(ours, statevector.probabilities(state, backend="numpy"), **close)
    draws = [
        statevector.sample_indices(state, 200, np.random.default_rng(3), backend=backend)
        for backend in ("gpu", "numpy")
    ]
    np.testing.assert_array_equal(*draws)
    if set(dims) == {2}:
        for x, z in ((0, 1), (1, 0), (state.size - 1, state.size - 1), (state.size // 2, 1)):
            ours = statevector.pauli_expectation(state, x, z, backend="gpu")
            expected = statevector.pauli_expectation(state, x, z, backend="numpy")
            assert ours == pytest.approx(expected, abs=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("n_out", [2, 3])
def test_conditionals(n_out: int, dtype) -> None:
    dims, controls = (2, 3, 2, 2, 3), [(4, 2), (1, 2), (0, 1)]
    rng = np.random.default_rng(1)
    matrices = rng.normal(size=(8, n_out, 2)) + 1j * rng.normal(size=(8, n_out, 2))
    state = state_of(72, dtype)
    ours, expected = (
        statevector.apply_conditional(state, dims, 2, controls, matrices, backend=backend)
        for backend in ("gpu", "numpy")
    )
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, expected, rtol=0, atol=20 * TOLERANCE[dtype])


def test_states_of_another_form_are_refused() -> None:
    with pytest.raises(KernelInputError, match="state is float64"):
        statevector.apply_diagonal(np.ones(2), (2,), (0,), np.ones(2), backend="gpu")
    with pytest.raises(KernelInputError, match="3 qubits have 8"):
        statevector.rotate_qubits(state_of(4, np.complex64), np.ones((3, 2, 2)), backend="gpu")
