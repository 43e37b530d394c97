"""Types of the kernel language, parsed from the text MLIR prints for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TOKEN: Final = re.compile(r'"[^"]*"|->|[A-Za-z_][A-Za-z0-9_.]*|\d+|[<>(){}\[\],:!?*]')
_NUMBER: Final = re.compile(r"(i|f|si|ui)(\d+)$")
_POINTER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Type:
    """One type of the kernel language.

    Attributes:
        kind: `int float complex index ptr array struct sequence charspan callable state ref veq
            struq handle none` or `other`.
        bits: Width of an `int` or `float` (bits), else 0.
        parts: Element type of `complex ptr array sequence`, members of `struct` and `struq`.
        length: Number of elements of an `array` or `veq`, None where known at run time only.
        name: Name of a `struct` or `struq`; text of an `other`.
    """

    kind: str
    bits: int = 0
    parts: tuple[Type, ...] = ()
    length: int | None = None
    name: str = ""

    @property
    def element(self) -> Type:
        """Element type of a pointer, array, sequence or complex number."""
        return self.parts[0]

    @property
    def is_aggregate(self) -> bool:
        """Whether a value of this type is made of several memory cells."""
        return self.kind in ("struct", "array")

    @property
    def n_bytes(self) -> int:
        """Size in memory, with the alignment rules of C (bytes)."""
        if self.kind in ("int", "float"):
            return max(1, self.bits // 8)
        if self.kind == "complex":
            return 2 * self.element.n_bytes
        if self.kind == "array":
            return (self.length or 0) * self.element.n_bytes
        if self.kind == "struct":
            return _struct_bytes(self)
        return 2 * _POINTER_BYTES if self.kind in ("sequence", "charspan") else _POINTER_BYTES


def _alignment_bytes(kind: Type) -> int:
    if kind.kind == "struct":
        return max((_alignment_bytes(part) for part in kind.parts), default=1)
    if kind.kind in ("array", "complex"):
        return _alignment_bytes(kind.element)
    return min(kind.n_bytes, _POINTER_BYTES)


def _struct_bytes(struct: Type) -> int:
    size = 0
    for part in struct.parts:
        align = _alignment_bytes(part)
        size = -(-size // align) * align + part.n_bytes
    align = _alignment_bytes(struct)
    return -(-size // align) * align


class _Parser:
    """Recursive descent over the tokens of one type."""

    def __init__(self, text: str) -> None:
        # `x` separates an element type from a length: `array<i64 x 3>`.
        self.tokens = _TOKEN.findall(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if expected is not None and token != expected:
            raise ValueError(f"expected {expected!r}, found {token!r} in {self.tokens}")
        self.position += 1
        return token

    def parse(self) -> Type:
        if self.peek() == "!":
            self.take()
        if self.peek() == "(":
            return self._function()
        name = self.take()
        number = _NUMBER.match(name)
        if number:
            return Type("float" if number[1] == "f" else "int", bits=int(number[2]))
        reader = _READERS.get(name)
        return reader(self) if reader else Type("other", name=name)

    def _function(self) -> Type:
        self.take("(")
        inputs = self.list_until(")")
        self.take("->")
        if self.peek() == "(":
            self.take()
            outputs = self.list_until(")")
        else:
            outputs = [self.parse()]
        return Type("callable", parts=(*inputs, *outputs), length=len(inputs))

    def list_until(self, closing: str) -> list[Type]:
        parts = []
        while self.peek() != closing:
            parts.append(self.parse())
            if self.peek() == ",":
                self.take()
        self.take(closing)
        return parts

    def one(self, kind: str) -> Type:
        self.take("<")
        part = self.parse()
        self.take(">")
        return Type(kind, parts=(part,))

    def array(self) -> Type:
        self.take("<")
        part = self.parse()
        self.take("x")
        length = self.take()
        self.take(">")
        return Type("array", parts=(part,), length=None if length == "?" else int(length))

    def veq(self) -> Type:
        self.take("<")
        length = self.take()
        self.take(">")
        return Type("veq", length=None if length == "?" else int(length))

    def struct(self) -> Type:
        self.take("<")
        name = self.take().strip('"') if self.peek().startswith('"') else ""
        self.take("{")
        parts = self.list_until("}")
        while self.take() != ">":  # the compiler may add `packed` or `[size, alignment]`
            pass
        return Type("struct", parts=tuple(parts), name=name)

    def struq(self) -> Type:
        self.take("<")
        name = ""
        if self.peek().startswith('"'):
            name = self.take().strip('"')
            self.take(":")
        return Type("struq", parts=tuple(self.list_until(">")), name=name)

    def callable(self) -> Type:
        self.take("<")
        function = self.parse()
        self.take(">")
        return function


_READERS: Final[Mapping[str, Callable[[_Parser], Type]]] = {
    "cc.ptr": lambda parser: parser.one("ptr"),
    "cc.array": _Parser.array,
    "cc.struct": _Parser.struct,
    "cc.sequence": lambda parser: parser.one("sequence"),
    "cc.stdvec": lambda parser: parser.one("sequence"),
    "cc.callable": _Parser.callable,
    "cc.indirect_callable": _Parser.callable,
    "cc.charspan": lambda _: Type("charspan"),
    "cc.measure_handle": lambda _: Type("handle"),
    "quake.measure": lambda _: Type("handle"),
    "quake.ref": lambda _: Type("ref"),
    "quake.veq": _Parser.veq,
    "quake.struq": _Parser.struq,
    "quake.state": lambda _: Type("state"),
    "complex": lambda parser: parser.one("complex"),
    "index": lambda _: Type("index", bits=64),
    "none": lambda _: Type("none"),
}


@lru_cache(maxsize=1024)
def parse_type(text: str) -> Type:
    """Parse the text of an MLIR type.

    Args:
        text: For example `!cc.ptr<!cc.array<f64 x ?>>`.

    Returns:
        The type; unknown ones get the kind `other`.

    Raises:
        ValueError: The text is malformed.

    >>> parse_type("!cc.sequence<i64>").element.bits
    64
    >>> parse_type('!cc.struct<"P" {i1, f64}>').n_bytes
    16
    """
    return _Parser(text).parse()
