"""From the operations of a function to a chain of Python closures that execute them.

A frame is a list: slot 0 holds the machine, every other slot one value. A step is a closure that
reads and writes slots. Constants are put into the template of the frame and cost no step.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.interpret.form import FIRST_SLOT
from cudaq_target.interpret.types import Type, parse_type
from cudaq_target.interpret.values import UNKNOWN, MeasurementDependenceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cudaq_target.interpret.form import Function, KernelForm, Operation
    from cudaq_target.interpret.machine import Machine

    Frame = list[Any]
    Step = Callable[[Frame], None]
    Outcome = tuple[Any, tuple[Any, ...]]
    Code = Callable[[Frame], Outcome]
    Builders = Mapping[str, Callable[["FunctionCompiler", Operation], Step | None]]

CONTINUE: Final = 0
"""Code ended normally."""
BREAK: Final = 1
"""The surrounding loop ends."""
RETURN: Final = 2
"""The function ends."""
UNDECIDED: Final = 3
"""A measurement decides how the code ended; its values are unknown."""


@dataclass(frozen=True, slots=True)
class CompiledFunction:
    """A function ready to run.

    Attributes:
        template: Frame with constants filled in.
        n_arguments: Number of arguments.
        n_results: Number of returned values.
        code: Its body.
    """

    template: list[Any]
    n_arguments: int
    n_results: int
    code: Code

    def run(self, machine: Machine, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Execute the function on a machine and return its values."""
        frame = self.template.copy()
        frame[0] = machine
        frame[FIRST_SLOT : FIRST_SLOT + self.n_arguments] = arguments
        kind, values = self.code(frame)
        return (UNKNOWN,) * self.n_results if kind == UNDECIDED else values


def getter(slots: tuple[int, ...]) -> Callable[[Frame], tuple[Any, ...]]:
    """Return what reads several slots at once."""
    if not slots:
        return lambda _: ()
    if len(slots) == 1:
        (slot,) = slots
        return lambda frame: (frame[slot],)
    return operator.itemgetter(*slots)


class FunctionCompiler:
    """Compiles one function.

    Attributes:
        form: The kernel that the function belongs to.
        function: The function.
        builders: For each operation, what makes its step.
        constants: Slots whose value is known already.
    """

    def __init__(self, form: KernelForm, function: Function, builders: Builders) -> None:
        self.form = form
        self.function = function
        self.builders = builders
        self.constants: dict[int, Any] = {}

    def source(self, operation: Operation) -> Source:
        """Return where the user wrote an operation."""
        return Source(self.function.kernel, operation.line, self.function.file)

    def unsupported(
        self, operation: Operation, what: str, remedy: str = ""
    ) -> UnsupportedKernelError:
        """Build the error for an operation that has no meaning here."""
        return UnsupportedKernelError(
            self.source(operation),
            what,
            "it has no counterpart on this target",
            remedy or "Compute it in Python and pass the result as an argument.",
        )

    @staticmethod
    def type_attribute(operation: Operation, name: str) -> Type:
        """Return an attribute that is a type."""
        return parse_type(operation.attributes[name])

    def function_step(self, operation: Operation, compute: Callable[..., Any]) -> Step:
        """Make a step of a function of the operands; unknown operands give an unknown result."""
        (result,) = operation.results
        source = self.source(operation)

        def divide_by_zero() -> UnsupportedKernelError:
            return UnsupportedKernelError(
                source,
                "an integer division by zero",
                "it has no result",
                "Check the arguments of the kernel.",
            )

        if len(operation.operands) == 1:
            (only,) = operation.operands

            def unary(frame: Frame) -> None:
                try:
                    frame[result] = compute(frame[only])
                except MeasurementDependenceError:
                    frame[result] = UNKNOWN

            return unary
        if len(operation.operands) == 2:
            left, right = operation.operands

            def binary(frame: Frame) -> None:
                try:
                    frame[result] = compute(frame[left], frame[right])
                except MeasurementDependenceError:
                    frame[result] = UNKNOWN
                except ZeroDivisionError:
                    raise divide_by_zero() from None

            return binary
        read = getter(operation.operands)

        def general(frame: Frame) -> None:
            try:
                frame[result] = compute(*read(frame))
            except MeasurementDependenceError:
                frame[result] = UNKNOWN

        return general

    def step(self, operation: Operation) -> Step | None:
        """Make the step of an operation, None where executing it does nothing."""
        builder = self.builders.get(operation.name)
        if builder is None:
            raise self.unsupported(operation, f"the operation {operation.name}")
        return builder(self, operation)

    def steps(self, operations: Sequence[Operation]) -> tuple[Step, ...]:
        """Make the steps of operations without a branch in between."""
        made = (self.step(operation) for operation in operations)
        return tuple(step for step in made if step is not None)
