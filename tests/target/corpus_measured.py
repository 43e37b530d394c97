"""Kernels of the corpus: measurements, and classical code that follows them."""
# ruff: noqa: F821, F841, RET504

from dataclasses import dataclass

import cudaq

from tests.target.corpus_case import case


@dataclass(slots=True)
class Outcome:
    ones: int
    first: bool
    angle: float


@cudaq.kernel
def measured_backwards():
    q = cudaq.qvector(3)
    x(q[2])
    h(q[0])
    for i in range(3):
        mz(q[2 - i])


@cudaq.kernel
def partly_measured():
    q = cudaq.qvector(4)
    ry(0.8, q[0])
    x(q[2])
    x.ctrl(q[0], q[3])
    mz(q[3])
    mz(q[1])


@cudaq.kernel
def two_registers():
    q = cudaq.qvector(2)
    p = cudaq.qvector(2)
    ry(1.0, q[0])
    x(p[1])
    x.ctrl(q[0], p[0])
    second = mz(p)
    first = mz(q)


@cudaq.kernel
def other_bases():
    q = cudaq.qvector(3)
    h(q[0])
    rx(0.4, q[1])
    ry(0.7, q[2])
    mx(q[0])
    my(q[1])
    mz(q[2])


@cudaq.kernel
def gates_after_measurement():
    q = cudaq.qvector(3)
    ry(0.9, q[0])
    first = mz(q[0])
    h(q[1])
    x.ctrl(q[1], q[2])
    rest = mz(q[1:])


@cudaq.kernel
def measured_list():
    q = cudaq.qvector(3)
    ry(0.9, q[0])
    x(q[1])
    some = mz([q[2], q[0]])


@cudaq.kernel
def measured_twice():
    q = cudaq.qvector(2)
    h(q[0])
    x(q[1])
    mz(q[0])
    mz(q)


@cudaq.kernel
def count_ones(n: int) -> int:
    q = cudaq.qvector(n)
    h(q)
    bits = mz(q)
    ones = 0
    for bit in bits:
        if bit:
            ones += 1
    return ones


@cudaq.kernel
def parity(n: int) -> bool:
    q = cudaq.qvector(n)
    ry(0.7, q)
    x.ctrl(q[0], q[n - 1])
    odd = False
    for i in range(n):
        if mz(q[i]):
            odd = not odd
    return odd


@cudaq.kernel
def all_bits() -> list[bool]:
    q = cudaq.qvector(3)
    h(q[0])
    x.ctrl(q[0], q[2])
    x(q[1])
    return cudaq.to_bools(mz(q))


@cudaq.kernel
def as_number(n: int) -> int:
    q = cudaq.qvector(n)
    x(q[0])
    h(q[n - 1])
    return cudaq.to_integer(cudaq.to_bools(mz(q)))


@cudaq.kernel
def as_angle(scale: float) -> float:
    q = cudaq.qvector(2)
    h(q)
    value = 0.0
    if mz(q[0]):
        value += scale
    if mz(q[1]):
        value = value * 2.0 + 1.0
    return value


@cudaq.kernel
def as_struct(n: int) -> Outcome:
    q = cudaq.qvector(n)
    h(q)
    bits = mz(q)
    ones = 0
    for i in range(n):
        if bits[i]:
            ones += 1
    return Outcome(ones, bits[0], 0.5 * ones)


@cudaq.kernel
def first_one(n: int) -> int:
    q = cudaq.qvector(n)
    h(q)
    bits = mz(q)
    for i in range(n):
        if bits[i]:
            return i
    return -1


@cudaq.kernel
def leading_zeros(n: int) -> int:
    q = cudaq.qvector(n)
    h(q)
    bits = mz(q)
    zeros = 0
    for i in range(n):
        if bits[i]:
            break
        zeros += 1
    return zeros


@cudaq.kernel
def marked_positions(n: int) -> list[int]:
    q = cudaq.qvector(n)
    ry(1.2, q)
    bits = mz(q)
    found = [9 for _ in range(n)]
    next_free = 0
    i = 0
    while i < n:
        if bits[i]:
            found[next_free] = i
            next_free += 1
        i += 1
    return found


@cudaq.kernel
def decoded() -> list[int]:
    q = cudaq.qvector(3)
    h(q[0])
    x.ctrl(q[0], q[1])
    x.ctrl(q[1], q[2])
    left = mz(q[0]) != mz(q[1])
    right = mz(q[1]) != mz(q[2])
    table = [0, 2, 1, 3]
    index = 0
    if left:
        index += 2
    if right:
        index += 1
    found = [table[index], index]
    return found


@cudaq.kernel
def gates_beside_decisions() -> int:
    q = cudaq.qvector(3)
    h(q[0])
    count = 0
    marks = [0, 0]
    if mz(q[0]):
        count += 1
        marks[0] = 3
    h(q[1])
    x.ctrl(q[1], q[2])
    if mz(q[2]):
        count += 2
    return count + marks[0]


@cudaq.kernel
def no_measurement(n: int) -> int:
    q = cudaq.qvector(2)
    h(q)
    return n * 3


@cudaq.kernel
def majority(bits: list[bool]) -> bool:
    ones = 0
    for bit in bits:
        if bit:
            ones += 1
    return ones > 1


@cudaq.kernel
def vote() -> bool:
    q = cudaq.qvector(3)
    ry(0.8, q)
    return majority(cudaq.to_bools(mz(q)))


MEASURED = [
    case(measured_backwards, measured=True),
    case(partly_measured, measured=True),
    case(two_registers, measured=True),
    case(other_bases, measured=True),
    case(gates_after_measurement, measured=True),
    case(measured_list, measured=True),
    case(measured_twice, measured=True),
    case(count_ones, 3, measured=True, returns=True),
    case(parity, 3, measured=True, returns=True),
    case(all_bits, measured=True, returns=True),
    case(as_number, 3, measured=True, returns=True),
    case(as_angle, 0.75, measured=True, returns=True),
    case(as_struct, 3, measured=True, returns=True),
    case(first_one, 3, measured=True, returns=True),
    case(leading_zeros, 3, measured=True, returns=True),
    case(marked_positions, 3, measured=True, returns=True),
    case(decoded, measured=True, returns=True),
    case(gates_beside_decisions, measured=True, returns=True),
    case(no_measurement, 4, returns=True),
    case(vote, measured=True, returns=True),
]
