"""Control flow: regions, branches between blocks, conditionals and loops.

A branch that depends on a measurement is not taken. If neither way does anything quantum, it is
classical post-processing: what it may write becomes unknown and execution goes on where the ways
meet. Otherwise it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import Source
from cudaq_target.interpret.code import (
    BREAK,
    CONTINUE,
    RETURN,
    UNDECIDED,
    CompiledFunction,
    FunctionCompiler,
    getter,
)
from cudaq_target.interpret.effects import find_effects, join_of, quantum_in_closure
from cudaq_target.interpret.values import UNKNOWN, forget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cudaq_target.interpret.code import Builders, Code, Frame, Outcome, Step
    from cudaq_target.interpret.form import Block, Function, KernelForm, Operation, Region

    Jump = Callable[[Frame], Outcome | int]

_ENDINGS: Final = {
    "cc.continue": CONTINUE,
    "cc.break": BREAK,
    "cc.return": RETURN,
    "func.return": RETURN,
}


def compiled_function(form: KernelForm, symbol: str, builders: Builders) -> CompiledFunction:
    """Return a function of a kernel ready to run; compiled at its first use.

    Args:
        form: The kernel.
        symbol: Name of the function in the module.
        builders: What makes the steps.

    Returns:
        The compiled function.

    Raises:
        UnsupportedKernelError: The function uses something that this target cannot do.
    """
    found: CompiledFunction | None = form.compiled.get(symbol)
    if found is None:
        found = _compile_function(form, form.functions[symbol], builders)
        form.compiled[symbol] = found
    return found


def _compile_function(form: KernelForm, function: Function, builders: Builders) -> CompiledFunction:
    compiler = FunctionCompiler(form, function, builders)
    if function.body is None:
        raise ValueError(f"{function.symbol} has no body")
    code = compile_region(compiler, function.body)
    template: list[Any] = [None] * function.n_slots
    for slot, value in compiler.constants.items():
        template[slot] = value
    return CompiledFunction(
        template, len(function.argument_types), len(function.result_types), code
    )


def compile_region(compiler: FunctionCompiler, region: Region) -> Code:
    """Make code of a region.

    Args:
        compiler: The compiler of the function that holds the region.
        region: The region; an empty one does nothing.

    Returns:
        What runs the region in a frame and tells how it ended.
    """
    if not region.blocks:
        return lambda _: (CONTINUE, ())
    if len(region.blocks) == 1:
        return _straight_code(compiler, region.blocks[0])
    return _branching_code(compiler, region)


def _straight_code(compiler: FunctionCompiler, block: Block) -> Code:
    steps = compiler.steps(block.operations[:-1])
    ending = _ending(compiler, block.operations[-1])

    def run(frame: Frame) -> Outcome:
        for step in steps:
            step(frame)
        return ending(frame)

    return run


def _ending(compiler: FunctionCompiler, operation: Operation) -> Code:
    if operation.name == "cc.condition":
        condition, read_values = operation.operands[0], getter(operation.operands[1:])
        return lambda frame: (frame[condition], read_values(frame))
    kind = _ENDINGS.get(operation.name)
    if kind is None:
        raise compiler.unsupported(operation, f"the operation {operation.name}")
    read = getter(operation.operands)
    return lambda frame: (kind, read(frame))


def _branching_code(compiler: FunctionCompiler, region: Region) -> Code:
    blocks = region.blocks
    parts = [
        (compiler.steps(block.operations[:-1]), _jump(compiler, blocks, number))
        for number, block in enumerate(blocks)
    ]

    def run(frame: Frame) -> Outcome:
        number = 0
        while True:
            steps, jump = parts[number]
            for step in steps:
                step(frame)
            target = jump(frame)
            if isinstance(target, int):
                number = target
            else:
                return target

    return run


def _assign(slots: tuple[int, ...], values: Iterable[Any], frame: Frame) -> None:
    for slot, value in zip(slots, values, strict=True):
        frame[slot] = value


def _jump(compiler: FunctionCompiler, blocks: tuple[Block, ...], number: int) -> Jump:
    operation = blocks[number].operations[-1]
    if operation.name == "cf.br":
        (target,) = operation.successors
        slots, read = blocks[target].arguments, getter(operation.operands)

        def branch(frame: Frame) -> int:
            _assign(slots, read(frame), frame)
            return target

        return branch
    if operation.name == "cf.cond_br":
        return _conditional_jump(compiler, blocks, number, operation)
    return _ending(compiler, operation)


def _conditional_jump(
    compiler: FunctionCompiler, blocks: tuple[Block, ...], number: int, operation: Operation
) -> Jump:
    (condition,), yes_slots, no_slots = operation.operand_groups()
    yes, no = operation.successors
    ways = {
        True: (yes, blocks[yes].arguments, getter(yes_slots)),
        False: (no, blocks[no].arguments, getter(no_slots)),
    }
    join, between = join_of(blocks, number)
    skip = _skip(compiler, [blocks[index] for index in sorted(between)], operation)

    def branch(frame: Frame) -> Outcome | int:
        decided = frame[condition]
        if decided is UNKNOWN:
            skip(frame)
            if join is None:
                return UNDECIDED, ()
            for slot in blocks[join].arguments:
                frame[slot] = UNKNOWN
            return join
        target, slots, read = ways[bool(decided)]
        _assign(slots, read(frame), frame)
        return target

    return branch


def _skip(compiler: FunctionCompiler, blocks: list[Block], operation: Operation) -> Step:
    """Make what stands for code that a measurement decides to run or not."""
    source = compiler.source(operation)
    effects = find_effects(compiler.form, compiler.function, blocks)

    def skip(frame: Frame) -> None:
        found = effects.quantum
        for slot in effects.callables:
            found = found or quantum_in_closure(frame[slot])
        if found:
            function, quantum = found
            where = Source(function.kernel, quantum.line, function.file)
            frame[0].refuse_branch(quantum.name.removeprefix("quake."), where)
        for slot in effects.written:
            forget(frame[slot])
        if effects.untraceable:
            frame[0].forget_memory(source)

    return skip


def _if(compiler: FunctionCompiler, operation: Operation) -> Step:
    condition, results = operation.operands[0], operation.results
    yes, no = (compile_region(compiler, region) for region in operation.regions)
    arguments = [
        region.blocks[0].arguments if region.blocks else () for region in operation.regions
    ]
    linear = getter(operation.operands[1:])
    skip = _skip(
        compiler, [block for region in operation.regions for block in region.blocks], operation
    )

    def choose(frame: Frame) -> None:
        decided = frame[condition]
        if decided is UNKNOWN:
            skip(frame)
            _forget(results, frame)
            return
        _assign(arguments[0 if decided else 1], linear(frame), frame)
        kind, values = yes(frame) if decided else no(frame)
        if kind == UNDECIDED:
            _forget(results, frame)
        else:
            _assign(results, values, frame)

    return choose


def _forget(slots: tuple[int, ...], frame: Frame) -> None:
    for slot in slots:
        frame[slot] = UNKNOWN


def _scope(compiler: FunctionCompiler, operation: Operation) -> Step:
    results = operation.results
    run = compile_region(compiler, operation.regions[0])

    def enter(frame: Frame) -> None:
        kind, values = run(frame)
        if kind == UNDECIDED:
            _forget(results, frame)
        else:
            _assign(results, values, frame)

    return enter


def _loop(compiler: FunctionCompiler, operation: Operation) -> Step:
    results, initial = operation.results, getter(operation.operands)
    regions = operation.regions
    test, body, advance, otherwise = (_part(compiler, regions, index) for index in range(4))
    skip = _skip(compiler, [block for region in regions for block in region.blocks], operation)
    body_first = bool(operation.attributes.get("post_condition"))

    def repeat(frame: Frame) -> None:
        values = initial(frame)
        check = not body_first
        while True:
            if check:
                going, values = test(frame, values)
                if going is UNKNOWN:
                    break
                if not going:
                    _, values = otherwise(frame, values)
                    _assign(results, values, frame)
                    return
            check = True
            kind, values = body(frame, values)
            if kind == BREAK:
                _assign(results, values, frame)
                return
            if kind == UNDECIDED:
                break
            _, values = advance(frame, values)
        skip(frame)
        _forget(results, frame)

    return repeat


def _part(
    compiler: FunctionCompiler, regions: tuple[Region, ...], index: int
) -> Callable[[Frame, tuple[Any, ...]], Outcome]:
    """Make one part of a loop; a missing one hands its values on."""
    if index >= len(regions) or not regions[index].blocks:
        return lambda _, values: (CONTINUE, values)
    slots = regions[index].blocks[0].arguments
    run = compile_region(compiler, regions[index])
    if not slots:
        return lambda frame, _: run(frame)
    if len(slots) == 1:
        (slot,) = slots

        def run_one(frame: Frame, values: tuple[Any, ...]) -> Outcome:
            (frame[slot],) = values
            return run(frame)

        return run_one

    def run_many(frame: Frame, values: tuple[Any, ...]) -> Outcome:
        _assign(slots, values, frame)
        return run(frame)

    return run_many


STEPS: Final[Mapping[str, Callable[[FunctionCompiler, Operation], Step | None]]] = {
    "cc.if": _if,
    "cc.loop": _loop,
    "cc.scope": _scope,
}
"""Builders of steps for conditionals, loops and scopes."""
