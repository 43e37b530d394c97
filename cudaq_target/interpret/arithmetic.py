"""Numbers: the operations of the arith, math and complex dialects, with the machine's rounding.

Integers are kept in their signed form, truth values as `bool`; results wrap around at their width.
"""

from __future__ import annotations

import cmath
import math
import operator
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cudaq_target.interpret.types import Type

    Compute = Callable[..., Any]


def wrap(value: int, bits: int) -> int:
    """Reduce an integer to the signed range of a width; width 1 gives a `bool`.

    >>> wrap(2**63, 64) == -(2**63), wrap(3, 1)
    (True, True)
    """
    if bits == 1:
        return bool(value & 1)
    half = 1 << (bits - 1)
    return value if -half <= value < half else ((value + half) & ((1 << bits) - 1)) - half


def unsigned(value: int, bits: int) -> int:
    """Read a signed integer as an unsigned one."""
    return value & ((1 << bits) - 1)


def single(value: float) -> float:
    """Round to a 32-bit float."""
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded


def rounder(kind: Type) -> Callable[[Any], Any] | None:
    """Return what brings an exact result into the range of a type, None where nothing does."""
    if kind.kind in ("int", "index"):
        bits = kind.bits
        return lambda value: wrap(value, bits)
    if kind.kind == "float" and kind.bits == 32:
        return single
    if kind.kind == "complex" and kind.element.bits == 32:
        return lambda value: complex(single(value.real), single(value.imag))
    return None


def _divide(numerator: float, denominator: float) -> float:
    try:
        return numerator / denominator
    except ZeroDivisionError:
        if numerator == 0 or math.isnan(numerator):
            return math.nan
        return math.copysign(math.inf, numerator) * math.copysign(1.0, denominator)


def _truncated(numerator: int, denominator: int) -> int:
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def _remainder(numerator: int, denominator: int) -> int:
    return numerator - denominator * _truncated(numerator, denominator)


def _int_power(base: int, exponent: int) -> int:
    if exponent >= 0:
        return pow(base, exponent, 1 << 64)  # the same as the power after wrapping around
    return {1: 1, -1: -1 if exponent % 2 else 1}.get(base, 0)


def _quiet(function: Compute) -> Compute:
    """Give the answers of IEEE 754 where Python raises."""

    def compute(*values: Any) -> Any:
        try:
            return function(*values)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf
        except ZeroDivisionError:
            return math.inf

    return compute


def _to_int(value: float) -> int:
    """Cut off the fraction; what no integer can hold becomes what x86 makes of it."""
    return math.trunc(value) if math.isfinite(value) else -(1 << 63)


def _kept_if_infinite(function: Callable[[float], float]) -> Compute:
    return lambda value: float(function(value)) if math.isfinite(value) else value


def _shift(function: Compute) -> Callable[[int], Compute]:
    return lambda bits: lambda a, b: function(a, b) if 0 <= b < bits else 0


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


_COMPARE_INT: Final[tuple[Compute, ...]] = (
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
)

_COMPARE_FLOAT: Final[tuple[Compute, ...]] = (
    lambda a, b: False,  # noqa: ARG005
    operator.eq,
    operator.gt,
    operator.ge,
    operator.lt,
    operator.le,
    lambda a, b: a < b or a > b,
    lambda a, b: a == a and b == b,  # noqa: PLR0124
    lambda a, b: not (a < b or a > b),
    lambda a, b: not a <= b,
    lambda a, b: not a < b,
    lambda a, b: not a >= b,
    lambda a, b: not a > b,
    operator.ne,
    lambda a, b: a != a or b != b,  # noqa: PLR0124
    lambda a, b: True,  # noqa: ARG005
)


def comparison(name: str, predicate: int, bits: int) -> Compute:
    """Return the test of `arith.cmpi` or `arith.cmpf`.

    Args:
        name: Name of the operation.
        predicate: Number of the predicate in MLIR's enumeration.
        bits: Width of the operands (bits).
    """
    if name == "arith.cmpf":
        return _COMPARE_FLOAT[predicate]
    if predicate < len(_COMPARE_INT):
        return _COMPARE_INT[predicate]
    test = _COMPARE_INT[predicate - 4]  # unsigned predicates follow the signed ones
    return lambda a, b: test(unsigned(a, bits), unsigned(b, bits))


def _unsigned_pair(function: Compute) -> Callable[[int], Compute]:
    return lambda bits: lambda a, b: function(unsigned(a, bits), unsigned(b, bits))


BY_WIDTH: Final[Mapping[str, Callable[[int], Compute]]] = {
    "arith.divui": _unsigned_pair(operator.floordiv),
    "arith.remui": _unsigned_pair(operator.mod),
    "arith.ceildivui": _unsigned_pair(lambda a, b: -(-a // b)),
    "arith.maxui": _unsigned_pair(max),
    "arith.minui": _unsigned_pair(min),
    "arith.shli": _shift(operator.lshift),
    "arith.shrsi": _shift(operator.rshift),
    "arith.shrui": _unsigned_pair(lambda a, b: a >> b if b < 64 else 0),
    "arith.extui": lambda bits: lambda a: unsigned(a, bits),
    "arith.uitofp": lambda bits: lambda a: float(unsigned(a, bits)),
    "arith.extsi": lambda bits: (lambda a: -int(a)) if bits == 1 else (lambda a: a),
    "arith.sitofp": lambda bits: (lambda a: -float(a)) if bits == 1 else float,
    "math.ctpop": lambda bits: lambda a: unsigned(a, bits).bit_count(),
}
"""Operations whose meaning depends on the width of their first operand."""

PURE: Final[Mapping[str, Compute]] = {
    "arith.addi": operator.add,
    "arith.subi": operator.sub,
    "arith.muli": operator.mul,
    "arith.andi": operator.and_,
    "arith.ori": operator.or_,
    "arith.xori": operator.xor,
    "arith.divsi": _truncated,
    "arith.remsi": _remainder,
    "arith.floordivsi": operator.floordiv,
    "arith.ceildivsi": lambda a, b: -(-a // b),
    "arith.maxsi": max,
    "arith.minsi": min,
    "arith.trunci": lambda a: a,
    "arith.index_cast": lambda a: a,
    "arith.fptosi": _to_int,
    "arith.fptoui": _to_int,
    "arith.extf": lambda a: a,
    "arith.truncf": lambda a: a,
    "arith.addf": operator.add,
    "arith.subf": operator.sub,
    "arith.mulf": operator.mul,
    "arith.divf": _divide,
    "arith.remf": _quiet(math.fmod),
    "arith.negf": operator.neg,
    "arith.maximumf": max,
    "arith.minimumf": min,
    "arith.maxnumf": max,
    "arith.minnumf": min,
    "math.absf": abs,
    "math.absi": abs,
    "math.acos": _quiet(math.acos),
    "math.acosh": _quiet(math.acosh),
    "math.asin": _quiet(math.asin),
    "math.asinh": math.asinh,
    "math.atan": math.atan,
    "math.atan2": math.atan2,
    "math.atanh": _quiet(math.atanh),
    "math.cbrt": math.cbrt,
    "math.ceil": _kept_if_infinite(math.ceil),
    "math.copysign": math.copysign,
    "math.cos": _quiet(math.cos),
    "math.cosh": _quiet(math.cosh),
    "math.erf": math.erf,
    "math.exp": _quiet(math.exp),
    "math.exp2": _quiet(math.exp2),
    "math.expm1": _quiet(math.expm1),
    "math.floor": _kept_if_infinite(math.floor),
    "math.fma": lambda a, b, c: a * b + c,
    "math.fpowi": _quiet(_power),
    "math.ipowi": _int_power,
    "math.log": _quiet(math.log),
    "math.log10": _quiet(math.log10),
    "math.log1p": _quiet(math.log1p),
    "math.log2": _quiet(math.log2),
    "math.powf": _quiet(_power),
    "math.round": _kept_if_infinite(lambda a: math.copysign(math.floor(abs(a) + 0.5), a)),
    "math.roundeven": _kept_if_infinite(round),
    "math.rsqrt": _quiet(lambda a: 1.0 / math.sqrt(a)),
    "math.sin": _quiet(math.sin),
    "math.sinh": _quiet(math.sinh),
    "math.sqrt": _quiet(math.sqrt),
    "math.tan": _quiet(math.tan),
    "math.tanh": math.tanh,
    "math.trunc": _kept_if_infinite(math.trunc),
    "complex.abs": abs,
    "complex.add": operator.add,
    "complex.angle": cmath.phase,
    "complex.conj": lambda a: a.conjugate(),
    "complex.cos": _quiet(cmath.cos),
    "complex.create": complex,
    "complex.div": _quiet(operator.truediv),
    "complex.eq": operator.eq,
    "complex.exp": _quiet(cmath.exp),
    "complex.expm1": lambda a: cmath.exp(a) - 1.0,
    "complex.im": lambda a: a.imag,
    "complex.log": _quiet(cmath.log),
    "complex.mul": operator.mul,
    "complex.neg": operator.neg,
    "complex.neq": operator.ne,
    "complex.pow": _quiet(operator.pow),
    "complex.re": lambda a: a.real,
    "complex.sin": _quiet(cmath.sin),
    "complex.sqrt": _quiet(cmath.sqrt),
    "complex.sub": operator.sub,
    "complex.tan": _quiet(cmath.tan),
    "complex.tanh": _quiet(cmath.tanh),
}
"""Operations that are functions of their operands alone."""


def conversion(source: Type, target: Type, *, signed: bool) -> Compute | None:
    """Return the number conversion of `cc.cast`, None where the types are no numbers.

    Args:
        source: Type of the operand.
        target: Type of the result.
        signed: An integer operand or result is signed.
    """
    kinds = (source.kind, target.kind)
    bits = source.bits
    if kinds == ("int", "int"):
        if target.bits > bits and not signed:
            return lambda a: unsigned(a, bits)
        return BY_WIDTH["arith.extsi"](bits) if target.bits > bits else (lambda a: a)
    if kinds == ("int", "float"):
        return BY_WIDTH["arith.sitofp" if signed else "arith.uitofp"](bits)
    if kinds == ("float", "int"):
        return _to_int
    if kinds in (("float", "float"), ("complex", "complex")):
        return lambda a: a
    return None
