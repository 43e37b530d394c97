"""One case of the corpus of kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def no_arguments() -> tuple[Any, ...]:
    return ()


@dataclass(frozen=True)
class Case:
    """A kernel with arguments.

    Attributes:
        name: Unique name, for test ids.
        kernel: Decorated function or builder kernel.
        make_args: Makes the arguments (some need a simulator, hence late).
        measured: The kernel measures, so that its final state is not a plain vector.
        returns: The kernel returns a value, for `cudaq.run`.
    """

    name: str
    kernel: Any
    make_args: Callable[[], tuple[Any, ...]] = no_arguments
    measured: bool = False
    returns: bool = False

    def __str__(self) -> str:
        return self.name


def case(kernel: Any, *args: Any, name: str = "", **flags: Any) -> Case:
    """Make a case of a kernel and plain arguments."""
    return Case(name or kernel.name, kernel, lambda: args, **flags)
