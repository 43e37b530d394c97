"""Strict reading of what clients send: unknown fields and wrong types are refused, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cudaq_target.fakes.service import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = {str: "string", int: "integer", bool: "boolean", list: "list", dict: "object"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a JSON object.

    Attributes:
        kind: Type of its value.
        required: It must be there.
        nullable: It may be null.
        of: Type of the entries of a list, or None for any.
        least: Smallest integer, or None.
    """

    kind: type
    required: bool = False
    nullable: bool = False
    of: type | None = None
    least: int | None = None


def fields(content: object, known: Mapping[str, Field], where: str = "body") -> dict[str, Any]:
    """Check an object.

    Args:
        content: What was sent.
        known: The fields that it may have.
        where: What to call it in the error.

    Returns:
        The object, with None for fields that are not there.

    Raises:
        Refusal: 422, with all that is wrong.
    """
    if not isinstance(content, dict):
        raise Refusal(422, f"{where}: Input should be an object")
    wrong = [f"{where}.{name}: Extra inputs are not permitted" for name in content.keys() - known]
    for name, field in known.items():
        if name not in content:
            if field.required:
                wrong.append(f"{where}.{name}: Field required")
        elif (problem := _problem(content[name], field)) is not None:
            wrong.append(f"{where}.{name}: {problem}")
    if wrong:
        raise Refusal(422, "; ".join(sorted(wrong)))
    return {name: content.get(name) for name in known}


def form(values: Mapping[str, list[str]], name: str) -> str | None:
    """Return the only value of a form field or query parameter, None where it is not given.

    Raises:
        Refusal: 422, it is given twice.
    """
    found = values.get(name, [])
    if len(found) > 1:
        raise Refusal(422, f"{name}: given {len(found)} times")
    return found[0] if found else None


def integer(values: Mapping[str, list[str]], name: str, default: int, least: int, most: int) -> int:
    """Return a whole number of a query.

    Raises:
        Refusal: 422, it is none, or out of range.
    """
    text = form(values, name)
    if text is None:
        return default
    if not text.isdigit() or not least <= int(text) <= most:
        raise Refusal(422, f"query.{name}: Input should be an integer from {least} to {most}")
    return int(text)


def only(values: Mapping[str, list[str]], known: frozenset[str]) -> None:
    """Refuse query parameters that nobody knows.

    Raises:
        Refusal: 422.
    """
    unknown = sorted(values.keys() - known)
    if unknown:
        raise Refusal(422, f"query.{unknown[0]}: Extra inputs are not permitted")


def _problem(value: object, field: Field) -> str | None:
    if value is None:
        return None if field.nullable else f"Input should be a valid {_WORDS[field.kind]}"
    if not _is(value, field.kind):
        return f"Input should be a valid {_WORDS[field.kind]}"
    if isinstance(value, list) and field.of is not None:
        for k, entry in enumerate(value):
            if not _is(entry, field.of):
                return f"{k}: Input should be a valid {_WORDS[field.of]}"
    if field.least is not None and isinstance(value, int) and value < field.least:
        return f"Input should be greater than or equal to {field.least}"
    return None


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
