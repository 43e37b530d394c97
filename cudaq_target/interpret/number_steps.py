"""Steps of the operations on numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cudaq_target.interpret import arithmetic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cudaq_target.interpret.code import FunctionCompiler, Step
    from cudaq_target.interpret.form import Operation
    from cudaq_target.interpret.types import Type


def _constant(compiler: FunctionCompiler, operation: Operation) -> None:
    compiler.constants[operation.results[0]] = operation.attributes["value"]


def _complex_constant(compiler: FunctionCompiler, operation: Operation) -> None:
    compiler.constants[operation.results[0]] = complex(*operation.attributes["value"])


def _compare(compiler: FunctionCompiler, operation: Operation) -> Step:
    bits = operation.operand_types[0].bits
    test = arithmetic.comparison(operation.name, operation.attributes["predicate"], bits)
    return compiler.function_step(operation, test)


def _select(compiler: FunctionCompiler, operation: Operation) -> Step:
    return compiler.function_step(operation, lambda test, yes, no: yes if test else no)


def _by_width(compiler: FunctionCompiler, operation: Operation) -> Step:
    compute = arithmetic.BY_WIDTH[operation.name](operation.operand_types[0].bits)
    return compiler.function_step(operation, _rounded(compute, operation.result_types[0]))


def _pure(compiler: FunctionCompiler, operation: Operation) -> Step:
    compute = arithmetic.PURE[operation.name]
    return compiler.function_step(operation, _rounded(compute, operation.result_types[0]))


def _rounded(compute: Callable[..., Any], kind: Type) -> Callable[..., Any]:
    """Bring the results of a function into the range of a type."""
    limit = arithmetic.rounder(kind)
    if limit is None:
        return compute
    if kind.kind in ("int", "index") and kind.bits > 1:
        half, bits = 1 << (kind.bits - 1), kind.bits

        # Results rarely leave the range: skip the general reduction for those that do not.
        def integer(*values: Any) -> Any:
            result = compute(*values)
            return result if -half <= result < half else arithmetic.wrap(result, bits)

        return integer
    return lambda *values: limit(compute(*values))


STEPS: Final[Mapping[str, Callable[[FunctionCompiler, Operation], Step | None]]] = {
    **dict.fromkeys(arithmetic.PURE, _pure),
    **dict.fromkeys(arithmetic.BY_WIDTH, _by_width),
    "arith.cmpf": _compare,
    "arith.cmpi": _compare,
    "arith.constant": _constant,
    "arith.select": _select,
    "complex.constant": _complex_constant,
}
"""Builders of steps for the arith, math and complex dialects."""
