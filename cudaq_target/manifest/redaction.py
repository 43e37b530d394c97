"""Takes secrets out of what is written: a manifest is made to be given to others."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN: Final = "***"
# Shorter values would be found in the middle of innocent words.
_MIN_LENGTH: Final = 6
_SECRET: Final = (
    r"(?:token|secret|passw(?:or)?d|passphrase|credential|api_?key|access_?key|private)"
)
_SECRET_NAME: Final = re.compile(_SECRET, re.IGNORECASE)
_SHAPES: Final = (
    # --password value
    (re.compile(rf"(?i)(--[\w-]*{_SECRET}[\w-]*\s+)(\S+)"), r"\1***"),
    # token=value, "secret": "value"
    (re.compile(rf"(?i)([\w-]*{_SECRET}[\w-]*['\"]?\s*[=:]\s*['\"]?)([^\s'\",;&]+)"), r"\1***"),
    # https://user:password@host
    (re.compile(r"(\w+://)[^\s/@]+@"), r"\1***@"),
    # A JSON web token, wherever it is.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), HIDDEN),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/-]{6,}=*"), r"\1***"),
)


def is_secret_name(name: str) -> bool:
    """Whether what has this name is not for others.

    >>> is_secret_name("PASQAL_AUTH_TOKEN"), is_secret_name("seed")
    (True, False)
    """
    return _SECRET_NAME.search(name) is not None


def without_secrets(content: Any, environ: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
    """Copy plain data, with secrets replaced.

    Hidden are values of names that sound secret, values of such environment variables wherever
    they appear, user names and passwords in addresses, and web tokens.

    Args:
        content: Dicts, lists, texts, numbers, None.
        environ: Environment variables; None for the process's own.

    >>> without_secrets({"seed": 1, "api_key": "k", "command": "run --token abc x"}, {})
    {'seed': 1, 'api_key': '***', 'command': 'run --token *** x'}
    """
    variables = os.environ if environ is None else environ
    known = {
        value
        for name, value in variables.items()
        if is_secret_name(name) and len(value) >= _MIN_LENGTH
    }
    return _cleaned(content, sorted(known, key=len, reverse=True))


def _cleaned(content: Any, known: list[str]) -> Any:  # noqa: ANN401 - plain data of any kind
    if isinstance(content, str):
        return _text(content, known)
    if isinstance(content, dict):
        return {
            _text(str(name), known): HIDDEN
            if is_secret_name(str(name)) and value is not None
            else _cleaned(value, known)
            for name, value in content.items()
        }
    if isinstance(content, list | tuple):
        return type(content)(_cleaned(value, known) for value in content)
    return content


def _text(text: str, known: list[str]) -> str:
    for value in known:
        text = text.replace(value, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text
