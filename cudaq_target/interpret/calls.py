"""Calls: other kernels, kernels passed as values, `cudaq.adjoint`, `cudaq.control`, C functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import UnsupportedKernelError
from cudaq_target.interpret.code import getter
from cudaq_target.interpret.control import compiled_function
from cudaq_target.interpret.quantum import qubits_of
from cudaq_target.interpret.values import (
    UNKNOWN,
    Closure,
    MeasurementDependenceError,
    forget,
    value_of_cell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cudaq_target.errors import Source
    from cudaq_target.interpret.code import Builders, Frame, FunctionCompiler, Step
    from cudaq_target.interpret.form import Operation
    from cudaq_target.interpret.machine import Machine


def call_closure(
    closure: Closure, arguments: tuple[Any, ...], machine: Machine, builders: Builders
) -> tuple[Any, ...]:
    """Call a kernel that was passed as a value.

    Args:
        closure: The kernel.
        arguments: Arguments at the call, without what it captured.
        machine: What executes.
        builders: What makes the steps.

    Returns:
        The returned values.
    """
    function = compiled_function(closure.form, closure.symbol, builders)
    if closure.takes_itself:
        return function.run(machine, (closure, *arguments))
    return function.run(machine, arguments + closure.captured)


def _copied(cell: Any) -> Any:
    return [_copied(part) for part in cell] if isinstance(cell, list) else cell


def _copy_bytes(target: Any, origin: Any, n_bytes: int, *_: Any) -> None:
    """Copy memory; a pointer to bytes says as its third entry how wide its elements are."""
    width = origin[2] if len(origin) > 2 else 1
    count = n_bytes // width
    start = origin[1]
    copied = [_copied(cell) for cell in origin[0][start : start + count]]
    target[0][target[1] : target[1] + count] = copied


def _fill_bytes(target: Any, value: int, n_bytes: int, *_: Any) -> None:
    width = target[2] if len(target) > 2 else 1
    count = n_bytes // width
    target[0][target[1] : target[1] + count] = [value] * count


def _copy_vector(origin: Any, count: int, width: int) -> Any:
    """Copy the elements of a returned list; memory for it is created by the copy."""
    del width
    start = origin[1]
    return [_copied(cell) for cell in origin[0][start : start + count]], 0


def _refuse_size(expected: int, found: int) -> None:
    raise ValueError(f"a custom operation on {expected} qubits that is given {found}")


C_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "malloc": lambda _: ([], 0),
    "free": lambda _: None,
    "llvm.memcpy.p0.p0.i64": _copy_bytes,
    "llvm.memmove.p0.p0.i64": _copy_bytes,
    "llvm.memset.p0.i64": _fill_bytes,
    "__nvqpp_vectorCopyCtor": _copy_vector,
    "__nvqpp_cleanup_arrays": lambda: None,
    "__nvqpp_customop_size_error": _refuse_size,
}
"""What the functions do that the compiler calls but does not define."""


def _call(compiler: FunctionCompiler, operation: Operation) -> Step:
    symbol = operation.attributes["callee"]
    form, builders = compiler.form, compiler.builders
    function = form.functions.get(symbol)
    read, results = getter(operation.operands), operation.results
    source = compiler.source(operation)
    if function is not None and function.body is not None:

        def call(frame: Frame) -> None:
            values = compiled_function(form, symbol, builders).run(frame[0], read(frame))
            for slot, value in zip(results, values, strict=True):
                frame[slot] = value

        return call
    c_function = C_FUNCTIONS.get(symbol)

    def call_c(frame: Frame) -> None:
        if c_function is None:
            raise UnsupportedKernelError(
                source,
                f"a call of the C++ function {symbol}",
                "only code written in Python is known to this target",
                "Write it as a @cudaq.kernel.",
            )
        try:
            value = c_function(*read(frame))
        except MeasurementDependenceError:
            value = UNKNOWN
            for argument in read(frame):
                forget(argument)
        except ValueError as problem:
            raise UnsupportedKernelError(
                source, str(problem), "the numbers differ", "Check the arguments of the kernel."
            ) from None
        for slot in results:
            frame[slot] = value

    return call_c


def _call_callable(compiler: FunctionCompiler, operation: Operation) -> Step:
    callee, read, results = operation.operands[0], getter(operation.operands[1:]), operation.results
    builders = compiler.builders
    source = compiler.source(operation)

    def call(frame: Frame) -> None:
        closure = _closure(frame[callee], source)
        values = call_closure(closure, read(frame), frame[0], builders)
        for slot, value in zip(results, values, strict=True):
            frame[slot] = value

    return call


def _closure(value: Any, source: Source) -> Closure:
    if isinstance(value, Closure):
        return value
    raise UnsupportedKernelError(
        source,
        "a call of a kernel that is not known",
        "the argument is no Python kernel" if value is not UNKNOWN else "a measurement decides it",
        "Pass a @cudaq.kernel.",
    )


def _apply(compiler: FunctionCompiler, operation: Operation) -> Step:
    indirect, control_slots, argument_slots = operation.operand_groups()
    builders, source = compiler.builders, compiler.source(operation)
    symbol = operation.attributes.get("callee")
    direct = Closure(compiler.form, symbol) if symbol else None
    read_controls, read = getter(control_slots), getter(argument_slots)
    inverted = bool(operation.attributes.get("is_adj"))

    def run(frame: Frame) -> None:
        machine: Machine = frame[0]
        closure = direct or _closure(frame[indirect[0]], source)
        arguments = read(frame)
        controls = tuple(
            qubit for value in read_controls(frame) for qubit in qubits_of(value, source)
        )

        def inner() -> None:
            call_closure(closure, arguments, machine, builders)

        def oriented() -> None:
            if inverted:
                machine.adjoint(inner)
            else:
                inner()

        if controls:
            machine.controlled(oriented, controls)
        else:
            oriented()

    return run


def _compute_action(compiler: FunctionCompiler, operation: Operation) -> Step:
    compute_slot, action_slot = operation.operands
    builders, source = compiler.builders, compiler.source(operation)
    inverted = bool(operation.attributes.get("is_dagger"))

    def run(frame: Frame) -> None:
        machine: Machine = frame[0]

        def call(slot: int) -> Callable[[], None]:
            closure = _closure(frame[slot], source)

            def run_it() -> None:
                call_closure(closure, (), machine, builders)

            return run_it

        first, then = call(compute_slot), call(action_slot)
        before: Callable[[Callable[[], None]], None] = machine.adjoint if inverted else _plainly
        after: Callable[[Callable[[], None]], None] = _plainly if inverted else machine.adjoint
        before(first)
        then()
        after(first)

    return run


def _plainly(run: Callable[[], None]) -> None:
    run()


def _instantiate(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), read = operation.results, getter(operation.operands)
    symbol, form = operation.attributes["callee"], compiler.form
    unpacks = "no_capture" not in operation.attributes

    def make(frame: Frame) -> None:
        frame[result] = Closure(form, symbol, read(frame), takes_itself=unpacks)

    return make


def _closure_data(compiler: FunctionCompiler, operation: Operation) -> Step:
    del compiler
    (callee,), results = operation.operands, operation.results

    def unpack(frame: Frame) -> None:
        for slot, value in zip(results, frame[callee].captured, strict=True):
            frame[slot] = value_of_cell(value)

    return unpack


STEPS: Final[Mapping[str, Callable[[FunctionCompiler, Operation], Step | None]]] = {
    "func.call": _call,
    "cc.noinline_call": _call,
    "cc.call_callable": _call_callable,
    "cc.callable_closure": _closure_data,
    "cc.instantiate_callable": _instantiate,
    "quake.apply": _apply,
    "quake.compute_action": _compute_action,
}
"""Builders of steps for calls."""
