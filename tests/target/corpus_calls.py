"""Kernels of the corpus: sub-kernels, adjoints, controls, callables and captured values."""
# ruff: noqa: F821

from collections.abc import Callable
from dataclasses import dataclass

import cudaq
from cudaq.kernels import uccsd

from tests.target.corpus_case import case

STEP = 0.35
WEIGHTS = [0.1, 0.6, 1.1]


@dataclass(slots=True)
class Patch:
    data: cudaq.qview
    helper: cudaq.qview


@cudaq.kernel
def mix(q: cudaq.qview, angle: float):
    h(q[0])
    rx(angle, q[1])
    t(q[0])
    x.ctrl(q[0], q[1])


@cudaq.kernel
def layered(q: cudaq.qview, angles: list[float]):
    for i in range(q.size()):
        ry(angles[i], q[i])
    for i in range(q.size() - 1):
        x.ctrl(q[i], q[i + 1])
    u3(0.3, 0.4, 0.4, q[0])
    s(q[1])


@cudaq.kernel
def one_qubit(q: cudaq.qubit, angle: float):
    rz(angle, q)
    h(q)


@cudaq.kernel
def plain_call(angle: float):
    q = cudaq.qvector(3)
    mix(q[0:2], angle)
    mix(q[1:3], angle * 2.0)
    one_qubit(q[0], angle)


@cudaq.kernel
def both_ways(angles: list[float]):
    q = cudaq.qvector(3)
    h(q)
    layered(q, angles)
    rx(0.4, q[1])
    cudaq.adjoint(layered, q, angles)


@cudaq.kernel
def adjoint_and_control(angle: float):
    q = cudaq.qvector(4)
    h(q)
    cudaq.adjoint(mix, q[0:2], angle)
    cudaq.control(mix, q[3], q[0:2], angle)
    cudaq.control(mix, [q[2], q[3]], q[0:2], angle)
    h(q)


@cudaq.kernel
def undo_mix(q: cudaq.qview, angle: float):
    cudaq.adjoint(mix, q, angle)
    rz(0.2, q[0])


@cudaq.kernel
def mix_with_control(q: cudaq.qview, angle: float):
    cudaq.control(mix, q[2], q[0:2], angle)
    y(q[1])


@cudaq.kernel
def control_of_adjoint(angle: float):
    q = cudaq.qvector(3)
    h(q)
    cudaq.control(undo_mix, q[2], q[0:2], angle)
    cudaq.adjoint(undo_mix, q[0:2], angle)


@cudaq.kernel
def adjoint_of_control(angle: float):
    q = cudaq.qvector(4)
    h(q)
    cudaq.adjoint(mix_with_control, q[0:3], angle)
    cudaq.control(mix_with_control, q[3], q[0:3], angle)
    h(q[3])


@cudaq.kernel
def control_on_zero(angle: float):
    q = cudaq.qvector(3)
    h(q)
    cudaq.control(mix, ~q[2], q[0:2], angle)


@cudaq.kernel
def controlled_register(angle: float):
    c = cudaq.qvector(2)
    q = cudaq.qvector(2)
    h(c)
    cudaq.control(mix, c, q, angle)
    h(c)


@cudaq.kernel
def takes_kernel(entangle: Callable[[cudaq.qview, float], None], n: int, angle: float):
    q = cudaq.qvector(n)
    entangle(q, angle)
    h(q[2])
    entangle(q[1:n], angle)


@cudaq.kernel
def on_each(f: Callable[[cudaq.qubit, float], None], q: cudaq.qview):
    for i in range(q.size()):
        f(q[i], 0.2 * i)


@cudaq.kernel
def kernel_through_kernel(f: Callable[[cudaq.qubit, float], None]):
    q = cudaq.qvector(3)
    h(q)
    on_each(f, q)


@cudaq.kernel
def captured_mix(q: cudaq.qview):
    mix(q, STEP)
    rx(WEIGHTS[2], q[0])


@cudaq.kernel
def captured_values():
    q = cudaq.qvector(2)
    rx(STEP, q[0])
    for i in range(3):
        ry(WEIGHTS[i], q[i % 2])
    captured_mix(q)
    cudaq.adjoint(captured_mix, q)


@cudaq.kernel
def with_helper(q: cudaq.qview):
    a = cudaq.qubit()
    x.ctrl(q[0], a)
    ry.ctrl(0.4, a, q[1])
    x.ctrl(q[0], a)


@cudaq.kernel
def helper_qubits():
    q = cudaq.qvector(2)
    h(q)
    with_helper(q)
    r = cudaq.qvector(1)
    x.ctrl(q[1], r[0])


@cudaq.kernel
def angle_of(weights: list[float], index: int) -> float:
    total = 0.0
    for i in range(index):
        total += weights[i]
    return total * 0.5


@cudaq.kernel
def largest(a: int, b: int) -> int:
    if a > b:
        return a
    return b


@cudaq.kernel
def uses_returned_values(weights: list[float]):
    q = cudaq.qvector(3)
    for i in range(3):
        ry(angle_of(weights, i + 1), q[i])
    x.ctrl(q[0], q[largest(1, 2)])


@cudaq.kernel
def steps(n: int) -> list[float]:
    made = [0.0 for _ in range(n)]
    for i in range(n):
        made[i] = 0.3 * i
    return made


@cudaq.kernel
def uses_returned_list():
    q = cudaq.qvector(3)
    angles = steps(3)
    for i in range(3):
        rx(angles[i] + 0.1, q[i])


@cudaq.kernel
def ladder(q: cudaq.qview, n: int):
    for i in range(n):
        cudaq.control(one_qubit, q[0], q[i + 1], 0.4)
    exp_pauli(0.3, q, "XYX")


@cudaq.kernel
def nested_functors(n: int):
    q = cudaq.qvector(4)
    h(q)
    for i in range(n):
        if i % 2 == 0:
            cudaq.control(ladder, q[3], q[0:3], 2)
        else:
            cudaq.adjoint(ladder, q[0:3], 2)


@cudaq.kernel
def conjugation():
    q = cudaq.qvector(3)
    h(q[0])

    def compute():
        h(q[1])
        x.ctrl(q[0], q[1])
        t(q[1])

    def action():
        ry(0.7, q[1])
        x.ctrl(q[1], q[2])

    cudaq.compute_action(compute, action)


@cudaq.kernel
def on_patch(patch: Patch):
    h(patch.data)
    x.ctrl(patch.data[0], patch.helper[0])
    rz(0.4, patch.data[1])


@cudaq.kernel
def struct_of_qubits():
    data = cudaq.qvector(2)
    helper = cudaq.qvector(1)
    patch = Patch(data, helper)
    on_patch(patch)
    h(data)


@cudaq.kernel
def phase_estimation(n: int, angle: float):
    counting = cudaq.qvector(n)
    state = cudaq.qubit()
    x(state)
    h(counting)
    for i in range(n):
        for _ in range(2**i):
            r1.ctrl(angle, counting[i], state)
    for i in range(n // 2):
        swap(counting[i], counting[n - 1 - i])
    for i in range(n - 1):
        h(counting[i])
        j = i + 1
        for k in range(i, -1, -1):
            r1.ctrl(-3.141592653589793 / 2 ** (j - k), counting[j], counting[k])
    h(counting[n - 1])


@cudaq.kernel
def chemistry(thetas: list[float]):
    q = cudaq.qvector(4)
    x(q[0])
    x(q[1])
    uccsd(q, thetas, 2, 0)


CALLS = [
    case(plain_call, 0.4),
    case(both_ways, [0.2, 0.5, 0.8]),
    case(adjoint_and_control, 0.9),
    case(control_of_adjoint, 0.7),
    case(adjoint_of_control, 0.6),
    case(control_on_zero, 0.5),
    case(controlled_register, 1.2),
    case(takes_kernel, mix, 3, 0.7),
    case(kernel_through_kernel, one_qubit),
    case(captured_values),
    case(helper_qubits),
    case(uses_returned_values, [0.2, 0.6, 1.0]),
    case(uses_returned_list),
    case(nested_functors, 3),
    case(conjugation),
    case(struct_of_qubits),
    case(phase_estimation, 3, 0.9),
    case(chemistry, [0.2, -0.4, 0.6]),
]
