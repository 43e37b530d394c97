"""Which fields an event has, and of which kind: what is read is checked before it is used."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from cudaq_target.coupler.loops.events import BATCH, END, FAULT, START, STEP

Check = Callable[[Any], bool]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _maybe(value: object) -> bool:
    return value is None or _number(value)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _text(value: object) -> bool:
    return isinstance(value, str)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _any(_: object) -> bool:
    return True


def _pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value))


def _bin(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_count, value))


def _machine(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    names = ("shots_per_s", "cadence_hz", "deadline_ns")
    return all(_maybe(value.get(name)) for name in names)


def _estimate(value: object) -> bool:
    return isinstance(value, dict) and not _wrong(value, _ESTIMATE)


_ESTIMATE: Final[dict[str, Check]] = {
    **dict.fromkeys(("value", "standard_error", "low", "high", "confidence"), _maybe),
    "n_shots": _count,
    "n_shots_by_setting": _list_of(_count),
}
_SHOTS: Final[dict[str, Check]] = dict.fromkeys(("n_measured", "n_used", "n_saved"), _count)
_NEEDED: Final[dict[str, dict[str, Check]]] = {
    START: {
        "loop": _text,
        "unit": _text,
        "policy": _text,
        "reference": _maybe,
        "machine": _machine,
    },
    BATCH: {"step": _count, "n_shots": _count, "estimate": _estimate, "rtt_ns": _count},
    STEP: {"step": _count, "point": _list_of(_number), "estimate": _estimate, **_SHOTS},
    FAULT: {"error": _text, "text": _text, "recovered": _flag},
    END: {
        "status": _text,
        "estimate": lambda value: value is None or _estimate(value),
        "rtt_ns": _dict_of(_maybe),
        **_SHOTS,
    },
}
_OPTIONAL: Final[dict[str, dict[str, Check]]] = {
    START: {
        "parameters": _list_of(_text),
        "settings": _list_of(_text),
        "baseline_shots": lambda value: value is None or _count(value),
        "versions": _dict_of(_text),
        "command": _text,
        "seed": _any,
    },
    BATCH: {"queued": _count, "decision": _text, "deadline_misses": _count},
    STEP: {"known": _dict_of(_pair)},
    FAULT: {},
    END: {
        "rtt_histogram": _list_of(_bin),
        "counters": _dict_of(_number),
        "deadline_misses": _count,
        "n_discarded": _count,
        "n_lost": _count,
    },
}


def wrong_field(event: object) -> str:
    """Say what is wrong with an event; empty where nothing is.

    Kinds that this version does not know are let through.

    >>> wrong_field({"event": "fault", "t": 1.0, "error": "E", "text": "", "recovered": 1})
    "is an event 'fault' whose field 'recovered' is missing or of another kind"
    """
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "is no event"
    kind = event["event"]
    needed = {"t": _time, **_NEEDED.get(kind, {})}
    given = {name: check for name, check in _OPTIONAL.get(kind, {}).items() if name in event}
    wrong = _wrong(event, needed | given)
    return (
        f"is an event {kind!r} whose field {wrong!r} is missing or of another kind" if wrong else ""
    )


def _time(value: object) -> bool:
    """Seconds since the epoch that a calendar has a date for."""
    return _number(value) and isinstance(value, int | float) and 0 <= value < 2.5e11


def _wrong(fields: dict[str, Any], checks: dict[str, Check]) -> str:
    return next(
        (name for name, check in checks.items() if name not in fields or not check(fields[name])),
        "",
    )
