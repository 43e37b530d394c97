"""Kernels of the corpus: every gate, with controls, adjoints and broadcasting."""
# ruff: noqa: F821

import cudaq
import numpy as np

from tests.target.corpus_case import case

cudaq.register_operation("tilt", np.array([[0.6, 0.8j], [0.8j, 0.6]]))
cudaq.register_operation(
    "twist", np.array([1, 0, 0, 0, 0, 0, 1j, 0, 0, 1j, 0, 0, 0, 0, 0, np.exp(0.4j)])
)
_PERMUTATION = np.eye(8)[[3, 0, 1, 2, 7, 4, 6, 5]] * np.exp(1j * np.arange(8))
cudaq.register_operation("shuffle", _PERMUTATION)


@cudaq.kernel
def fixed_gates():
    q = cudaq.qvector(3)
    h(q[0])
    x(q[1])
    y(q[2])
    z(q[0])
    s(q[0])
    t(q[1])
    h(q[2])
    s.adj(q[2])
    t.adj(q[0])
    h(q[0])


@cudaq.kernel
def rotations(a: float, b: float):
    q = cudaq.qvector(2)
    rx(a, q[0])
    ry(b, q[1])
    rz(a + b, q[0])
    r1(a - b, q[1])
    h(q)
    rx.adj(b, q[0])
    ry.adj(a, q[1])
    rz.adj(0.3, q[1])
    r1.adj(0.4, q[0])
    h(q)


@cudaq.kernel
def general_rotations():
    q = cudaq.qvector(2)
    u3(0.4, 1.1, -0.7, q[0])
    u3(1.3, 0.2, 2.1, q[1])
    u3.adj(0.5, 0.6, 0.7, q[0])
    u3.ctrl(0.9, -0.4, 0.3, q[0], q[1])


@cudaq.kernel
def bell():
    q = cudaq.qvector(2)
    h(q[0])
    x.ctrl(q[0], q[1])


@cudaq.kernel
def ghz(n: int):
    q = cudaq.qvector(n)
    h(q[0])
    for i in range(n - 1):
        x.ctrl(q[i], q[i + 1])


@cudaq.kernel
def controlled_paulis():
    q = cudaq.qvector(3)
    h(q)
    x.ctrl(q[0], q[1])
    t(q[1])
    y.ctrl(q[1], q[2])
    z.ctrl(q[2], q[0])
    h.ctrl(q[0], q[2])
    s.ctrl(q[1], q[0])
    t.ctrl(q[2], q[1])
    h(q)


@cudaq.kernel
def controlled_rotations(a: float):
    q = cudaq.qvector(3)
    h(q)
    rx.ctrl(a, q[0], q[1])
    ry.ctrl(a * 0.5, q[1], q[2])
    rz.ctrl(a + 1.0, q[2], q[0])
    r1.ctrl(-a, q[0], q[2])
    h(q)


@cudaq.kernel
def many_controls():
    q = cudaq.qvector(4)
    h(q)
    x.ctrl(q[0], q[1], q[2])
    ry.ctrl(0.7, [q[0], q[3]], q[1])
    rz.ctrl(0.4, q[0:3], q[3])
    z.ctrl(q[0], q[1], q[2], q[3])
    h(q)


@cudaq.kernel
def controls_on_zero():
    q = cudaq.qvector(3)
    h(q)
    x.ctrl(~q[0], q[1])
    ry.ctrl(0.8, q[0], ~q[1], q[2])
    rz.ctrl(0.3, ~q[2], q[0])
    h.ctrl(~q[0], ~q[1], q[2])


@cudaq.kernel
def swaps():
    q = cudaq.qvector(3)
    rx(0.3, q[0])
    ry(1.2, q[1])
    h(q[2])
    swap(q[0], q[1])
    swap.ctrl(q[2], q[0], q[1])
    swap(q[1], q[2])


@cudaq.kernel
def whole_registers():
    q = cudaq.qvector(3)
    p = cudaq.qvector(2)
    h(q)
    rx(0.4, p)
    t(q)
    x([q[0], p[1]])
    rz(0.6, q)
    x.ctrl(q, p[0])
    h(q)


@cudaq.kernel
def pauli_exponentials():
    q = cudaq.qvector(4)
    h(q)
    exp_pauli(0.3, q, "XYZI")
    exp_pauli(-0.7, q[0:2], "ZZ")
    exp_pauli(0.45, "XY", q[3], q[1])
    exp_pauli(1.1, "Y", q[2])
    exp_pauli(0.2, [q[0], q[2]], "XX")


@cudaq.kernel
def pauli_words(angles: list[float], words: list[cudaq.pauli_word]):
    q = cudaq.qvector(3)
    h(q[0])
    for i in range(len(words)):
        exp_pauli(angles[i], q, words[i])


@cudaq.kernel
def one_pauli_word(angle: float, word: cudaq.pauli_word):
    q = cudaq.qvector(4)
    x(q[0])
    x(q[1])
    exp_pauli(angle, q, word)


@cudaq.kernel
def custom_one():
    q = cudaq.qvector(2)
    h(q[0])
    tilt(q[0])
    tilt.adj(q[1])
    tilt.ctrl(q[0], q[1])


@cudaq.kernel
def custom_two():
    q = cudaq.qvector(3)
    h(q)
    twist(q[0], q[2])
    twist.adj(q[1], q[0])
    twist.ctrl(q[1], q[2], q[0])


@cudaq.kernel
def custom_three():
    q = cudaq.qvector(4)
    h(q)
    t(q[1])
    shuffle(q[0], q[1], q[2])
    shuffle.adj(q[3], q[2], q[0])


@cudaq.kernel
def fourier(n: int, value: int):
    q = cudaq.qvector(n)
    for i in range(n):
        if (value >> i) % 2 == 1:
            x(q[i])
    for i in range(n):
        h(q[i])
        for j in range(i + 1, n):
            angle = np.pi / 2 ** (j - i)
            r1.ctrl(angle, q[j], q[i])
    for i in range(n // 2):
        swap(q[i], q[n - 1 - i])


@cudaq.kernel
def untouched_qubits():
    q = cudaq.qvector(4)
    h(q[1])
    x.ctrl(q[1], q[3])


@cudaq.kernel
def nothing():
    cudaq.qvector(2)


GATES = [
    case(fixed_gates),
    case(rotations, 0.7, -1.9),
    case(general_rotations),
    case(bell),
    case(ghz, 5),
    case(ghz, 10, name="ghz_of_ten"),
    case(controlled_paulis),
    case(controlled_rotations, 1.3),
    case(many_controls),
    case(controls_on_zero),
    case(swaps),
    case(whole_registers),
    case(pauli_exponentials),
    case(pauli_words, [0.3, -0.8, 1.4], ["XXI", "IYZ", "ZIZ"]),
    case(one_pauli_word, 0.11, "XXXY"),
    case(custom_one),
    case(custom_two),
    case(custom_three),
    case(fourier, 4, 11),
    case(fourier, 6, 37, name="fourier_of_six"),
    case(untouched_qubits),
    case(nothing),
]
