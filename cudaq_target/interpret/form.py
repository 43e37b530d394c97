"""A kernel as plain Python data: what is left of its MLIR once it has been read.

The structure is that of MLIR (functions, regions, blocks, operations), with every value replaced
by the number of a slot in the frame of its function. Reading MLIR is slow, so that it happens once
for a kernel; tracing the result with new arguments touches no MLIR.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cudaq_target.interpret.types import Type

FIRST_SLOT = 1
"""Slot 0 of a frame is reserved for the machine that executes it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: Dialect and operation, for example `arith.addi`.
        operands: Slots that are read.
        results: Slots that are written.
        operand_types: One type for each operand.
        result_types: One type for each result.
        attributes: Attributes as plain Python values; types and symbols as text.
        segments: Number of operands in each group, empty where there is one group.
        regions: Nested code.
        successors: For a branch: block number and the slots handed to its arguments.
        line: Line in the user's file, None where it cannot be told.
    """

    name: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    operand_types: tuple[Type, ...]
    result_types: tuple[Type, ...]
    attributes: Mapping[str, Any]
    segments: tuple[int, ...] = ()
    regions: tuple[Region, ...] = ()
    successors: tuple[int, ...] = ()
    line: int | None = None

    def operand_groups(self) -> tuple[tuple[int, ...], ...]:
        """Split the operand slots by `segments`."""
        groups = []
        start = 0
        for length in self.segments:
            groups.append(self.operands[start : start + length])
            start += length
        return tuple(groups)


@dataclass(frozen=True, slots=True)
class Block:
    """Operations without a branch in between; the last one is the terminator.

    Attributes:
        arguments: Slots that a branch to this block fills.
        operations: In program order.
    """

    arguments: tuple[int, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """Blocks of which the first is the entry; empty where MLIR has an empty region."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a module.

    Attributes:
        symbol: Name in the module, mangled.
        kernel: Name as the user wrote it.
        file: Path of the user's file, None for builder kernels and REPL input.
        argument_types: Types of the arguments, captured ones last.
        result_types: Types of the returned values.
        n_slots: Size of a frame.
        body: Code, None for a mere declaration.
    """

    symbol: str
    kernel: str
    file: str | None
    argument_types: tuple[Type, ...]
    result_types: tuple[Type, ...]
    n_slots: int
    body: Region | None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class KernelForm:
    """A kernel that has been read, ready to be traced with any arguments.

    Attributes:
        kernel: Name as the user wrote it.
        entry: Symbol of the function to start with.
        functions: All functions of the module by symbol.
        constants: Constant arrays of the module by symbol, as lists of numbers.
        result_class: Python class of a returned struct, None where there is none.
        compiled: Room for the interpreter to keep what it made of each function.
    """

    kernel: str
    entry: str
    functions: Mapping[str, Function]
    constants: Mapping[str, list[Any]] = field(default_factory=dict)
    result_class: type | None = None
    compiled: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def entry_function(self) -> Function:
        """The function to start with."""
        return self.functions[self.entry]
