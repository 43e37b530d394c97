"""What QRMI's exceptions mean: almost all of them are of one class, and differ in their text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cudaq_target.cloud.credentials import scrubbed

if TYPE_CHECKING:
    from collections.abc import Iterable

FailureKind: TypeAlias = Literal[
    "status",  # the service answered with an HTTP error
    "network",  # no connection, or it was lost
    "silence",  # no answer in time
    "garbage",  # an answer that is none
    "state",  # a state of a job that QRMI has no word for
    "no result",  # a job that has none
    "login",  # the authentication service refuses, or there is nothing to log in with
    "munge",  # no MUNGE credential can be made here
    "setting",  # QRMI does not take a setting
    "other",
]
_HTTP: Final = re.compile(r"Status: (?P<status>\d{3})[^,]*, Fail (?P<body>.*)", re.DOTALL)
_TOKEN: Final = re.compile(r"Token request failed: (?P<status>\d{3})")
_STATE: Final = re.compile(r"unknown variant `(?P<state>\w+)`, expected one of `PENDING`")
_URL: Final = re.compile(r"for url \((?P<url>[^)]*)\)")
_LONGEST: Final = 300
# Answers that may be another one a little later.
_PASSING: Final = frozenset({408, 425, 429, *range(500, 600)})


class QrmiFailureError(Exception):
    """A call of QRMI that failed; never leaves `cloud.qrmi_link`.

    Attributes:
        kind: What happened.
        said: In the service's words or ours, without secrets.
        status: HTTP status, or 0.
        state: State of a job, for kind "state".
        url: Which address, for kind "network"; it may hold a password.
        waited_s: For how long the service was asked (s).
    """

    def __init__(
        self, kind: FailureKind, said: str, *, status: int = 0, state: str = "", url: str = ""
    ) -> None:
        super().__init__(said)
        self.kind, self.said, self.status, self.state, self.url = kind, said, status, state, url
        self.waited_s = 0.0

    @property
    def is_passing(self) -> bool:
        """Whether the same question may be answered a little later."""
        return self.kind in {"network", "silence", "garbage"} or self.status in _PASSING

    @property
    def reason(self) -> str:
        """What to tell the user."""
        return f"HTTP {self.status}: {self.said}" if self.status else self.said


def failure_of(error: BaseException, secrets: Iterable[str]) -> QrmiFailureError:
    """Say what an exception of QRMI means.

    Args:
        error: What a call raised; also a panic of QRMI's, which is no `Exception`.
        secrets: What must not be shown.
    """
    text = str(error)
    known = _answered(text, tuple(secrets)) or _unanswered(text)
    if known is not None:
        return known
    name = type(error).__name__
    kind: FailureKind = "setting" if name in _SETTING_ERRORS else "other"
    said = scrubbed(text, secrets)[:_LONGEST]
    return QrmiFailureError(kind, f"QRMI: {said}" if said else f"QRMI: {name}")


# QRMI's words, and what they mean.
_WORDS: Final[tuple[tuple[re.Pattern[str], FailureKind, str], ...]] = (
    (re.compile("error sending request"), "network", "no connection, or it was lost"),
    (re.compile("failed to get device"), "network", "no connection, or no answer of the cloud"),
    (
        re.compile(r"error decoding response body|at line \d+ column \d+"),
        "garbage",
        "the answer is none of the service, or broke off",
    ),
    (
        re.compile("refresh credentials are not configured"),
        "login",
        "the token has expired, and nothing gets another one",
    ),
    (re.compile("munge", re.IGNORECASE), "munge", "no MUNGE credential can be made here"),
    (re.compile("builder error"), "setting", "the address of the service is none"),
)
_SETTING_ERRORS: Final = frozenset({"ConfigError", "EnvVarNotSetError", "InvalidInputError"})


def _answered(text: str, secrets: tuple[str, ...]) -> QrmiFailureError | None:
    """What a service said."""
    found = _HTTP.search(text)
    if found is not None:
        said = scrubbed(_described(found["body"]), secrets)[:_LONGEST]
        return QrmiFailureError("status", said, status=int(found["status"]))
    found = _TOKEN.search(text)
    if found is not None:
        return QrmiFailureError(
            "login", "the authentication service refuses", status=int(found["status"])
        )
    found = _STATE.search(text)
    if found is not None:
        state = found["state"]
        return QrmiFailureError("state", f"QRMI has no word for state {state}", state=state)
    if "No results found" in text or "results not available" in text:
        return QrmiFailureError("no result", "it has no result")
    return None


def _unanswered(text: str) -> QrmiFailureError | None:
    """What did not come as far as an answer."""
    known = next((row for row in _WORDS if row[0].search(text)), None)
    if known is None:
        return None
    _, kind, said = known
    found = _URL.search(text)
    return QrmiFailureError(kind, said, url="" if found is None else found["url"])


def _described(body: str) -> str:
    """Return the words of an error of Warden (`detail`) or of the cloud (`data.description`)."""
    try:
        content = json.loads(body)
    except ValueError:
        return "no reason given"
    if not isinstance(content, dict):
        return "no reason given"
    data = content.get("data")
    said = data.get("description") if isinstance(data, dict) else None
    said = said or content.get("detail") or content.get("message") or "no reason given"
    if isinstance(said, list):  # fields that were refused
        said = "; ".join(str(entry.get("msg", entry)) for entry in said if isinstance(entry, dict))
    return str(said)
