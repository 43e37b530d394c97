"""From CUDA-Q's MLIR to plain Python data (`interpret.form`).

The raw module of a kernel is read as the compiler front end leaves it: loops, conditionals and
calls are still there. CUDA-Q's own pass pipeline is not used, because it aborts the process on
some kernels (one that is used both adjoint and controlled).
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.interpret.form import FIRST_SLOT, Block, Function, KernelForm, Operation, Region
from cudaq_target.interpret.types import Type, parse_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cudaq_target.quake.lines import LineFinder

PREFIX: Final = "__nvqpp__mlirgen__"
"""What CUDA-Q puts before the name of every kernel."""

_UNIQUE: Final = re.compile(r"\.\.0x[0-9a-f]+")
_DENSE: Final = re.compile(r"dense<(.*)> : tensor<(?:(\d+)x)?([^<>]*(?:<[^>]*>)?)>", re.DOTALL)
_NUMBER: Final = re.compile(r"[-+]?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|inf|nan)")
_GROUPED: Final = "operandSegmentSizes"
_OF_STATES: Final = ("quake.create_state", "quake.init_state")


def user_name(symbol: str) -> str:
    """Return the name that the user gave to a kernel.

    >>> user_name("__nvqpp__mlirgen__ghz..0x7f781203e850")
    'ghz'
    """
    name = _UNIQUE.sub("", symbol.removeprefix(PREFIX))
    return "kernel" if name.startswith("PythonKernelBuilderInstance") else name


def _attribute_readers() -> Mapping[str, Callable[[Any], Any]]:
    def value(attribute: Any) -> Any:
        return attribute.value

    return {
        "IntegerAttr": value,
        "FloatAttr": value,
        "BoolAttr": value,
        "StringAttr": value,
        "FlatSymbolRefAttr": value,
        "UnitAttr": lambda _: True,
        "TypeAttr": lambda attribute: str(attribute.value),
        "DenseI32ArrayAttr": tuple,
        "DenseI64ArrayAttr": tuple,
        "DenseBoolArrayAttr": tuple,
        "ArrayAttr": lambda attribute: tuple(getattr(item, "value", None) for item in attribute),
        "SymbolRefAttr": lambda attribute: str(attribute).removeprefix("@"),
    }


_ATTRIBUTES: Final = _attribute_readers()


def _read_attributes(operation: Any) -> dict[str, Any]:
    attributes = {}
    for name, attribute in operation.attributes.items():
        reader = _ATTRIBUTES.get(type(attribute).__name__)
        if reader is not None:
            attributes[name] = reader(attribute)
    return attributes


def _read_float(text: str) -> float:
    """Read a printed float; MLIR prints infinities and NaN by their bits."""
    if not text.startswith("0x"):
        return float(text)
    raw = bytes.fromhex(text[2:])
    value: float = struct.unpack({8: ">d", 4: ">f"}[len(raw)], raw)[0]
    return value


def _read_dense(text: str) -> list[Any]:
    """Read the numbers of a printed `dense<...>` constant; complex ones come in pairs."""
    match = _DENSE.search(text)
    if match is None:
        raise ValueError(f"no constant array in {text[:80]!r}")
    content, count, element = match[1], int(match[2] or 1), match[3]
    kind = parse_type(element)
    scalar = kind.element if kind.kind == "complex" else kind
    if content.startswith('"0x'):
        code = {("float", 64): "d", ("float", 32): "f"}.get((scalar.kind, scalar.bits), "q")
        raw = bytes.fromhex(content.strip('"')[2:])
        numbers: list[Any] = list(struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw))
    else:
        convert = _read_float if scalar.kind == "float" else int
        numbers = [convert(number) for number in _NUMBER.findall(content)]
    if kind.kind == "complex":
        numbers = [complex(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    return numbers if len(numbers) == count else numbers * count


class _FunctionReader:
    """Numbers the values of one function while reading it."""

    def __init__(self, lines: LineFinder | None) -> None:
        self.slots: dict[Any, int] = {}
        self.next_slot = FIRST_SLOT
        self.lines = lines

    def define(self, values: Any) -> tuple[int, ...]:
        """Give slots to new values."""
        slots = []
        for value in values:
            self.slots[value] = self.next_slot
            slots.append(self.next_slot)
            self.next_slot += 1
        return tuple(slots)

    def region(self, region: Any) -> Region:
        """Read the blocks of a region in program order."""
        blocks = list(region.blocks)
        # A block may use values of any block that dominates it, wherever that is printed.
        arguments = [self.define(block.arguments) for block in blocks]
        read = [
            _with_lines_of_states([self.operation(op, blocks) for op in block.operations])
            for block in blocks
        ]
        return Region(tuple(map(Block, arguments, read)))

    def operation(self, view: Any, blocks: list[Any]) -> Operation:
        """Read one operation and everything nested in it."""
        operation = view.operation
        name = operation.name
        operands = list(operation.operands)
        attributes = _read_attributes(operation)
        line = self.lines.line_of(name) if self.lines else None
        read = tuple(self.slots[value] for value in operands)
        regions = tuple(self.region(region) for region in operation.regions)
        results = list(operation.results)
        successors = operation.successors if name.startswith("cf.") else ()
        return Operation(
            name=name,
            operands=read,
            results=self.define(results),
            operand_types=tuple(parse_type(str(value.type)) for value in operands),
            result_types=tuple(parse_type(str(value.type)) for value in results),
            attributes=attributes,
            segments=attributes.pop(_GROUPED, ()),
            regions=regions,
            successors=tuple(blocks.index(block) for block in successors),
            line=line,
        )


def _with_lines_of_states(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Give the operations that one `cudaq.qvector(state)` becomes the line of its allocation."""
    lines = {each.results[0]: each.line for each in operations if each.name == "quake.alloca"}
    for each in operations:
        if each.name == "quake.init_state":
            register, state = each.operands
            lines[state] = lines[each.results[0]] = lines.get(register)
    return tuple(
        replace(each, line=lines.get(each.results[0])) if each.name in _OF_STATES else each
        for each in operations
    )


def _signature(text: str) -> tuple[tuple[Type, ...], tuple[Type, ...]]:
    function = parse_type(text)
    n_arguments = function.length or 0
    return function.parts[:n_arguments], function.parts[n_arguments:]


def _read_function(
    view: Any, attributes: Mapping[str, Any], finders: Mapping[str, LineFinder]
) -> Function:
    symbol = attributes["sym_name"]
    kernel = user_name(symbol)
    lines = finders.get(kernel)
    reader = _FunctionReader(lines)
    if lines:
        lines.start(str(view))
    body = view.operation.regions[0]
    region = reader.region(body) if len(body.blocks) else None
    arguments, results = _signature(attributes["function_type"])
    return Function(
        symbol=symbol,
        kernel=kernel,
        file=lines.file if lines else None,
        argument_types=arguments,
        result_types=results,
        n_slots=reader.next_slot,
        body=region,
    )


def read_module(
    mlir_module: Any,
    entry: str,
    *,
    finders: Mapping[str, LineFinder] | None = None,
    result_class: type | None = None,
) -> KernelForm:
    """Read a module of CUDA-Q.

    Args:
        mlir_module: Module of the MLIR bindings.
        entry: Symbol of the function to start with, with or without CUDA-Q's prefix.
        finders: For a user's kernel name, what finds the lines of its operations.
        result_class: Python class of a returned struct.

    Returns:
        The module as plain data.

    Raises:
        KeyError: The module has no function of that name.
    """
    functions: dict[str, Function] = {}
    constants: dict[str, list[Any]] = {}
    for view in mlir_module.body.operations:
        name = view.operation.name
        if name == "func.func":
            attributes = _read_attributes(view.operation)
            # Copies made for `cudaq.run` and its marshalling say nothing new.
            if attributes["sym_name"].endswith((".run", ".run.entry", ".ruined")):
                continue
            function = _read_function(view, attributes, finders or {})
            functions[function.symbol] = function
        elif name == "cc.global":
            symbol = view.operation.attributes["sym_name"].value
            text = str(view.operation)
            if "dense<" in text:
                constants[symbol] = _read_dense(text)
    symbol = entry if entry in functions else PREFIX + entry
    return KernelForm(user_name(symbol), symbol, functions, constants, result_class)
