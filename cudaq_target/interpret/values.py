"""Values of the classical part of a kernel, and their memory.

A number is a Python number. A pointer is `(cells, offset)`: a Python list and an index into it; a
pointer to an array is a pointer to its first element. A pointer to bytes that really are wider
elements carries their size as a third entry. A sequence (list, string) is `(cells, offset,
length)`. A struct is a tuple as a value and a list as a memory cell. A qubit is its number, a
register of qubits a tuple of numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.interpret.form import KernelForm
    from cudaq_target.interpret.types import Type

    Pointer = tuple[list[Any], int]
    Span = tuple[list[Any], int, int]


class MeasurementDependenceError(Exception):
    """A number was asked for that depends on a measurement that has not happened yet."""


class _Unknown:
    """Stands for every value that depends on a measurement; arithmetic with it gives itself."""

    __slots__ = ()

    def _same(self, *_: object) -> _Unknown:
        return self

    def _refuse(self) -> Any:
        raise MeasurementDependenceError

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _same
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _same
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _same
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = __pow__ = __rpow__ = _same
    __neg__ = __invert__ = __abs__ = _same
    __lt__ = __le__ = __gt__ = __ge__ = _same
    __eq__ = __ne__ = _same  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]
    __bool__ = __index__ = __int__ = __float__ = __complex__ = _refuse

    @property
    def real(self) -> _Unknown:
        return self

    imag = real

    def conjugate(self) -> _Unknown:
        return self

    def is_in(self, value: Any) -> bool:
        """Whether a pointer or sequence has an unknown offset or length."""
        return isinstance(value, tuple) and any(part is self for part in value)

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
"""The one value that depends on a measurement."""


@dataclass(frozen=True, slots=True)
class Closure:
    """A kernel as a value, with what it captured.

    Attributes:
        form: Module that holds the function.
        symbol: Function to call.
        captured: Values appended to the arguments of a call.
        takes_itself: The function expects the closure as its first argument and unpacks
            `captured` by itself.
    """

    form: KernelForm
    symbol: str
    captured: tuple[Any, ...] = ()
    takes_itself: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Amplitudes:
    """An initial state.

    Attributes:
        values: Complex, shape (2^k,), index bit k of CUDA-Q's order (qubit 0 least significant).
    """

    values: NDArray[np.complex128]


_ZEROS: Final = {"int": 0, "index": 0, "float": 0.0, "complex": 0j}


def empty_cell(kind: Type) -> Any:
    """Return the content of fresh memory for one value of a type."""
    if kind.kind == "struct":
        return [empty_cell(part) for part in kind.parts]
    if kind.kind == "array":
        return [empty_cell(kind.element) for _ in range(kind.length or 0)]
    if kind.kind == "sequence":
        return ([], 0, 0)
    return _ZEROS.get(kind.kind)


def value_of_cell(cell: Any) -> Any:
    """Turn a memory cell into a value that later stores cannot change."""
    return tuple(value_of_cell(part) for part in cell) if isinstance(cell, list) else cell


def cell_of_value(kind: Type, value: Any) -> Any:
    """Turn a value into the content of a memory cell of its own."""
    if kind.kind == "struct":
        if value is UNKNOWN:
            return [cell_of_value(part, UNKNOWN) for part in kind.parts]
        return [cell_of_value(part, item) for part, item in zip(kind.parts, value, strict=True)]
    if kind.kind == "array":
        if value is UNKNOWN:
            return [cell_of_value(kind.element, UNKNOWN) for _ in range(kind.length or 0)]
        return [cell_of_value(kind.element, item) for item in value]
    return value


def undefined_value(kind: Type) -> Any:
    """Return some value of a type, for code that never reads it."""
    return value_of_cell(empty_cell(kind))


def forget(value: Any) -> None:
    """Overwrite every number that can be reached through a pointer or sequence by `UNKNOWN`."""
    if isinstance(value, tuple) and value and isinstance(value[0], list):
        _forget_cells(value[0])
    elif isinstance(value, tuple):
        for part in value:
            forget(part)


def _forget_cells(cells: list[Any]) -> None:
    for index, cell in enumerate(cells):
        if isinstance(cell, list):
            _forget_cells(cell)
        else:
            forget(cell)
            cells[index] = UNKNOWN
