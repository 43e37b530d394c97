"""Execute a kernel that has been read, to record its gates or to compute what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.interpret import calls, control, memory, number_steps, quantum
from cudaq_target.interpret.control import compiled_function
from cudaq_target.interpret.effects import allocations
from cudaq_target.interpret.values import MeasurementDependenceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.interpret.form import KernelForm
    from cudaq_target.interpret.machine import Machine

BUILDERS: Final = {
    **number_steps.STEPS,
    **memory.STEPS,
    **control.STEPS,
    **quantum.STEPS,
    **calls.STEPS,
}
"""For each operation of CUDA-Q's MLIR, what makes its step."""


def execute(form: KernelForm, arguments: Sequence[Any], machine: Machine) -> tuple[Any, ...]:
    """Execute a kernel on a machine.

    Args:
        form: The kernel.
        arguments: Values of its arguments, captured ones last.
        machine: Records gates and hands out bits.

    Returns:
        The returned values.

    Raises:
        UnsupportedKernelError: The kernel does something that this target cannot do.
        ValueError: The number of arguments is wrong.
    """
    expected = len(form.entry_function.argument_types)
    if len(arguments) != expected:
        raise ValueError(f"{form.kernel} takes {expected} values, not {len(arguments)}")
    for slot, n_qubits in allocations(form, arguments):
        machine.reserve((form.entry, slot), n_qubits)
    try:
        return compiled_function(form, form.entry, BUILDERS).run(machine, arguments)
    except MeasurementDependenceError:
        raise UnsupportedKernelError(
            Source(form.kernel, None, form.entry_function.file),
            "quantum code that depends on a measurement",
            "the machine measures all atoms at once, at the end of a shot",
            "Measure at the end of the kernel, or decide in Python between two kernels.",
        ) from None
