"""Reads the YAML files that configure decoders of CUDA-Q QEC.

Only what those files use is read: nested mappings, lists in brackets, numbers and words. Anything
else is refused with its line, so that no setting is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.errors import DecoderConfigError
from cudaq_target.kernels.decoders.graph import graph_from_checks
from cudaq_target.kernels.decoders.lookup import LookupDecoder, build_table
from cudaq_target.kernels.decoders.matching import PyMatchingDecoder
from cudaq_target.kernels.decoders.measured import MeasurementDecoder
from cudaq_target.kernels.decoders.sparse import dense_rows
from cudaq_target.kernels.decoders.union_find import UnionFindDecoder
from cudaq_target.kernels.errors import KernelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.kernels.decoders.interface import Decoder

Value = int | float | str | list[int] | list[float] | dict[str, "Value"]
_KEY: Final = re.compile(r"(\s*)(-\s+)?([A-Za-z_]\w*)\s*:\s*(.*)")
_REAL: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SCALARS: Final = ("id", "type", "block_size", "syndrome_size")
_MATRICES: Final = ("H_sparse", "O_sparse", "D_sparse")
_ARGUMENTS: Final = "decoder_custom_args"
_LOOK_UPS: Final = ("single_error_lut", "multi_error_lut")
_GRAPHS: Final = ("union_find", "pymatching")


def read_decoders(text: str) -> list[MeasurementDecoder]:
    """Build the decoders of a configuration.

    Args:
        text: A file as `multi_decoder_config.to_yaml_str()` of cudaq-qec writes it, with decoders
            of the types `single_error_lut` and `multi_error_lut` (argument `lut_error_depth`),
            `pymatching` and, beyond cudaq-qec, `union_find` (argument `error_rate_vec`, the
            probability of each error).

    Returns:
        The decoders, in the order of their ids.

    Raises:
        DecoderConfigError: Something is missing, contradictory or not understood, or a package is
            not installed.
    """
    entries = _read_entries(text)
    decoders: dict[int, MeasurementDecoder] = {}
    for line, entry in entries:
        number = entry.get("id")
        if not isinstance(number, int) or number in decoders:
            raise DecoderConfigError(line, "each decoder needs an id of its own")
        decoders[number] = _build(line, entry)
    if sorted(decoders) != list(range(len(decoders))) or not decoders:
        raise DecoderConfigError(1, f"ids {sorted(decoders)} do not count up from 0")
    return [decoders[number] for number in sorted(decoders)]


def _build(line: int, entry: dict[str, Value]) -> MeasurementDecoder:
    for key in entry:
        if key not in {*_SCALARS, *_MATRICES, _ARGUMENTS}:
            raise DecoderConfigError(line, f"{key} has no meaning here")
    kind = entry.get("type")
    if kind not in {*_LOOK_UPS, *_GRAPHS}:
        known = ", ".join((*_LOOK_UPS, *_GRAPHS))
        raise DecoderConfigError(line, f"type {kind} is not built in; {known} are")
    n_errors, n_detectors = (
        _count(line, key, entry.get(key)) for key in ("block_size", "syndrome_size")
    )
    checks, observables, detectors = (_matrix(line, key, entry.get(key)) for key in _MATRICES)
    try:
        rows = dense_rows(checks, n_errors)
        measured = dense_rows(detectors, max([0, *detectors]) + 1)
        if not len(rows) == len(measured) == n_detectors:
            reason = (
                f"H has {len(rows)} rows and D has {len(measured)}; syndrome_size is {n_detectors}"
            )
            raise DecoderConfigError(line, reason)
        decoder = _decoder(line, entry, rows, dense_rows(observables, n_errors))
        return MeasurementDecoder(measured, decoder)
    except KernelError as error:
        raise DecoderConfigError(line, str(error)) from error


def _decoder(
    line: int, entry: dict[str, Value], checks: NDArray[np.uint8], observables: NDArray[np.uint8]
) -> Decoder:
    kind = entry["type"]
    allowed = "lut_error_depth" if kind in _LOOK_UPS else "error_rate_vec"
    arguments = entry.get(_ARGUMENTS, {})
    if not isinstance(arguments, dict) or set(arguments) - {allowed}:
        raise DecoderConfigError(line, f"{_ARGUMENTS} may hold {allowed}, nothing else")
    if kind in _LOOK_UPS:
        depth = _count(line, allowed, arguments.get(allowed, 1))
        return LookupDecoder(build_table(checks, observables, depth))
    rates = arguments.get(allowed)
    if not isinstance(rates, list):
        reason = f"{kind} needs {allowed}, a list with the probability of each error"
        raise DecoderConfigError(line, reason)
    graph = graph_from_checks(checks, observables, np.array(rates, dtype=np.float64))
    return UnionFindDecoder(graph) if kind == "union_find" else PyMatchingDecoder(graph)


def _count(line: int, key: str, value: Value | None) -> int:
    if not isinstance(value, int) or value < 1:
        raise DecoderConfigError(line, f"{key} must be a whole number of at least 1")
    return value


def _matrix(line: int, key: str, value: Value | None) -> Sequence[int]:
    if not isinstance(value, list):
        raise DecoderConfigError(line, f"{key} must be a list of indices with -1 after each row")
    if not all(isinstance(index, int) for index in value):
        raise DecoderConfigError(line, f"{key} may hold whole numbers only")
    return [int(index) for index in value]


def _read_entries(text: str) -> list[tuple[int, dict[str, Value]]]:
    """The mappings under `decoders:`, each with the line where it begins."""
    entries: list[tuple[int, dict[str, Value]]] = []
    nested: tuple[int, dict[str, Value]] | None = None
    is_open = False
    for line, words in _logical_lines(text):
        found = _KEY.fullmatch(words)
        if found is None:
            raise DecoderConfigError(line, f"{words.strip()[:40]!r} is no 'key: value'")
        indent, dash, key, value = found.groups()
        if not is_open:
            if key != "decoders" or value or indent or dash:
                raise DecoderConfigError(line, "the file must begin with 'decoders:'")
            is_open = True
            continue
        if dash:
            entries.append((line, {}))
            nested = None
        if not entries:
            raise DecoderConfigError(line, "each decoder begins with '- '")
        if nested is not None and len(indent) <= nested[0]:
            nested = None
        place = entries[-1][1] if nested is None else nested[1]
        if key in place:
            raise DecoderConfigError(line, f"{key} is given twice")
        if value:
            place[key] = _read_value(line, value)
        else:
            inner: dict[str, Value] = {}
            place[key] = inner
            nested = (len(indent), inner)
    return [(line, entry) for line, entry in entries]


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines without comments and marks, with lists that span several joined."""
    lines: list[tuple[int, str]] = []
    is_inside = False
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.partition("#")[0].rstrip()
        if is_inside:
            begun, before = lines[-1]
            lines[-1] = (begun, f"{before} {words.strip()}")
        elif words and words not in {"---", "..."}:
            lines.append((number, words))
        else:
            continue
        joined = lines[-1][1]
        is_inside = joined.count("[") > joined.count("]")
    return lines


def _read_value(line: int, text: str) -> Value:
    if text.startswith("[") and text.endswith("]"):
        words = text[1:-1].split(",") if text[1:-1].strip() else []
        if all(re.fullmatch(r"\s*-?\d+\s*", word) for word in words):
            return [int(word) for word in words]
        if not all(_REAL.fullmatch(word.strip()) for word in words):
            raise DecoderConfigError(line, "a list may hold numbers only")
        return [float(word) for word in words]
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"\w+", text):
        return text
    raise DecoderConfigError(line, f"value {text[:40]!r} is not understood")
