"""What code would do, found without running it: quantum operations and writes to memory.

Needed where a branch depends on a measurement: its code may be left for later, as classical
post-processing, if it does nothing quantum, and what it may write becomes unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.interpret.values import Closure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cudaq_target.interpret.form import Block, Function, KernelForm, Operation

_HARMLESS: Final = frozenset(
    f"quake.{name}"
    for name in (
        "concat",
        "dealloc",
        "discriminate",
        "extract_ref",
        "get_member",
        "log_output",
        "make_struq",
        "relax_size",
        "subveq",
        "veq_size",
    )
)
_INSTANTIATE: Final = "cc.instantiate_callable"
_CALLS: Final = frozenset({"func.call", "cc.noinline_call"})
_DERIVED_POINTER: Final = frozenset(
    {
        "cc.cast",
        "cc.compute_ptr",
        "cc.extract_value",
        "cc.load",
        "cc.sequence_data",
        "cc.sequence_init",
    }
)
_DYNAMIC: Final = "?"
"""Key under which a form remembers whether it has allocations of unknown size."""
_FRESH_MEMORY: Final = frozenset({"cc.alloca", "func.call"})


@dataclass(frozen=True, slots=True)
class Effects:
    """What some code would do.

    Attributes:
        quantum: First quantum operation and the function that holds it, None where there is none.
        callables: Slots of kernels passed as values that the code would call.
        written: Slots of pointers and sequences whose memory the code may change.
        untraceable: It writes through a pointer that cannot be traced to such a slot.
    """

    quantum: tuple[Function, Operation] | None
    callables: tuple[int, ...]
    written: tuple[int, ...]
    untraceable: bool


@dataclass(slots=True)
class _Collected:
    callables: list[int] = field(default_factory=list)
    written: set[int] = field(default_factory=set)
    untraceable: bool = False


def walk(blocks: Iterable[Block]) -> Iterator[Operation]:
    """Yield the operations of blocks, nested ones included."""
    for block in blocks:
        for operation in block.operations:
            yield operation
            for region in operation.regions:
                yield from walk(region.blocks)


def first_quantum(
    form: KernelForm, function: Function, blocks: Iterable[Block]
) -> tuple[Function, Operation] | None:
    """Find the first quantum operation in blocks of a function, calls followed."""
    for operation in walk(blocks):
        if operation.name.startswith("quake.") and operation.name not in _HARMLESS:
            return function, operation
        if operation.name in _CALLS or operation.name == _INSTANTIATE:
            callee = form.functions.get(operation.attributes["callee"])
            if callee is not None and callee.body is not None:
                found = first_quantum(form, callee, callee.body.blocks)
                if found:
                    return found
    return None


def quantum_in_closure(closure: Any) -> tuple[Function, Operation] | None:
    """Find the first quantum operation of a kernel passed as a value, captured ones included."""
    if not isinstance(closure, Closure):
        return None
    function = closure.form.functions[closure.symbol]
    if function.body is None:
        return None
    found = first_quantum(closure.form, function, function.body.blocks)
    for captured in closure.captured:
        found = found or quantum_in_closure(captured)
    return found


def _root(slot: int, inside: dict[int, Operation], collected: _Collected) -> None:
    """Trace a pointer back to where it enters the code, or note that this is impossible."""
    while slot in inside:
        operation = inside[slot]
        if operation.name in _FRESH_MEMORY:
            return
        if operation.name not in _DERIVED_POINTER:
            collected.untraceable = True
            return
        slot = operation.operands[0]
    collected.written.add(slot)


def allocations(form: KernelForm, arguments: Iterable[Any]) -> list[tuple[int, int]]:
    """Find the allocations that CUDA-Q moves to the start of a kernel.

    CUDA-Q 0.16 does so for the entry function, but not for code nested in it, where no
    allocation of the kernel or of a kernel that it calls has a size known at run time only. It
    shows in the order of qubits when a called kernel allocates some of its own.

    Args:
        form: The kernel.
        arguments: Values of its arguments; kernels among them may be called.

    Returns:
        Slot and number of qubits of each allocation, empty where CUDA-Q moves none.
    """
    if _has_dynamic_allocation(form) or any(_allocates_dynamically(item) for item in arguments):
        return []
    body = form.entry_function.body
    return [
        (operation.results[0], operation.result_types[0].length or 1)
        for block in (body.blocks if body else ())
        for operation in block.operations
        if operation.name == "quake.alloca" and operation.result_types[0].length != 0
    ]


def _allocates_dynamically(value: Any) -> bool:
    return isinstance(value, Closure) and (
        _has_dynamic_allocation(value.form) or any(map(_allocates_dynamically, value.captured))
    )


def _has_dynamic_allocation(form: KernelForm) -> bool:
    found: bool | None = form.compiled.get(_DYNAMIC)
    if found is None:
        found = any(
            operation.name == "quake.alloca" and operation.operands
            for function in form.functions.values()
            if function.body is not None
            for operation in walk(function.body.blocks)
        )
        form.compiled[_DYNAMIC] = found
    return found


def find_effects(form: KernelForm, function: Function, blocks: Iterable[Block]) -> Effects:
    """Find what blocks of a function would do.

    Args:
        form: The kernel.
        function: The function that holds the blocks.
        blocks: Code that may run or not.

    Returns:
        Its effects.
    """
    blocks = tuple(blocks)
    operations = list(walk(blocks))
    inside = {slot: operation for operation in operations for slot in operation.results}
    local = _block_arguments(blocks)
    collected = _Collected()
    quantum = first_quantum(form, function, blocks)
    for operation in operations:
        if operation.name == "cc.store":
            _root(operation.operands[1], inside, collected)
        elif operation.name in _CALLS or operation.name == "cc.call_callable":
            kinds = zip(operation.operands, operation.operand_types, strict=True)
            for slot, kind in kinds:
                if kind.kind in ("ptr", "sequence", "struct"):
                    _root(slot, inside, collected)
                elif kind.kind == "callable" and slot not in inside:
                    collected.callables.append(slot)
                elif kind.kind == "callable" and inside[slot].name != _INSTANTIATE:
                    quantum = quantum or (function, operation)  # it may be any kernel
    if collected.written & local:
        collected.untraceable = True
    return Effects(
        quantum=quantum,
        callables=tuple(collected.callables),
        written=tuple(sorted(collected.written - local)),
        untraceable=collected.untraceable,
    )


def _block_arguments(blocks: Iterable[Block]) -> set[int]:
    found: set[int] = set()
    for block in blocks:
        found.update(block.arguments)
        for operation in block.operations:
            for region in operation.regions:
                found |= _block_arguments(region.blocks)
    return found


def successors(block: Block) -> tuple[int, ...]:
    """Return the numbers of the blocks to which a block may branch."""
    return block.operations[-1].successors


def join_of(blocks: tuple[Block, ...], start: int) -> tuple[int | None, frozenset[int]]:
    """Find where the two ways of a branch meet again.

    Args:
        blocks: Blocks of one region.
        start: Number of the block that ends in the branch.

    Returns:
        Number of the block where all ways from `start` meet, None where that is the end of the
        region; and the numbers of the blocks in between.
    """
    everything = frozenset(range(len(blocks))) | {-1}
    after = dict.fromkeys(range(len(blocks)), everything)
    after[-1] = frozenset({-1})
    changed = True
    while changed:
        changed = False
        for number, block in enumerate(blocks):
            following = successors(block) or (-1,)
            common = frozenset.intersection(*(after[item] for item in following)) | {number}
            if common != after[number]:
                after[number], changed = common, True
    candidates = after[start] - {start}
    # The nearest of the blocks that every way passes is passed before all the others.
    nearest = max(candidates, key=lambda number: len(after[number]))
    between: set[int] = set()
    pending = list(successors(blocks[start]))
    while pending:
        number = pending.pop()
        if number != nearest and number not in between:
            between.add(number)
            pending.extend(successors(blocks[number]))
    return (None if nearest == -1 else nearest), frozenset(between)
