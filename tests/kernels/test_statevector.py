"""State-vector kernels: both back ends against plain tensor algebra."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import statevector as sv
from cudaq_target.kernels.statevector_backend import choose_backend

BACKENDS = ["numpy", "cpu"]


def random_complex(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def tensor_apply(state, dims, sites, matrix, out_dims):
    """The definition: contract the operator's columns with the state's axes."""
    in_dims = [dims[s] for s in sites]
    operator = matrix.reshape(*out_dims, *in_dims)
    n = len(sites)
    moved = np.tensordot(operator, state.reshape(dims), axes=(range(n, 2 * n), sites))
    return np.moveaxis(moved, range(n), sites).reshape(-1)


@st.composite
def block_cases(draw):
    dims = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    n_sites = draw(st.integers(1, min(4, len(dims))))
    sites = draw(st.permutations(range(len(dims))))[:n_sites]
    out_dims = draw(st.lists(st.integers(1, 3), min_size=n_sites, max_size=n_sites))
    return dims, sites, out_dims, draw(st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("backend", BACKENDS)
@given(case=block_cases())
@settings(max_examples=60, deadline=None)
def test_block_is_a_tensor_contraction(backend, case):
    dims, sites, out_dims, seed = case
    rng = np.random.default_rng(seed)
    state = random_complex(rng, prod(dims))
    matrix = random_complex(rng, prod(out_dims), prod(dims[s] for s in sites))
    expected = tensor_apply(state, dims, sites, matrix, out_dims)
    result = sv.apply_block(state.copy(), dims, sites, matrix, out_dims=out_dims, backend=backend)
    np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("sites", [(0,), (14,), (3, 14), (14, 3), (0, 7, 14), (2, 3, 9, 11)])
def test_large_blocks_of_qubits_are_applied_in_place(backend, dtype, sites):
    rng = np.random.default_rng(7)
    dims = [2] * 15
    state = random_complex(rng, 2**15).astype(dtype)
    matrix = np.linalg.qr(random_complex(rng, 2 ** len(sites), 2 ** len(sites)))[0]
    expected = tensor_apply(state.astype(complex), dims, sites, matrix, [2] * len(sites))
    result = sv.apply_block(state, dims, sites, matrix, backend=backend, threads=2)
    assert result is state
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=1e-4 if dtype == np.complex64 else 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [3, 15])
def test_diagonal_equals_its_dense_block(backend, n):
    rng = np.random.default_rng(3)
    dims = [2, 3] + [2] * (n - 2)
    state = random_complex(rng, prod(dims))
    sites = (n - 1, 1)
    factors = np.exp(1j * rng.normal(size=6))
    expected = tensor_apply(state, dims, sites, np.diag(factors), (2, 3))
    result = sv.apply_diagonal(state, dims, sites, factors, backend=backend, threads=2)
    np.testing.assert_allclose(result, expected, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_spare", [0, 13])
@pytest.mark.parametrize("site", [0, 2, 3])
def test_conditional_equals_its_dense_block(backend, n_spare, site):
    rng = np.random.default_rng(6)
    dims = [3, 2, 3, 2] + [2] * n_spare
    others = [k for k in (0, 1, 2) if k != site]
    controls = [(k, dims[k] - 1) for k in others[::-1]]
    matrices = random_complex(rng, 2 ** len(controls), 2, dims[site])
    state = random_complex(rng, prod(dims))
    expected = np.zeros([*dims[:site], 2, *dims[site + 1 :]], dtype=complex)
    for levels in np.ndindex(*[dims[k] for k, _ in controls]):
        pattern = 0
        index = [slice(None)] * len(dims)
        for level, (control, marked) in zip(levels, controls, strict=True):
            pattern = 2 * pattern + (level == marked)
            index[control] = slice(level, level + 1)
        part = state.reshape(dims)[tuple(index)]
        moved = np.tensordot(matrices[pattern], part, axes=(1, site))
        expected[tuple(index)] = np.moveaxis(moved, 0, site)
    result = sv.apply_conditional(state, dims, site, controls, matrices, backend=backend, threads=2)
    np.testing.assert_allclose(result, expected.reshape(-1), atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rotations_touch_only_their_qubit(backend):
    x = np.array([[0, 1], [1, 0]], dtype=complex)
    state = np.zeros(8, dtype=complex)
    state[0] = 1
    sv.rotate_qubits(state, np.stack([np.eye(2), x, np.eye(2)]), backend=backend)
    assert abs(state[0b010]) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [4, 15])
def test_level_populations_are_marginals(backend, n):
    rng = np.random.default_rng(11)
    dims = [2] * (n - 1) + [3]
    state = random_complex(rng, prod(dims))
    for site in (0, 2, n - 1):
        axes = tuple(k for k in range(n) if k != site)
        expected = (abs(state.reshape(dims)) ** 2).sum(axis=axes)
        result = sv.level_populations(state, dims, site, backend=backend, threads=2)
        np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [5, 2**15])
def test_probabilities_are_squared_magnitudes(backend, size):
    state = random_complex(np.random.default_rng(2), size)
    result = sv.probabilities(state, backend=backend, threads=2)
    np.testing.assert_allclose(result, abs(state) ** 2, rtol=1e-13)


@pytest.mark.parametrize("size", [12, 2**15 + 3])
def test_sampling_follows_the_probabilities(size):
    state = np.zeros(size, dtype=complex)
    support = np.array([1, size // 2, size - 2])
    state[support] = 3 * np.sqrt([0.2, 0.5, 0.3])
    drawn = {
        b: sv.sample_indices(state, 20_000, np.random.default_rng(9), backend=b) for b in BACKENDS
    }
    np.testing.assert_array_equal(drawn["numpy"], drawn["cpu"])
    values, counts = np.unique(drawn["cpu"], return_counts=True)
    np.testing.assert_array_equal(values, support)
    sigma = np.sqrt(20_000 * np.array([0.2, 0.5, 0.3]) * np.array([0.8, 0.5, 0.7]))
    assert np.all(abs(counts - 20_000 * np.array([0.2, 0.5, 0.3])) < 5 * sigma)
    # The order carries no information: neighbours are not sorted.
    assert not np.all(np.diff(drawn["cpu"]) >= 0)


@pytest.mark.parametrize("backend", BACKENDS)
@given(x=st.integers(0, 15), z=st.integers(0, 15), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_pauli_expectation_equals_the_matrix_element(backend, x, z, seed):
    paulis = {
        (0, 0): np.eye(2),
        (1, 0): np.array([[0, 1], [1, 0]]),
        (1, 1): np.array([[0, -1j], [1j, 0]]),
        (0, 1): np.diag([1, -1]),
    }
    matrix = np.eye(1)
    for qubit in range(4):
        bit = 3 - qubit
        matrix = np.kron(matrix, paulis[x >> bit & 1, z >> bit & 1])
    state = random_complex(np.random.default_rng(seed), 16)
    expected = np.vdot(state, matrix @ state).real
    assert sv.pauli_expectation(state, x, z, backend=backend) == pytest.approx(expected, abs=1e-12)


def test_parallel_pauli_sum_agrees_with_the_reference():
    state = random_complex(np.random.default_rng(1), 2**15)
    masks = (0b101_0000_0000_1001, 0b100_0000_0001_1000)
    compiled = sv.pauli_expectation(state, *masks, backend="cpu", threads=2)
    assert compiled == pytest.approx(sv.pauli_expectation(state, *masks, backend="numpy"))


def test_parallel_kernels_may_be_called_from_many_threads():
    matrix = np.linalg.qr(random_complex(np.random.default_rng(0), 4, 4))[0]
    state = random_complex(np.random.default_rng(1), 2**15)
    dims = [2] * 15

    def apply(_):
        return sv.apply_block(state.copy(), dims, (3, 9), matrix, backend="cpu", threads=2)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(apply, range(16)))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_digits_are_most_significant_first():
    digits = sv.indices_to_digits(np.arange(12), (2, 3, 2))
    np.testing.assert_array_equal(np.ravel_multi_index(digits.T, (2, 3, 2)), np.arange(12))


def test_unknown_backend_is_named():
    with pytest.raises(ValueError, match="backend 'gpuu' is unknown"):
        choose_backend("gpuu", 4)


def test_numpy_alone_is_enough_when_numba_cannot_compile():
    code = (
        "import numpy as np, sys\n"
        "from cudaq_target.kernels import statevector as sv\n"
        "from cudaq_target.kernels.statevector_backend import choose_backend\n"
        "s = np.zeros(2**15, dtype=complex); s[0] = 1\n"
        "h = np.array([[1, 1], [1, -1]]) / 2**0.5\n"
        "sv.apply_block(s, [2]*15, (0,), h)\n"
        "assert abs(s[2**14]**2 - 0.5) < 1e-12\n"
        "assert 'numba' not in sys.modules\n"
        "try:\n    choose_backend('cpu', 1)\n"
        "except ModuleNotFoundError as e:\n    assert 'NUMBA_DISABLE_JIT' in str(e)\n"
        "else:\n    raise SystemExit(1)\n"
    )
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
