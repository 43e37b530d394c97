"""From the Python arguments of a kernel call to values of the interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.interpret.arithmetic import single
from cudaq_target.interpret.quantum import checked_amplitudes
from cudaq_target.interpret.values import Amplitudes, Closure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cudaq_target.interpret.form import KernelForm
    from cudaq_target.interpret.types import Type


@dataclass(frozen=True, slots=True)
class Converter:
    """Converts the arguments of one kernel.

    Attributes:
        source: The kernel, for errors.
        read: Reads a kernel that is passed as an argument.
    """

    source: Source
    read: Callable[[Any], KernelForm]

    def value_of(self, argument: Any, kind: Type) -> Any:
        """Turn one argument into a value of the interpreter.

        Args:
            argument: As CUDA-Q's `process_call_arguments` leaves it.
            kind: Type of the kernel's argument.

        Returns:
            The value; lists are copied.

        Raises:
            UnsupportedKernelError: Values of this type cannot be passed.
        """
        convert = _BY_KIND.get(kind.kind)
        if convert is None:
            raise UnsupportedKernelError(
                self.source,
                f"an argument of type {kind.name or kind.kind}",
                "only numbers, lists, strings, dataclasses, states and kernels can be passed",
                "Pass plain values; allocate qubits in the kernel.",
            )
        return convert(self, argument, kind)

    def _integer(self, argument: Any, kind: Type) -> int:
        return bool(argument) if kind.bits == 1 else int(argument)

    def _real(self, argument: Any, kind: Type) -> float:
        return float(argument) if kind.bits == 64 else single(float(argument))

    def _complex(self, argument: Any, kind: Type) -> complex:
        value = complex(argument)
        return value if kind.element.bits == 64 else complex(single(value.real), single(value.imag))

    def _text(self, argument: Any, kind: Type) -> tuple[list[int], int, int]:
        del kind
        letters = [ord(letter) for letter in str(argument)]
        return letters, 0, len(letters)

    def _sequence(self, argument: Any, kind: Type) -> tuple[list[Any], int, int]:
        element = kind.element
        if element.kind == "float" and element.bits == 64:
            cells: list[Any] = [float(item) for item in argument]
        else:
            cells = [self.value_of(item, element) for item in argument]
        if element.kind == "struct":  # in memory a struct is a list of its members
            cells = [list(cell) for cell in cells]
        return cells, 0, len(cells)

    def _struct(self, argument: Any, kind: Type) -> tuple[Any, ...]:
        if isinstance(argument, tuple):
            members = list(argument)
        else:
            members = [getattr(argument, name) for name in type(argument).__annotations__]
        pairs = zip(members, kind.parts, strict=True)
        return tuple(self.value_of(member, part) for member, part in pairs)

    def _closure(self, argument: Any, kind: Type) -> Closure:
        del kind
        decorator = getattr(argument, "decorator", None)
        if decorator is None:
            raise UnsupportedKernelError(
                self.source,
                f"a call of the C++ kernel {getattr(argument, 'linkedKernel', argument)}",
                "only kernels written in Python are known to this target",
                "Write it as a @cudaq.kernel.",
            )
        form = self.read(decorator)
        kinds = form.entry_function.argument_types
        captured = kinds[len(kinds) - len(argument.resolved) :]
        pairs = zip(argument.resolved, captured, strict=True)
        return Closure(form, form.entry, tuple(self.value_of(*pair) for pair in pairs))

    def _state(self, argument: Any, kind: Type) -> Amplitudes:
        del kind
        return Amplitudes(checked_amplitudes(np.array(argument), self.source))


def plain_values(arguments: Sequence[Any], kinds: Sequence[Type]) -> tuple[Any, ...] | None:
    """Turn arguments into values where CUDA-Q would take each of them as it is.

    CUDA-Q asks its compiler for the type of every argument, which takes longer than to trace a
    small kernel. Here numbers, and lists of them, are looked at that have the very type of the
    parameter.

    Args:
        arguments: Of the user.
        kinds: Types of the kernel's parameters, as many.

    Returns:
        The values, lists copied; None where CUDA-Q has to look at one of them.
    """
    values = []
    for argument, kind in zip(arguments, kinds, strict=True):
        if kind.kind == "sequence" and type(argument) is list:
            if not argument or not _are_plain(argument, kind.element):
                return None
            values.append((argument.copy(), 0, len(argument)))
        elif _are_plain((argument,), kind):
            values.append(argument)
        else:
            return None
    return tuple(values)


def _are_plain(numbers: Sequence[Any], kind: Type) -> bool:
    wanted = _PLAIN.get((kind.kind, kind.bits))
    if wanted is None or any(type(number) is not wanted for number in numbers):
        return False
    return wanted is not int or (min(numbers) >= -_INT64_END and max(numbers) < _INT64_END)


_INT64_END: Final = 1 << 63
_PLAIN: Final[Mapping[tuple[str, int], type]] = {
    ("int", 1): bool,
    ("int", 64): int,
    ("float", 64): float,
}
_BY_KIND: Final[Mapping[str, Callable[[Converter, Any, Type], Any]]] = {
    "int": Converter._integer,
    "float": Converter._real,
    "complex": Converter._complex,
    "charspan": Converter._text,
    "sequence": Converter._sequence,
    "struct": Converter._struct,
    "callable": Converter._closure,
    "ptr": Converter._state,
}


def described(kind: Type) -> str:
    """Say in words of Python what an argument of a type must be.

    >>> from cudaq_target.interpret.types import parse_type
    >>> described(parse_type("!cc.sequence<f64>"))
    'a list of float'
    """
    name = _word(kind)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _word(kind: Type) -> str:
    if kind.kind == "sequence":
        return f"list of {_word(kind.element)}"
    if kind.kind == "int":
        return "bool" if kind.bits == 1 else "int"
    words = {"charspan": "Pauli word", "callable": "kernel", "ptr": "cudaq.State"}
    return words.get(kind.kind, kind.name or kind.kind)
