"""Kernels that a neutral-atom machine cannot run, with the line that is to blame."""
# ruff: noqa: F821

import cudaq
import numpy as np


@cudaq.kernel
def flip(q: cudaq.qview):
    x(q[0])


@cudaq.kernel
def look(q: cudaq.qview):
    mz(q[0])


@cudaq.kernel
def decides_gate():
    q = cudaq.qvector(2)
    h(q[0])
    if mz(q[0]):
        x(q[1])


@cudaq.kernel
def decides_call():
    q = cudaq.qvector(2)
    if mz(q[0]):
        flip(q)


@cudaq.kernel
def decides_loop():
    q = cudaq.qvector(2)
    while mz(q[0]):
        x(q[1])


@cudaq.kernel
def decides_return():
    q = cudaq.qvector(2)
    if mz(q[0]):
        return
    x(q[1])


@cudaq.kernel
def decides_angle():
    q = cudaq.qvector(2)
    angle = 0.1
    if mz(q[0]):
        angle = 0.3
    rx(angle, q[1])


@cudaq.kernel
def decides_angle_in_list():
    q = cudaq.qvector(2)
    angles = [0.1, 0.2]
    if mz(q[0]):
        angles[1] = 0.5
    rx(angles[1], q[1])


@cudaq.kernel
def decides_qubit():
    q = cudaq.qvector(3)
    index = 1
    if mz(q[0]):
        index = 2
    x(q[index])


@cudaq.kernel
def uses_measured():
    q = cudaq.qvector(2)
    mz(q[0])
    x.ctrl(q[0], q[1])


@cudaq.kernel
def resets():
    q = cudaq.qvector(2)
    x(q[0])
    reset(q[1])
    reset(q[0])


@cudaq.kernel
def adds_noise():
    q = cudaq.qvector(1)
    cudaq.apply_noise(cudaq.DepolarizationChannel, 0.1, q[0])


@cudaq.kernel
def declares_detector():
    q = cudaq.qvector(1)
    bit = mz(q[0])
    cudaq.detector(bit)


@cudaq.kernel
def controls_measurement():
    q = cudaq.qvector(2)
    cudaq.control(look, q[0], q[1:2])


@cudaq.kernel
def same_qubit_twice(i: int):
    q = cudaq.qvector(2)
    x.ctrl(q[1], q[i])


@cudaq.kernel
def outside_register(i: int):
    q = cudaq.qvector(2)
    x(q[i])


@cudaq.kernel
def outside_list(angles: list[float]):
    q = cudaq.qvector(1)
    for i in range(3):
        rx(angles[i], q[0])


@cudaq.kernel
def wrong_word(word: cudaq.pauli_word):
    q = cudaq.qvector(2)
    exp_pauli(0.1, q, word)


@cudaq.kernel
def divides(n: int):
    q = cudaq.qvector(2)
    x(q[1 // n])


@cudaq.kernel
def prepares(amplitudes: list[complex]):
    cudaq.qvector(amplitudes)


@cudaq.kernel
def prepares_second(amplitudes: list[complex]):
    q = cudaq.qvector(2)
    h(q[0])
    p = cudaq.qvector(amplitudes)
    mz(p)


@cudaq.kernel
def prepares_literal():
    q = cudaq.qubit()
    h(q)
    p = cudaq.qvector([1.0, 0.0, 0.5, 0.0])
    mz(p)


@cudaq.kernel
def loads(q: cudaq.qview, amplitudes: list[complex]):
    p = cudaq.qvector(amplitudes)
    x.ctrl(p[0], q[0])


@cudaq.kernel
def prepares_in_a_call(amplitudes: list[complex]):
    q = cudaq.qvector(1)
    loads(q, amplitudes)


@cudaq.kernel
def controls_a_state(amplitudes: list[complex]):
    q, a = cudaq.qvector(1), cudaq.qubit()
    cudaq.control(loads, a, q, amplitudes)


@cudaq.kernel
def turns(angle: float):
    q = cudaq.qvector(2)
    h(q[0])
    u3(0.5, angle, 2.0, q[1])


@cudaq.kernel
def turns_by_a_computed_angle(n: int):
    q = cudaq.qvector(1)
    rx(1.0 / n, q[0])


cudaq.register_operation("not_a_number", np.array([1, 0, 0, np.nan]))
cudaq.register_operation("not_unitary", np.array([1, 1, 1, 1]))


@cudaq.kernel
def applies_nan():
    q = cudaq.qvector(1)
    not_a_number(q[0])


@cudaq.kernel
def applies_non_unitary():
    q = cudaq.qvector(1)
    not_unitary(q[0])
