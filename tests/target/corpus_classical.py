"""Kernels of the corpus: loops, conditionals, lists, numbers and structs."""
# ruff: noqa: F821, SIM102

from dataclasses import dataclass

import cudaq
import numpy as np

from tests.target.corpus_case import case


@dataclass(slots=True)
class Layer:
    angle: float
    qubit: int
    weights: list[float]


@dataclass(slots=True)
class Flags:
    flip: bool
    shift: int


@cudaq.kernel
def conditionals(n: int, flip: bool, angle: float):
    q = cudaq.qvector(3)
    if flip:
        x(q[0])
    else:
        h(q[0])
    if n > 3 and angle < 1.0:
        ry(angle, q[1])
    elif n == 3 or not flip:
        rx(angle, q[1])
    else:
        rz(angle, q[1])
    if n != 2:
        if angle >= 0.5:
            x.ctrl(q[0], q[2])


@cudaq.kernel
def while_loop(n: int):
    q = cudaq.qvector(4)
    k = n
    while k > 0:
        k -= 1
        if k == 5:
            continue
        if k == 1:
            break
        ry(0.1 * k, q[k % 4])
        x.ctrl(q[k % 4], q[(k + 1) % 4])


@cudaq.kernel
def loop_with_break(n: int):
    q = cudaq.qvector(4)
    for i in range(n):
        for j in range(i):
            if j == 2:
                break
            rx(0.3 * i + j, q[j])
        if i == 3:
            break
        h(q[i])


@cudaq.kernel
def for_else(n: int):
    q = cudaq.qvector(3)
    for i in range(3):
        if i == n:
            break
        h(q[i])
    else:
        x(q[0])


@cudaq.kernel
def early_return(n: int):
    q = cudaq.qvector(2)
    h(q[0])
    if n > 2:
        x(q[1])
        return
    for i in range(4):
        if i == n:
            return
        ry(0.4, q[1])


@cudaq.kernel
def ranges(n: int):
    q = cudaq.qvector(5)
    for i in range(4, -1, -2):
        h(q[i])
    for i in range(1, n, 2):
        rx(0.2 * i, q[i])
    for i in range(n - 1, 0, -1):
        x.ctrl(q[i], q[i - 1])


@cudaq.kernel
def lists(angles: list[float], order: list[int], marks: list[bool]):
    q = cudaq.qvector(4)
    for i in range(len(order)):
        ry(angles[i], q[order[i]])
        if marks[i]:
            x.ctrl(q[order[i]], q[(order[i] + 1) % 4])
    for k, angle in enumerate(angles):
        rz(angle, q[k])


@cudaq.kernel
def nested_lists(edges: list[list[int]], angles: list[list[float]]):
    q = cudaq.qvector(4)
    h(q)
    for k, edge in enumerate(edges):
        x.ctrl(q[edge[0]], q[edge[1]])
        rz(angles[k][0], q[edge[1]])
        x.ctrl(q[edge[0]], q[edge[1]])
    for row in angles:
        for angle in row:
            rx(angle, q[0])


@cudaq.kernel
def lists_made_here(n: int):
    q = cudaq.qvector(4)
    squares = [i * i for i in range(n)]
    table = [[1, 2], [0, 3]]
    words = [0.5, 1.5, 2.5]
    words[1] = words[0] + 0.25
    copied = words.copy()
    copied[0] = 3.0
    doubled = [w * 2.0 for w in words]
    for i, square in enumerate(squares):
        ry(square * 0.1, q[i])
    for row in table:
        x.ctrl(q[row[0]], q[row[1]])
    rx(words[0], q[0])
    rx(copied[0], q[1])
    rx(doubled[1], q[2])


@cudaq.kernel
def booleans():
    q = cudaq.qvector(3)
    marks = [True, False, True]
    for i in range(3):
        if marks[i]:
            h(q[i])
    odd = [k % 2 == 1 for k in range(3)]
    for i, flag in enumerate(odd):
        if flag:
            x(q[i])


@cudaq.kernel
def integer_arithmetic(n: int, m: int):
    q = cudaq.qvector(3)
    a = n // m + n % m - m**2
    b = (n << 2) + (n >> 1) + (n & 6) + (n | 8) + (n ^ 5)
    c = -n // m
    rx(0.01 * a, q[0])
    ry(0.01 * b, q[1])
    rz(0.01 * c + 0.4, q[0])
    h(q[2])
    rz(n / m, q[2])
    rx(int(2.9) * 0.1, q[2])


@cudaq.kernel
def float_arithmetic(a: float, b: float):
    q = cudaq.qvector(3)
    rx(np.sin(a) + np.cos(b) * np.exp(-a), q[0])
    ry(np.sqrt(a) + a**2 + a**b, q[1])
    rz(np.pi / 3.0 - (a + b) / 2, q[0])
    h(q[2])
    rz(np.ceil(a) + a % b, q[2])
    u3(-a, a * b, b - a, q[2])


@cudaq.kernel
def complex_numbers(c: complex, values: list[complex]):
    q = cudaq.qvector(2)
    d = c * (1.0 + 2.0j) - values[0]
    e = np.exp(1j * 0.3) * values[1]
    rx(d.real, q[0])
    ry(d.imag, q[1])
    x.ctrl(q[0], q[1])
    rz(e.real + e.imag, q[1])


@cudaq.kernel
def narrow_numbers(n: np.int32, f: np.float32):
    q = cudaq.qvector(2)
    h(q)
    rz(f * 3.0, q[0])
    rx(n * 0.1, q[1])


@cudaq.kernel
def arrays(values: np.ndarray):
    q = cudaq.qvector(2)
    local = np.array([0.3, 0.4])
    rx(values[0] + local[1], q[0])
    ry(values[1] * local[0], q[1])


@cudaq.kernel
def tuples(pair: tuple[int, float]):
    q = cudaq.qvector(3)
    rx(pair[1], q[pair[0]])
    index, angle = pair
    other = (2, 0.5)
    ry(angle + other[1], q[index])
    rz(0.3, q[other[0]])
    h(q[other[0]])


@cudaq.kernel
def dataclasses(layer: Layer, flags: Flags):
    q = cudaq.qvector(3)
    ry(layer.angle, q[layer.qubit])
    for k, weight in enumerate(layer.weights):
        rx(weight, q[k])
    if flags.flip:
        x.ctrl(q[flags.shift], q[0])
    mine = Layer(0.7, 2, [0.1, 0.2])
    rz(mine.angle + mine.weights[1], q[mine.qubit])
    h(q)
    changed = mine.copy()
    changed.angle = 1.9
    rx(changed.angle, q[1])


@cudaq.kernel
def slices(n: int):
    q = cudaq.qvector(n)
    h(q[0:2])
    rx(0.4, q[2:])
    z(q.front())
    y(q.back())
    ry(0.3, q.front(2))
    rz(0.6, q.back(3))
    x.ctrl(q[:2], q[n - 1])
    inner = q[1 : n - 1]
    h(inner[0])
    swap(inner[0], inner[inner.size() - 1])
    t(q[-1])
    h(q)


@cudaq.kernel
def qubit_lists():
    a = cudaq.qubit()
    q = cudaq.qvector(3)
    chosen = [q[2], a]
    h(chosen[0])
    x.ctrl(chosen[0], chosen[1])
    for qubit in q:
        ry(0.3, qubit)
    for k, qubit in enumerate(q):
        rz(0.2 * k, qubit)
    h(a)


@cudaq.kernel
def filtered_lists(n: int, empty: list[float]):
    q = cudaq.qvector(n)
    even = [i for i in range(n) if i % 2 == 0]
    for i in even:
        h(q[i])
    marks = [True for _ in range(n)]
    marks[1] = False
    for i, mark in enumerate(marks):
        if mark:
            ry(0.3 * i, q[i])
    for angle in empty:
        rx(angle, q[0])


@cudaq.kernel
def deep_nesting(n: int, angles: list[float]):
    q = cudaq.qvector(n)
    for layer in range(2):
        for i in range(n):
            if i % 2 == layer % 2:
                for j in range(i + 1, n):
                    if angles[i] > angles[j]:
                        ry(angles[i] - angles[j], q[j])
                    else:
                        x.ctrl(q[i], q[j])


CLASSICAL = [
    case(conditionals, 4, True, 0.6),
    case(conditionals, 3, False, 0.2, name="conditionals_other_way"),
    case(conditionals, 2, True, 1.7, name="conditionals_third_way"),
    case(while_loop, 7),
    case(loop_with_break, 6),
    case(for_else, 1),
    case(for_else, 9, name="for_else_taken"),
    case(early_return, 5),
    case(early_return, 2, name="early_return_in_loop"),
    case(ranges, 5),
    case(lists, [0.3, 0.9, 1.4], [2, 0, 3], [True, False, True]),
    case(nested_lists, [[0, 1], [1, 2], [3, 0]], [[0.4], [0.8, 0.1], [-0.3]]),
    case(lists_made_here, 4),
    case(booleans),
    case(integer_arithmetic, 37, 5),
    case(float_arithmetic, 0.9, 1.7),
    case(complex_numbers, 0.3 - 0.4j, [0.1 + 0.2j, 0.7j]),
    case(narrow_numbers, np.int32(7), np.float32(0.3)),
    case(arrays, np.array([0.7, 1.1])),
    case(tuples, (1, 0.8)),
    case(dataclasses, Layer(0.4, 1, [0.2, 0.3, 0.5]), Flags(True, 2)),
    case(slices, 5),
    case(qubit_lists),
    case(filtered_lists, 4, []),
    case(deep_nesting, 4, [0.4, 1.2, 0.1, 0.9]),
]
