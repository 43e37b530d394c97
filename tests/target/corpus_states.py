"""Kernels of the corpus: prepared states, and kernels from the builder."""
# ruff: noqa: F821

import cudaq
import numpy as np
from cudaq.kernels import hwe, num_hwe_parameters

from tests.target.corpus_case import Case, case


def some_state(n_qubits: int, seed: int) -> np.ndarray:
    """Return a random normalised state."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=2**n_qubits) + 1j * rng.normal(size=2**n_qubits)
    return state / np.linalg.norm(state)


@cudaq.kernel
def from_amplitudes(amplitudes: list[complex]):
    q = cudaq.qvector(amplitudes)
    h(q[0])


@cudaq.kernel
def from_array(amplitudes: np.ndarray):
    q = cudaq.qvector(amplitudes)
    ry(amplitudes[0], q[1])
    x.ctrl(q[0], q[1])


@cudaq.kernel
def from_state(state: cudaq.State):
    q = cudaq.qvector(state)
    r = cudaq.qubit()
    x.ctrl(q[1], r)


@cudaq.kernel
def from_constants():
    q = cudaq.qvector([1.0 / np.sqrt(2.0), 0.0, 0.0, 1.0 / np.sqrt(2.0)])
    r = cudaq.qvector(np.array([0.6, 0.8], dtype=complex))
    x.ctrl(q[0], r[0])


@cudaq.kernel
def two_states(first: list[complex], second: list[complex]):
    a = cudaq.qubit()
    q = cudaq.qvector(first)
    p = cudaq.qvector(second)
    x(a)
    x.ctrl(q[0], p[1])
    x.ctrl(a, q[0])
    mz(q)
    mz(p)


def built_plain():
    kernel = cudaq.make_kernel()
    q = kernel.qalloc(3)
    a = kernel.qalloc()
    kernel.h(q)
    kernel.cx(q[0], a)
    kernel.cr1(0.3, [q[0], q[1]], a)
    kernel.swap(q[0], q[2])
    kernel.cswap(a, q[0], q[1])
    kernel.u3(0.1, 0.2, 0.3, q[0])
    kernel.sdg(a)
    kernel.tdg(q[1])
    kernel.ch(q[1], q[2])
    kernel.crx(0.4, a, q[1])
    kernel.y(q[2])
    return kernel


def built_with_arguments():
    kernel, n, angles, word = cudaq.make_kernel(int, list[float], cudaq.pauli_word)
    q = kernel.qalloc(n)
    kernel.h(q)
    kernel.rx(angles[0], q[0])
    kernel.ry(-angles[1] * 2.0 + 1.0, q[1])
    kernel.for_loop(0, n, lambda i: kernel.rz(angles[0], q[i]))
    kernel.exp_pauli(angles[1], q, word)
    kernel.exp_pauli(angles[0], q, "XYZ")
    kernel.h(q)
    return kernel


def built_from_parts():
    part, qubits, angle = cudaq.make_kernel(cudaq.qvector, float)
    part.h(qubits[0])
    part.rx(angle, qubits[1])
    part.cx(qubits[0], qubits[1])
    kernel, value = cudaq.make_kernel(float)
    q = kernel.qalloc(2)
    a = kernel.qalloc()
    kernel.h(a)
    kernel.apply_call(part, q, value)
    kernel.adjoint(part, q, value)
    kernel.control(part, a, q, value)
    kernel.h(a)
    return kernel


def built_with_state():
    kernel = cudaq.make_kernel()
    q = kernel.qalloc(some_state(2, 3))
    kernel.h(q[0])
    return kernel


def built_ansatz():
    kernel, thetas = cudaq.make_kernel(list)
    q = kernel.qalloc(3)
    kernel.x(q[0])
    hwe(kernel, q, 3, 1, thetas)
    kernel.givens_rotation(0.2, q[0], q[1])
    kernel.fermionic_swap(0.3, q[1], q[2])
    return kernel


def built_measured():
    kernel = cudaq.make_kernel()
    q = kernel.qalloc(3)
    kernel.x(q[2])
    kernel.h(q[0])
    kernel.mz(q[2], "late")
    kernel.mz(q[0], "early")
    return kernel


STATES = [
    case(from_amplitudes, list(some_state(3, 1))),
    case(from_array, np.array([0.1, 0.7, -0.5, 0.5])),
    Case("from_state", from_state, lambda: (cudaq.State.from_data(some_state(2, 4)),)),
    case(from_constants),
    case(two_states, list(some_state(2, 5)), list(some_state(2, 6)), measured=True),
    case(built_plain(), name="built_plain"),
    case(built_with_arguments(), 3, [0.4, 0.9], "ZXY", name="built_with_arguments"),
    case(built_from_parts(), 0.8, name="built_from_parts"),
    case(built_with_state(), name="built_with_state"),
    case(
        built_ansatz(),
        [0.1 * k for k in range(num_hwe_parameters(3, 1))],
        name="built_ansatz",
    ),
    case(built_measured(), name="built_measured", measured=True),
]
