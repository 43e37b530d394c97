"""Reads the YAML files that configure decoders of CUDA-Q QEC.

Only what those files use is read: nested mappings, lists in brackets, numbers and words. Anything
else is refused with its line, so that no setting is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cudaq_target.coupler.errors import DecoderConfigError
from cudaq_target.kernels.lut_decoder import LookupDecoder, dense_rows, lookup_decoder

Value = int | float | str | list[int] | dict[str, "Value"]
_KEY: Final = re.compile(r"(\s*)(-\s+)?([A-Za-z_]\w*)\s*:\s*(.*)")
_SCALARS: Final = ("id", "type", "block_size", "syndrome_size")
_MATRICES: Final = ("H_sparse", "O_sparse", "D_sparse")
_ARGUMENTS: Final = "decoder_custom_args"


def read_decoders(text: str) -> list[LookupDecoder]:
    """Build the decoders of a configuration.

    Args:
        text: A file as `multi_decoder_config.to_yaml_str()` of cudaq-qec writes it, with decoders
            of the types `single_error_lut` and `multi_error_lut`.

    Returns:
        The decoders, in the order of their ids.

    Raises:
        DecoderConfigError: Something is missing, contradictory or not understood.
    """
    entries = _read_entries(text)
    decoders: dict[int, LookupDecoder] = {}
    for line, entry in entries:
        number = entry.get("id")
        if not isinstance(number, int) or number in decoders:
            raise DecoderConfigError(line, "each decoder needs an id of its own")
        decoders[number] = _build(line, entry)
    if sorted(decoders) != list(range(len(decoders))) or not decoders:
        raise DecoderConfigError(1, f"ids {sorted(decoders)} do not count up from 0")
    return [decoders[number] for number in sorted(decoders)]


def _build(line: int, entry: dict[str, Value]) -> LookupDecoder:
    for key in entry:
        if key not in {*_SCALARS, *_MATRICES, _ARGUMENTS}:
            raise DecoderConfigError(line, f"{key} has no meaning here")
    kind = entry.get("type")
    arguments = entry.get(_ARGUMENTS, {})
    if kind not in {"single_error_lut", "multi_error_lut"}:
        reason = f"type {kind} is not built in; single_error_lut and multi_error_lut are"
        raise DecoderConfigError(line, reason)
    if not isinstance(arguments, dict) or set(arguments) - {"lut_error_depth"}:
        raise DecoderConfigError(line, f"{_ARGUMENTS} may hold lut_error_depth, nothing else")
    n_errors, n_detectors, depth = (
        _count(line, key, value)
        for key, value in (
            ("block_size", entry.get("block_size")),
            ("syndrome_size", entry.get("syndrome_size")),
            ("lut_error_depth", arguments.get("lut_error_depth", 1)),
        )
    )
    checks, observables, detectors = (_matrix(line, key, entry.get(key)) for key in _MATRICES)
    try:
        n_rows = len(dense_rows(checks, n_errors))
        decoder = lookup_decoder(checks, observables, detectors, n_errors, depth)
    except ValueError as error:
        raise DecoderConfigError(line, str(error)) from error
    if n_rows != n_detectors or len(decoder.detector_rows) != n_detectors:
        reason = (
            f"H has {n_rows} rows and D has {len(decoder.detector_rows)}; "
            f"syndrome_size is {n_detectors}"
        )
        raise DecoderConfigError(line, reason)
    return decoder


def _count(line: int, key: str, value: Value | None) -> int:
    if not isinstance(value, int) or value < 1:
        raise DecoderConfigError(line, f"{key} must be a whole number of at least 1")
    return value


def _matrix(line: int, key: str, value: Value | None) -> Sequence[int]:
    if not isinstance(value, list):
        raise DecoderConfigError(line, f"{key} must be a list of indices with -1 after each row")
    return value


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
        if not all(re.fullmatch(r"\s*-?\d+\s*", word) for word in words):
            raise DecoderConfigError(line, "a list may hold whole numbers only")
        return [int(word) for word in words]
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"\w+", text):
        return text
    raise DecoderConfigError(line, f"value {text[:40]!r} is not understood")
