"""What only a GPU can show: the same answers from real memory, streams and sizes.

Imports NumPy, pytest and CuPy alone, so that a bare GPU node runs it;
`python -m benchmarks.gpu_node` does.
"""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.kernels import statevector
from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.gpu import decoding as gpu_decoding
from cudaq_target.kernels.gpu import layout as gpu_layout
from cudaq_target.kernels.gpu import observables as gpu_observables
from cudaq_target.kernels.gpu import statistics as gpu_statistics
from cudaq_target.kernels.reference import layout, observables, statistics
from tests.kernels import test_gpu_emulated as emulated

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_missing()), reason=gpu_missing())]

SHAPES = [*emulated.SHAPES, (100_000, 256), (70_001, 190), (1_000_003, 64), (100_000, 16)]


@pytest.mark.parametrize(("n_shots", "n_bits"), SHAPES + emulated.EMPTY)
def test_layout(n_shots: int, n_bits: int) -> None:
    emulated.test_layout(n_shots, n_bits)


@pytest.mark.parametrize(("n_shots", "n_bits"), SHAPES)
@pytest.mark.parametrize("name", ["occupation", "pair_correlations", "histogram"])
def test_statistics(name: str, n_shots: int, n_bits: int) -> None:
    emulated.test_statistics(name, n_shots, n_bits)


def test_views_that_start_between_two_pairs() -> None:
    import cupy

    shots = emulated.shots_of(5000, 190)
    for first in range(4):
        view = cupy.asarray(shots)[first:]
        ours = gpu_statistics.occupation(view, 190)
        assert isinstance(ours, cupy.ndarray)
        np.testing.assert_array_equal(ours.get(), statistics.occupation(shots[first:], 190))


@pytest.mark.parametrize(("n_shots", "n_bits"), [(1, 2), (30_000, 256), (300, 1700)])
def test_observables(n_shots: int, n_bits: int) -> None:
    emulated.test_observables(n_shots, n_bits)


@pytest.mark.parametrize("n_checks", [1, 128, 1000])
@pytest.mark.parametrize(("n_shots", "n_bits"), [(1, 1), (20_001, 256), (3000, 900)])
def test_parities(n_shots: int, n_bits: int, n_checks: int) -> None:
    emulated.test_parities(n_shots, n_bits, n_checks)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("dims", [(2,), (2, 3, 2, 4, 2), (2,) * 22])
def test_measurements(dims, dtype) -> None:
    emulated.test_measurements(dims, dtype)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_what_is_measured_of_a_state_on_the_device(dtype) -> None:
    """New states stay on the device; numbers come to the host."""
    import cupy

    dims, host = (2,) * 16, emulated.state_of(1 << 16, dtype)
    state = cupy.asarray(host)
    close = {"rtol": 0, "atol": 10 * emulated.TOLERANCE[dtype]}
    populations = statevector.level_populations(state, dims, 3)
    assert isinstance(populations, np.ndarray)
    np.testing.assert_allclose(populations, statevector.level_populations(host, dims, 3), **close)
    squares = statevector.probabilities(state)
    assert isinstance(squares, cupy.ndarray)
    np.testing.assert_allclose(squares.get(), statevector.probabilities(host), **close)
    drawn = statevector.sample_indices(state, 1000, np.random.default_rng(1))
    assert isinstance(drawn, np.ndarray)
    expected = statevector.sample_indices(host, 1000, np.random.default_rng(1))
    assert np.mean(drawn == expected) > 0.99
    ours = statevector.pauli_expectation(state, 5, 3)
    assert ours == pytest.approx(statevector.pauli_expectation(host, 5, 3), abs=close["atol"])
    matrices = np.stack([np.eye(2), np.array([[0, 1], [1, 0]])]).astype(dtype)
    new = statevector.apply_conditional(state, dims, 2, [(7, 1)], matrices)
    assert isinstance(new, cupy.ndarray)
    by_host = statevector.apply_conditional(host, dims, 2, [(7, 1)], matrices)
    np.testing.assert_allclose(new.get(), by_host, **close)
    with pytest.raises(KernelInputError, match="lies on the GPU"):
        statevector.probabilities(state, backend="cpu")


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("n_out", [2, 3])
def test_conditionals(n_out: int, dtype) -> None:
    emulated.test_conditionals(n_out, dtype)


@pytest.mark.parametrize("name", ["test_look_ups", "test_diagonals", "test_rotations"])
def test_like_the_emulated_ones(name: str) -> None:
    function = getattr(emulated, name)
    if name == "test_look_ups":
        function()
        return
    for dtype in (np.complex64, np.complex128):
        function(*((22,) if name == "test_rotations" else ()), dtype)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_states_on_the_device_stay_there(dtype) -> None:
    import cupy

    n_qubits = 20
    rng = np.random.default_rng(6)
    plain = rng.normal(size=(n_qubits, 2, 2)) + 1j * rng.normal(size=(n_qubits, 2, 2))
    rotations = np.linalg.qr(plain)[0]
    host = emulated.state_of(1 << n_qubits, dtype)
    state = cupy.asarray(host)
    dims, sites = (2,) * n_qubits, (n_qubits - 1, 3)
    block = np.kron(rotations[0], rotations[1])
    for where in (state, host):
        assert statevector.rotate_qubits(where, rotations) is where
        assert statevector.apply_diagonal(where, dims, sites, np.exp(1j * np.arange(4.0))) is where
        assert statevector.apply_block(where, dims, sites, block) is where
    atol = 40 * emulated.TOLERANCE[dtype]
    np.testing.assert_allclose(state.get(), host, rtol=0, atol=atol)


def test_work_is_queued_on_the_current_stream() -> None:
    import cupy

    shots = emulated.shots_of(200_000, 256)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        ours = gpu_statistics.occupation(cupy.asarray(shots), 256)
    stream.synchronize()
    np.testing.assert_array_equal(ours.get(), statistics.occupation(shots, 256))


def test_more_elements_than_an_int_counts() -> None:
    """2^31 bits and more, unpacked, counted and transposed."""
    import cupy

    n_shots, n_bits = (1 << 23) + 100, 257
    if cupy.cuda.runtime.memGetInfo()[0] < 8 << 30:
        pytest.skip("needs 8 GiB of free device memory")
    few = emulated.shots_of(1 << 10, n_bits)
    shots = cupy.tile(cupy.asarray(few), (1 << 13, 1))
    shots = cupy.concatenate([shots, shots[:100]])
    assert n_shots * n_bits > 1 << 31
    bits = gpu_layout.unpack_bits(shots, n_bits)
    np.testing.assert_array_equal(bits[-100:].get(), layout.unpack_bits(few[:100], n_bits))
    np.testing.assert_array_equal(gpu_layout.pack_bits(bits)[-200:].get(), shots[-200:].get())
    del bits
    planes = gpu_layout.transpose_bits(shots, n_bits)
    back = gpu_layout.planes_to_shots(planes, n_shots)
    assert bool((back == shots).all())
    counts = (1 << 13) * statistics.occupation(few, n_bits) + statistics.occupation(
        few[:100], n_bits
    )
    np.testing.assert_array_equal(gpu_statistics.occupation(shots, n_bits).get(), counts)
    unique, found = gpu_statistics.histogram(shots, n_bits)
    expected = statistics.histogram(few, n_bits)[0]
    np.testing.assert_array_equal(unique.get(), expected)
    assert int(found.sum()) == n_shots


def test_host_arrays_come_home() -> None:
    shots = emulated.shots_of(1000, 70)
    edges = np.array([[0, 1], [68, 69]])
    ours = gpu_observables.violation_counts(shots, 70, edges)
    assert isinstance(ours, np.ndarray)
    np.testing.assert_array_equal(ours, observables.violation_counts(shots, 70, edges))
    masks = emulated.shots_of(3, 70, seed=1)
    assert isinstance(gpu_decoding.parity_rows(shots, 70, masks), np.ndarray)
