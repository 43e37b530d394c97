"""Memory: allocation, pointers, sequences and structs of the cc dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import UnsupportedKernelError
from cudaq_target.interpret.arithmetic import conversion, rounder
from cudaq_target.interpret.values import (
    UNKNOWN,
    MeasurementDependenceError,
    cell_of_value,
    empty_cell,
    forget,
    undefined_value,
    value_of_cell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cudaq_target.errors import Source
    from cudaq_target.interpret.code import FunctionCompiler, Step
    from cudaq_target.interpret.form import Operation
    from cudaq_target.interpret.types import Type

DYNAMIC_INDEX: Final = -(2**31)
"""Marks an index that is an operand in `rawConstantIndices`."""


def _alloca(compiler: FunctionCompiler, operation: Operation) -> Step:
    kind = compiler.type_attribute(operation, "elementType")
    (result,) = operation.results
    if operation.operands:
        (count,) = operation.operands

        def allocate_many(frame: list[Any]) -> None:
            try:
                frame[result] = ([empty_cell(kind) for _ in range(frame[count])], 0)
            except MeasurementDependenceError:
                frame[result] = UNKNOWN

        return allocate_many
    if kind.kind == "array":

        def allocate_array(frame: list[Any]) -> None:
            frame[result] = (empty_cell(kind), 0)

        return allocate_array

    def allocate(frame: list[Any]) -> None:
        frame[result] = ([empty_cell(kind)], 0)

    return allocate


def _out_of_range(source: Source, pointer: Any) -> UnsupportedKernelError:
    return UnsupportedKernelError(
        source,
        f"element {pointer[1]} of a list",
        f"the list has {len(pointer[0])} elements",
        "Check the indices and the length of the arguments.",
    )


def _load(compiler: FunctionCompiler, operation: Operation) -> Step:
    source = compiler.source(operation)
    (pointer,), (result,) = operation.operands, operation.results
    kind = operation.result_types[0]
    length = kind.length if kind.kind == "array" else None

    def load(frame: list[Any]) -> None:
        try:
            cells, offset = frame[pointer]
            if offset < 0:
                raise _out_of_range(source, frame[pointer])
            frame[result] = cells[offset]
        except IndexError:
            raise _out_of_range(source, frame[pointer]) from None
        except (MeasurementDependenceError, TypeError):
            frame[result] = _unknown_or_raise(frame[pointer])

    def load_aggregate(frame: list[Any]) -> None:
        try:
            cells, offset = frame[pointer]
            cell = cells[offset] if length is None else cells[offset : offset + length]
            frame[result] = value_of_cell(cell)
        except IndexError:
            raise _out_of_range(source, frame[pointer]) from None
        except (MeasurementDependenceError, TypeError):
            frame[result] = _unknown_or_raise(frame[pointer])

    return load_aggregate if kind.is_aggregate else load


def _unknown_or_raise(pointer: Any) -> Any:
    """Tell a pointer that depends on a measurement from one that is broken."""
    if pointer is UNKNOWN or UNKNOWN.is_in(pointer):
        return UNKNOWN
    raise TypeError(f"not a pointer: {pointer!r}")


def _store(compiler: FunctionCompiler, operation: Operation) -> Step:
    value, pointer = operation.operands
    kind = operation.operand_types[0]
    length = kind.length if kind.kind == "array" else None
    aggregate = kind.is_aggregate
    source = compiler.source(operation)

    def store(frame: list[Any]) -> None:
        try:
            cells, offset = frame[pointer]
            content = cell_of_value(kind, frame[value]) if aggregate else frame[value]
            if offset < 0:
                raise _out_of_range(source, frame[pointer])
            if length is None:
                cells[offset] = content
            else:
                cells[offset : offset + length] = content
        except IndexError:
            raise _out_of_range(source, frame[pointer]) from None
        except (MeasurementDependenceError, TypeError):
            _unknown_or_raise(frame[pointer])
            if frame[pointer] is UNKNOWN:
                frame[0].forget_memory(source)
            forget(frame[pointer])

    return store


def _indices(operation: Operation) -> list[tuple[bool, int]]:
    """Return for each index whether it is a slot, and the slot or the index."""
    dynamic = iter(operation.operands[1:])
    constant = operation.attributes["rawConstantIndices"]
    return [
        (True, next(dynamic)) if index == DYNAMIC_INDEX else (False, index) for index in constant
    ]


def _member(kind: Type, index: tuple[bool, int]) -> Type:
    return kind.parts[index[1]] if kind.kind == "struct" else kind.element


def _compute_ptr(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), base = operation.results, operation.operands[0]
    kind = operation.operand_types[0].element
    first, *rest = _indices(operation)
    if kind.kind == "array" and not rest and kind.element.kind != "array":
        return _element_ptr(base, first, result)
    if kind.kind not in ("array", "struct"):
        raise compiler.unsupported(operation, f"a pointer into a value of type {kind.kind}")
    path = [first, *rest]

    def walk(frame: list[Any]) -> None:
        try:
            frame[result] = follow(frame)
        except MeasurementDependenceError:
            frame[result] = UNKNOWN

    def follow(frame: list[Any]) -> Any:
        if frame[base] is UNKNOWN:
            return UNKNOWN
        cells, offset = frame[base]
        current = kind
        for is_slot, index in path:
            number = frame[index] if is_slot else index
            if current.kind == "struct":
                cells, offset = cells[offset], number
            else:
                offset = offset + number
            current = _member(current, (is_slot, index))
            if current.kind == "array":
                cells, offset = cells[offset], 0
        return cells, offset

    return walk


def _element_ptr(base: int, index: tuple[bool, int], result: int) -> Step:
    is_slot, position = index

    def at_slot(frame: list[Any]) -> None:
        pointer = frame[base]
        if pointer is UNKNOWN:
            frame[result] = UNKNOWN
        else:
            frame[result] = (pointer[0], pointer[1] + frame[position])

    def at_constant(frame: list[Any]) -> None:
        pointer = frame[base]
        if pointer is UNKNOWN:
            frame[result] = UNKNOWN
        else:
            frame[result] = (pointer[0], pointer[1] + position)

    return at_slot if is_slot else at_constant


def _extract_value(compiler: FunctionCompiler, operation: Operation) -> Step:
    del compiler
    (result,), base = operation.results, operation.operands[0]
    path = _indices(operation)

    def extract(frame: list[Any]) -> None:
        value = frame[base]
        for is_slot, index in path:
            if value is UNKNOWN:
                break
            try:
                value = value[frame[index] if is_slot else index]
            except MeasurementDependenceError:
                value = UNKNOWN
        frame[result] = value

    return extract


def _insert_value(compiler: FunctionCompiler, operation: Operation) -> Step:
    del compiler
    (result,), (container, value) = operation.results, operation.operands
    position = operation.attributes["position"]

    def replaced(whole: Any, path: tuple[int, ...], part: Any) -> Any:
        if not path:
            return part
        index = path[0]
        return (*whole[:index], replaced(whole[index], path[1:], part), *whole[index + 1 :])

    def insert(frame: list[Any]) -> None:
        whole = frame[container]
        frame[result] = UNKNOWN if whole is UNKNOWN else replaced(whole, position, frame[value])

    return insert


def _sequence_init(compiler: FunctionCompiler, operation: Operation) -> Step:
    del compiler
    (result,), pointer = operation.results, operation.operands[0]
    fixed = operation.operand_types[0].element.length
    length = operation.operands[1] if len(operation.operands) > 1 else None

    def init(frame: list[Any]) -> None:
        buffer = frame[pointer]
        count = fixed if length is None else frame[length]
        frame[result] = UNKNOWN if buffer is UNKNOWN else (buffer[0], buffer[1], count)

    return init


def _sequence_data(compiler: FunctionCompiler, operation: Operation) -> Step:
    del compiler
    (result,), (sequence,) = operation.results, operation.operands

    def data(frame: list[Any]) -> None:
        span = frame[sequence]
        frame[result] = UNKNOWN if span is UNKNOWN else span[:2]

    return data


def _sequence_size(compiler: FunctionCompiler, operation: Operation) -> Step:
    del compiler
    (result,), (sequence,) = operation.results, operation.operands

    def size(frame: list[Any]) -> None:
        span = frame[sequence]
        frame[result] = UNKNOWN if span is UNKNOWN else span[2]

    return size


def _address_of(compiler: FunctionCompiler, operation: Operation) -> None:
    symbol = operation.attributes["global_name"]
    if symbol not in compiler.form.constants:
        raise compiler.unsupported(operation, f"the global variable {symbol}")
    compiler.constants[operation.results[0]] = (compiler.form.constants[symbol], 0)


def _string_literal(compiler: FunctionCompiler, operation: Operation) -> None:
    text = operation.attributes["stringLiteral"]
    compiler.constants[operation.results[0]] = ([*map(ord, text), 0], 0)


def _const_array(compiler: FunctionCompiler, operation: Operation) -> None:
    compiler.constants[operation.results[0]] = tuple(operation.attributes["constantValues"])


def _undefined(compiler: FunctionCompiler, operation: Operation) -> None:
    compiler.constants[operation.results[0]] = undefined_value(operation.result_types[0])


def _sizeof(compiler: FunctionCompiler, operation: Operation) -> None:
    kind = compiler.type_attribute(operation, "inputType")
    compiler.constants[operation.results[0]] = kind.n_bytes


def _array_depth_first(kind: Type) -> Type:
    return kind.element if kind.kind == "array" else kind


def _pointer_cast(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), (operand,) = operation.results, operation.operands
    source = _array_depth_first(operation.operand_types[0].element)
    target = _array_depth_first(operation.result_types[0].element)
    into_struct = source.kind == "struct" and target == source.parts[0]
    raw_bytes = target.kind == "int" and target.bits == 8 and source.n_bytes > 1
    if source.kind == "struct" and target.kind not in ("struct", "int") and not into_struct:
        raise compiler.unsupported(operation, "a cast between unrelated pointers")
    size = source.n_bytes

    def cast(frame: list[Any]) -> None:
        pointer = frame[operand]
        if pointer is UNKNOWN:
            frame[result] = UNKNOWN
        elif into_struct:
            frame[result] = (pointer[0][pointer[1]], 0)
        elif raw_bytes:
            frame[result] = (pointer[0], pointer[1], size)
        else:
            frame[result] = pointer[:2]

    return cast


def _cast(compiler: FunctionCompiler, operation: Operation) -> Step:
    source, target = operation.operand_types[0], operation.result_types[0]
    if source.kind == target.kind == "ptr":
        return _pointer_cast(compiler, operation)
    if source == target or source.kind == target.kind == "sequence":
        return compiler.function_step(operation, lambda value: value)
    convert = conversion(source, target, signed="sint" in operation.attributes)
    if convert is None:
        raise compiler.unsupported(operation, f"a cast from {source.kind} to {target.kind}")
    limit = rounder(target)
    if limit is None:
        return compiler.function_step(operation, convert)
    return compiler.function_step(operation, lambda value: limit(convert(value)))


STEPS: Final[Mapping[str, Callable[[FunctionCompiler, Operation], Step | None]]] = {
    "cc.address_of": _address_of,
    "cc.alloca": _alloca,
    "cc.cast": _cast,
    "cc.compute_ptr": _compute_ptr,
    "cc.const_array": _const_array,
    "cc.extract_value": _extract_value,
    "cc.insert_value": _insert_value,
    "cc.load": _load,
    "cc.poison": _undefined,
    "cc.sequence_data": _sequence_data,
    "cc.sequence_init": _sequence_init,
    "cc.sequence_size": _sequence_size,
    "cc.sizeof": _sizeof,
    "cc.store": _store,
    "cc.string_literal": _string_literal,
    "cc.undef": _undefined,
}
"""Builders of steps for the memory operations of the cc dialect."""
