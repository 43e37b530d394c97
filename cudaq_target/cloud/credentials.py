"""Who we are to Pasqal Cloud, and where it is: from the environment, else from a file.

Variables: `PASQAL_PROJECT_ID`, and one of `PASQAL_AUTH_TOKEN`, `PASQAL_CLIENT_ID` with
`PASQAL_CLIENT_SECRET`, `PASQAL_USERNAME` with `PASQAL_PASSWORD`. `PASQAL_REGION` ("fr", "sa")
chooses the cloud; `PASQAL_BASE_URL` and `PASQAL_AUTH_ENDPOINT` name another one.

The file is `.pasqal/config` in `PASQAL_CONFIG_ROOT`, else in the home directory, with lines
`key=value`, as QRMI reads it; `DEVICE.key=value` is for one device. Who else may read it may use
the account, so a file that others can read is refused.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from cudaq_target.cloud.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_VARIABLES: Final = {
    "PASQAL_PROJECT_ID": "project_id",
    "PASQAL_AUTH_TOKEN": "token",
    "PASQAL_CLIENT_ID": "client_id",
    "PASQAL_CLIENT_SECRET": "client_secret",
    "PASQAL_USERNAME": "username",
    "PASQAL_PASSWORD": "password",
    "PASQAL_REGION": "region",
    "PASQAL_BASE_URL": "base_url",
    "PASQAL_AUTH_ENDPOINT": "auth_endpoint",
}
_NAMES: Final = {key: variable for variable, key in _VARIABLES.items()}
_SECRET: Final = ("token", "client_secret", "password")
# From the one that needs no further request to the one that needs a person.
_KINDS: Final = (("token",), ("client_id", "client_secret"), ("username", "password"))
_REGIONS: Final = ("fr", "sa")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_HOW: Final = (
    "Set PASQAL_PROJECT_ID and PASQAL_USERNAME with PASQAL_PASSWORD (or PASQAL_AUTH_TOKEN, or "
    "PASQAL_CLIENT_ID with PASQAL_CLIENT_SECRET), or write them to ~/.pasqal/config"
)


@dataclass(frozen=True, slots=True)
class Access:
    """Where the cloud is, and one way to log in.

    Attributes:
        project_id: The project that pays.
        region: "fr" or "sa", for what is not named below.
        base_url: Root of the cloud, without a slash at the end, or None for the region's.
        auth_endpoint: Where tokens are handed out, or None for the region's.
        token: A bearer token, or None.
        client_id: Name of a service account, or None.
        client_secret: Its secret, or None.
        username: Name of a person, or None.
        password: Its secret, or None.
    """

    project_id: str
    region: Literal["fr", "sa"] = "fr"
    base_url: str | None = None
    auth_endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        found = (getattr(self, name) for name in _SECRET)
        return tuple(value for value in found if value)


def access(machine: str, environ: Mapping[str, str] | None = None) -> Access:
    """Find the credentials for a device.

    Args:
        machine: Device type, for messages and for entries of the file that are its own.
        environ: Environment variables; None for the process's own.

    Raises:
        CredentialsError: They are missing, half there, or readable for others.
    """
    variables = os.environ if environ is None else environ
    given = {key: variables[name] for name, key in _VARIABLES.items() if variables.get(name)}
    path = _config_path(variables)
    filed = from_file(machine, path) if path is not None else {}
    place = {key: value for key, value in (filed | given).items() if key in _NAMES}
    login = _login(given) or _login(filed)
    if login is None:
        _refuse_half(machine, given | filed)
        raise CredentialsError(machine, "no credentials for Pasqal Cloud are set", _HOW)
    if "project_id" not in place:
        raise CredentialsError(machine, "no project is set (PASQAL_PROJECT_ID)", _HOW)
    _refuse_half(machine, given)
    kept: dict[str, Any] = {
        key: value for key, value in place.items() if not any(key in kind for kind in _KINDS)
    }
    for key in ("base_url", "auth_endpoint"):
        if key in kept:
            kept[key] = _address(kept[key])
    return _checked(machine, Access(**kept | login))


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text.

    >>> scrubbed("no user with password swordfish", ["swordfish"])
    'no user with password ***'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _login(given: Mapping[str, str]) -> dict[str, str] | None:
    """Return the first way to log in that is complete."""
    for kind in _KINDS:
        if all(key in given for key in kind):
            return {key: given[key] for key in kind}
    return None


def _refuse_half(machine: str, given: Mapping[str, str]) -> None:
    if _login(given) is not None:
        return
    for kind in _KINDS:
        there = [key for key in kind if key in given]
        missing = [key for key in kind if key not in given]
        if there and missing:
            raise CredentialsError(
                machine, f"{_NAMES[there[0]]} is set, {_NAMES[missing[0]]} is not", _HOW
            )


def _address(given: str) -> str:
    """QRMI takes addresses without a scheme, too."""
    return (given if "://" in given else f"https://{given}").rstrip("/")


def _checked(machine: str, found: Access) -> Access:
    if found.region not in _REGIONS:
        raise CredentialsError(
            machine,
            f"PASQAL_REGION is {found.region!r}",
            f"Give one of {', '.join(_REGIONS)}",
        )
    for name in ("base_url", "auth_endpoint"):
        url = getattr(found, name)
        parts = urlsplit(url or "https://host")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise CredentialsError(
                machine,
                f"{_NAMES[name]} is an http:// address, where anybody on the way can read "
                "credentials",
                "Give an https:// address",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CredentialsError(
                machine, f"{_NAMES[name]} is no address", "Give one such as https://HOST/PATH"
            )
    return found


def _config_path(variables: Mapping[str, str]) -> Path | None:
    """Return the file, or None where there is none."""
    root = variables.get("PASQAL_CONFIG_ROOT")
    try:
        places = [Path(root)] if root else [Path.home()]
    except RuntimeError:  # no home directory
        return None
    path = places[0] / ".pasqal" / "config"
    return path if path.is_file() else None


def from_file(machine: str, path: Path) -> dict[str, str]:
    """Read a file of credentials.

    Args:
        machine: Device type, for messages and for entries that are its own.
        path: The file.

    Returns:
        Key, as it is called in the file, to value.

    Raises:
        CredentialsError: It cannot be read, or others may read it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise CredentialsError(
            machine, f"{path} cannot be read ({reason})", "Correct the file, or remove it"
        ) from None
    general: dict[str, str] = {}
    own: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        name, is_set, value = (part.strip() for part in line.partition("="))
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        owner, _, key = name.rpartition(".")
        if not is_set or key not in _NAMES:
            known = ", ".join(_NAMES)
            raise CredentialsError(
                machine,
                # The line itself stays out: it may hold a password with a slip beside it.
                f"line {number} of {path} sets nothing that is known",
                f"Write KEY=VALUE or DEVICE.KEY=VALUE. Known: {known}",
            )
        if owner in ("", machine):
            (own if owner else general)[key] = value
    found = general | own
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and any(key in _SECRET for key in found):
        raise CredentialsError(
            machine,
            f"{path} holds credentials and others may read it (mode {mode:04o})",
            f"Run chmod 600 {path}, and change the password if others had access",
        )
    return {key: value for key, value in found.items() if value}


assert {entry.name for entry in fields(Access)} == set(_NAMES), "every key has a variable"
