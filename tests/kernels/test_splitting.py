"""Splitting kernels: stages against matrices, compiled code against NumPy, threads, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from cudaq_target.kernels import splitting
from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.errors import BackendUnavailableError, KernelInputError

BACKENDS = ["numpy", "cpu"]
DTYPES = {np.float64: 1e-13, np.float32: 3e-6}


def case(n_atoms, n_stages, seed):
    rng = np.random.default_rng(seed)
    interactions = np.triu(rng.uniform(0.0, 20.0, (n_atoms, n_atoms)), 1)
    state = rng.normal(size=(2, 1 << n_atoms))
    state /= np.linalg.norm(state)
    waits = rng.choice([0.01, -0.003, 0.02], n_stages)
    shifts = rng.normal(size=(n_stages, n_atoms))
    angles = rng.uniform(-0.8, 0.8, (n_stages, n_atoms))
    angles[-1] = 0.0
    return state, interactions + interactions.T, waits, shifts, angles


def advanced(state, *stages, dtype=np.float64, **options):
    real, imag = state.astype(dtype)
    splitting.advance(real, imag, *stages, **options)
    return real + 1j * imag


def on_atom(matrix, atom, n_atoms):
    return np.kron(np.kron(np.eye(2**atom), matrix), np.eye(2 ** (n_atoms - 1 - atom)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_atoms", [1, 2, 3, 5])
def test_stages_are_products_of_matrices(backend, n_atoms):
    state, interactions, waits, shifts, angles = case(n_atoms, 4, n_atoms)
    number = [on_atom(np.diag([0.0, 1.0]), atom, n_atoms) for atom in range(n_atoms)]
    flip = [on_atom(np.array([[0.0, 1.0], [1.0, 0.0]]), atom, n_atoms) for atom in range(n_atoms)]
    energy = sum(
        (interactions[i, j] * number[i] @ number[j] for i in range(n_atoms) for j in range(i)),
        np.zeros_like(number[0]),
    )
    expected = state[0] + 1j * state[1]
    for wait, shift, angle in zip(waits, shifts, angles, strict=True):
        loss = sum(1j * a * m - 0.5 * 0.7 * wait * m for a, m in zip(shift, number, strict=True))
        expected = expm(-1j * wait * energy + loss) @ expected
        expected = expm(-1j * sum(a * m for a, m in zip(angle, flip, strict=True))) @ expected
    stages = (interactions, waits, shifts, angles)
    result = advanced(state, *stages, decay_per_us=0.7, backend=backend)
    np.testing.assert_allclose(result, expected, atol=1e-13)


# Up to ten atoms one row; above, tiles of one, a few, and two groups of high atoms.
@pytest.mark.parametrize("n_atoms", [*range(1, 15), 16, 17])
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_code_gives_what_numpy_gives(n_atoms, dtype):
    state, *stages = case(n_atoms, 5 if n_atoms < 14 else 3, n_atoms)
    expected = advanced(state, *stages, decay_per_us=0.2, backend="numpy")
    for threads in (1, 2):
        result = advanced(
            state, *stages, dtype=dtype, decay_per_us=0.2, backend="cpu", threads=threads
        )
        assert np.linalg.norm(result - expected) < DTYPES[dtype]


@pytest.mark.parametrize("n_atoms", [14, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(n_atoms, dtype):
    state, *stages = case(n_atoms, 20, 1)
    one, two, three = (
        advanced(state, *stages, dtype=dtype, backend="cpu", threads=threads)
        for threads in (1, 2, 3)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


@given(n_atoms=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_stages_without_decay_keep_the_norm_and_go_back(n_atoms, seed):
    state, interactions, waits, shifts, angles = case(n_atoms, 3, seed)
    there = advanced(state, interactions, waits, shifts, angles)
    assert abs(np.linalg.norm(there) - 1.0) < 1e-13
    parts = np.stack([there.real, there.imag])
    nothing = np.zeros_like(shifts)
    # A stage waits first and turns then; backwards it turns first.
    for k in (2, 1, 0):
        only = slice(k, k + 1)
        parts = advanced(parts, interactions, 0 * waits[only], nothing[only], -angles[only])
        parts = np.stack([parts.real, parts.imag])
        parts = advanced(parts, interactions, -waits[only], -shifts[only], nothing[only])
        parts = np.stack([parts.real, parts.imag])
    np.testing.assert_allclose(parts, state, atol=1e-13)


def test_a_state_of_thousands_of_stages_stays_normalised_in_single_precision():
    state, interactions, *_ = case(11, 1, 3)
    rng = np.random.default_rng(5)
    n_stages = 900
    stages = (
        np.full(n_stages, 0.005),
        rng.normal(size=(n_stages, 11)),
        np.full((n_stages, 11), 0.1),
    )
    single = advanced(state, interactions, *stages, dtype=np.float32)
    double = advanced(state, interactions, *stages)
    assert abs(np.linalg.norm(single) - 1.0) < 1e-4
    assert np.linalg.norm(single - double) < 1e-4


def test_phases_of_atoms_in_r():
    rng = np.random.default_rng(2)
    angles = rng.normal(size=5)
    state = np.ones(32, dtype=np.complex128)
    splitting.multiply_phases(state, angles)
    for index in range(32):
        bits = [(index >> (4 - atom)) & 1 for atom in range(5)]
        assert np.isclose(state[index], np.exp(1j * np.dot(bits, angles)))


def bad(**changes):
    state, interactions, waits, shifts, angles = case(2, 3, 0)
    named = {
        "real": state[0].copy(),
        "imag": state[1].copy(),
        "interactions": interactions,
        "waits": waits,
        "shifts": shifts,
        "angles": angles,
    }
    return named | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"real": np.zeros(4, dtype=np.int64)}, "real is int64"),
        ({"imag": np.zeros(4, dtype=np.float32)}, "imag is float32"),
        ({"real": np.zeros(8)}, "2 atoms need 4 in a row"),
        ({"real": np.zeros(8)[::2]}, "strides"),
        ({"shifts": np.zeros((3, 3))}, r"shifts has shape \(3, 3\)"),
        ({"angles": np.zeros((2, 2))}, r"angles has shape \(2, 2\)"),
        ({"angles": np.full((3, 2), 1.6)}, "angles reach 1.6 rad"),
        ({"angles": np.full((3, 2), np.nan)}, "angles reach nan"),
        ({"backend": "cuda"}, "backend is 'cuda'"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(KernelInputError, match=message):
        splitting.advance(**bad(**changes))


@pytest.mark.skipif(not gpu_missing(), reason="there is a GPU")
def test_without_a_gpu_it_is_refused_by_name():
    with pytest.raises(BackendUnavailableError, match="'gpu' needs"):
        splitting.advance(**bad(backend="gpu"))
