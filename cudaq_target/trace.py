"""From a kernel and its arguments to a circuit, and from measured bits to returned values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cudaq_target.circuit import Circuit
from cudaq_target.interpret import execute
from cudaq_target.interpret.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.interpret.form import KernelForm
    from cudaq_target.interpret.types import Type


def trace(form: KernelForm, arguments: Sequence[Any]) -> Circuit:
    """Execute the classical code of a kernel and record its gates.

    Args:
        form: A kernel from `quake.read`.
        arguments: Values from `quake.arguments`, captured ones last. A kernel may write to the
            lists among them.

    Returns:
        The circuit. Classical code after a measurement that does nothing quantum is left to
        `evaluate_returns`.

    Raises:
        UnsupportedKernelError: The kernel needs feed-forward, a reset of a used qubit, or
            something else that this target cannot do.
    """
    machine = Machine()
    execute(form, arguments, machine)
    return Circuit(form.kernel, machine.n_qubits, tuple(machine.gates), tuple(machine.measurements))


def evaluate_returns(form: KernelForm, arguments: Sequence[Any], bits: Sequence[int]) -> Any:
    """Compute what a kernel returns when its measurements have given outcomes.

    Args:
        form: A kernel from `quake.read`.
        arguments: Values from `quake.arguments`, captured ones last. A kernel may write to the
            lists among them.
        bits: Outcome of each measurement, in the order of `Circuit.measurements`.

    Returns:
        The value as `cudaq.run` returns it: `bool`, `int`, `float`, `complex`, a list of these or
        an object of the user's class; None where the kernel returns nothing.

    Raises:
        UnsupportedKernelError: As for `trace`.
    """
    values = execute(form, arguments, Machine(bits))
    if not values:
        return None
    return python_value(values[0], form.entry_function.result_types[0], form.result_class)


def python_value(value: Any, kind: Type, result_class: type | None = None) -> Any:
    """Turn a value of the interpreter into one for Python.

    Args:
        value: The value.
        kind: Its type.
        result_class: Class of a struct; a tuple where there is none.

    Returns:
        The Python value.
    """
    if kind.kind == "int":
        return bool(value) if kind.bits == 1 else int(value)
    if kind.kind in ("sequence", "array"):
        cells, start, length = value
        return [python_value(cell, kind.element) for cell in cells[start : start + length]]
    if kind.kind == "struct":
        parts = [python_value(*pair) for pair in zip(value, kind.parts, strict=True)]
        return result_class(*parts) if result_class else tuple(parts)
    return value
