"""Reads detector error models of Stim, without Stim.

The format: `error(p) D0 D1 ^ D2 L0`, where `^` separates the parts into which an error is taken
apart; `detector`, `logical_observable`, `shift_detectors` and `repeat` (Stim's document
`file_format_dem_detector_error_model`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cudaq_target.kernels.decoders.graph import DecodingGraph, GraphError, merged_graph
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_INSTRUCTIONS: Final = 10_000_000
"""Instructions of a model once its repetitions are written out."""

_INSTRUCTION: Final = re.compile(r"(\w+)(?:\[[^\]]*\])?(?:\(([^)]*)\))?((?:\s+[^\s{}]+)*)\s*(\{)?")
_NAMES: Final = ("error", "detector", "logical_observable", "shift_detectors", "repeat")


@dataclass(frozen=True, slots=True)
class _Instruction:
    line: int
    name: str
    arguments: str
    targets: tuple[str, ...]
    block: list[_Instruction] = field(default_factory=list)


@dataclass(slots=True)
class _Sizes:
    offset: int = 0
    n_detectors: int = 0
    n_observables: int = 0
    n_instructions: int = 0


def graph_from_dem(model: object) -> DecodingGraph:
    r"""Build the graph of a detector error model.

    Each part of an error becomes an edge of its own, with the probability of the whole.

    Args:
        model: Its text, or a `stim.DetectorErrorModel`.

    Returns:
        The graph.

    Raises:
        KernelInputError: A line is not understood, a probability is not in [0, 0.5), a part flips
            more than two detectors or none, or nothing can be seen or corrected.

    >>> graph_from_dem("error(0.1) D0 L0\nerror(0.2) D0 D1").ends.tolist()
    [[0, 1], [0, 2]]
    """
    if not isinstance(model, str) and type(model).__name__ != "DetectorErrorModel":
        found = f"is of type {type(model).__name__}"
        raise KernelInputError("model", found, "give its text or a stim.DetectorErrorModel")
    sizes = _Sizes()
    errors = list(_errors(_read(str(model)), sizes))
    if sizes.n_detectors == 0 or sizes.n_observables == 0:
        found = f"has {sizes.n_detectors} detectors and {sizes.n_observables} observables"
        raise KernelInputError("model", found, "a decoder needs one of each at least")
    return merged_graph(errors, sizes.n_detectors, sizes.n_observables)


def _wrong(line: int, found: str, expected: str) -> KernelInputError:
    return KernelInputError("model", f"line {line} {found}", expected)


def _read(text: str) -> list[_Instruction]:
    """Instructions of the outermost block, those within repetitions inside them."""
    blocks: list[list[_Instruction]] = [[]]
    for line, raw in enumerate(text.splitlines(), 1):
        words = raw.partition("#")[0].strip()
        if words == "}" and len(blocks) > 1:
            blocks.pop()
        elif words:
            found = _INSTRUCTION.fullmatch(words)
            name = found[1].lower() if found else ""
            if found is None or name not in _NAMES or (name == "repeat") != bool(found[4]):
                expected = "use the format of detector error models"
                raise _wrong(line, f"is {words[:40]!r}", expected)
            instruction = _Instruction(line, name, found[2] or "", tuple(found[3].split()))
            blocks[-1].append(instruction)
            if name == "repeat":
                blocks.append(instruction.block)
    if len(blocks) > 1:
        raise KernelInputError("model", "ends within a repetition", "end it with '}'")
    return blocks[0]


def _errors(block: Sequence[_Instruction], sizes: _Sizes) -> Iterator[GraphError]:
    for one in block:
        sizes.n_instructions += 1
        if sizes.n_instructions > MAX_INSTRUCTIONS:
            found = f"has more than {MAX_INSTRUCTIONS} instructions"
            raise KernelInputError("model", found, "repeat fewer rounds")
        if one.name == "repeat":
            for _ in range(_number(one)):
                yield from _errors(one.block, sizes)
        elif one.name == "shift_detectors":
            sizes.offset += _number(one)
        elif one.name == "error":
            yield from _parts(one, sizes)
        else:
            _flipped(one, one.targets, sizes)


def _number(one: _Instruction) -> int:
    if len(one.targets) != 1 or not re.fullmatch(r"\d{1,18}", one.targets[0]):
        raise _wrong(one.line, f"has targets {one.targets}", f"{one.name} takes one whole number")
    return int(one.targets[0])


def _flipped(
    one: _Instruction, targets: Sequence[str], sizes: _Sizes
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Detectors and observables that are named an odd number of times."""
    detectors: set[int] = set()
    observables: set[int] = set()
    for target in targets:
        if not re.fullmatch(r"[DL]\d{1,9}", target):
            raise _wrong(one.line, f"has target {target[:20]!r}", "use targets like D5 or L0")
        number = int(target[1:])
        if target[0] == "L":
            sizes.n_observables = max(sizes.n_observables, number + 1)
            observables ^= {number}
        else:
            number += sizes.offset
            sizes.n_detectors = max(sizes.n_detectors, number + 1)
            detectors ^= {number}
    return tuple(sorted(detectors)), tuple(sorted(observables))


def _parts(one: _Instruction, sizes: _Sizes) -> Iterator[GraphError]:
    try:
        rate = float(one.arguments)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate < 0.5:
        raise _wrong(one.line, f"has probability ({one.arguments})", "rates lie in [0, 0.5)")
    for part in " ".join(one.targets).split("^"):
        detectors, observables = _flipped(one, part.split(), sizes)
        if not detectors and not observables:
            if len(one.targets) > 0 and "^" in one.targets:
                raise _wrong(one.line, "has a part that flips nothing", "name a detector in it")
            continue  # an error without any effect
        if not detectors:
            expected = "an error that flips no detector is never seen"
            raise _wrong(one.line, "flips observables alone", expected)
        if len(detectors) > 2:
            expected = "let Stim take it apart: detector_error_model(decompose_errors=True)"
            raise _wrong(one.line, f"flips {len(detectors)} detectors at once", expected)
        if rate > 0.0:
            yield GraphError(detectors, observables, rate)
