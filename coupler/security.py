"""Who may connect: private directories, key pairs, and the rule for binds that strangers reach."""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.endpoint import Scheme
from cudaq_target.coupler.link_errors import InsecureEndpointError, KeyFileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cudaq_target.coupler.endpoint import Endpoint

PRIVATE_DIRECTORY: Final = 0o700
PUBLIC_FILE: Final = 0o644
SECRET_FILE: Final = 0o600
# ZeroMQ's own form of certificates: 32 bytes in 40 characters of Z85.
_KEY_LINE: Final = re.compile(r'^\s*(public|secret)-key\s*=\s*"([!-~]{40})"\s*$', re.MULTILINE)
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_MAKE: Final = "Make a pair with `cudaq-target keys`"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE identity.

    Attributes:
        public: 40 characters of Z85; known to the other end.
        secret: 40 characters of Z85; never shown.
    """

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerSecurity:
    """What a server needs to tell friends from strangers.

    Attributes:
        keys: Its own pair.
        allowed: Public keys of the clients that may connect; nobody else may.
    """

    keys: KeyPair
    allowed: frozenset[str]


@dataclass(frozen=True, slots=True)
class ClientSecurity:
    """What a client needs to prove who it is, and to know its server.

    Attributes:
        keys: Its own pair.
        server_public: The server's public key.
    """

    keys: KeyPair
    server_public: str


def make_keys(directory: Path | str, name: str) -> tuple[Path, Path]:
    """Make a key pair; nothing that exists is overwritten.

    Args:
        directory: Made with mode 0700 where it is missing.
        name: Stem of the files.

    Returns:
        The public file, to be given to the other end, and the secret one (mode 0600).

    Raises:
        KeyFileError: A file is there already, or the directory cannot be written.
    """
    import zmq  # noqa: PLC0415 - only key pairs and ZeroMQ links need it

    public, secret = (key.decode() for key in zmq.curve_keypair())
    directory = Path(directory)
    paths = directory / f"{name}.key", directory / f"{name}.key_secret"
    if not _NAME.fullmatch(name):
        raise KeyFileError(str(paths[0]), f"{name!r} is no name of a key", "Use letters and digits")
    for path in paths:
        if path.exists():
            raise KeyFileError(str(path), "it exists", "Choose another name, or remove it first")
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        # The secret first: where it cannot be written, no public key is given away in vain.
        _write_new(paths[1], _certificate(public, secret), SECRET_FILE)
        _write_new(paths[0], _certificate(public), PUBLIC_FILE)
    except OSError as error:
        reason = f"it cannot be written ({error.strerror})"
        raise KeyFileError(str(paths[0]), reason, "Give a directory of yours") from error
    return paths


def load_keys(path: Path | str) -> KeyPair:
    """Read a secret file.

    Raises:
        KeyFileError: It is unreadable, malformed, or readable by others.
    """
    path = Path(path)
    found = _keys_in(path)
    if "secret" not in found:
        raise KeyFileError(str(path), "it holds no secret key", "Give the .key_secret file")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        reason = f"its mode is {mode:04o}, others can read it"
        raise KeyFileError(str(path), reason, f"Run chmod {SECRET_FILE:o}, or make a new pair")
    return KeyPair(found["public"], found["secret"])


def load_public_key(path: Path | str) -> str:
    """Read the public key of a public or secret file.

    Raises:
        KeyFileError: It is unreadable or malformed.
    """
    return _keys_in(Path(path))["public"]


def server_security(secret: Path | str, clients: Iterable[Path | str]) -> ServerSecurity:
    """Read what a server needs.

    Args:
        secret: Its own secret file.
        clients: Public files of the clients that may connect.

    Returns:
        For `serve(security=…)`.

    Raises:
        KeyFileError: A file is unreadable or malformed, or the secret is readable by others.
    """
    return ServerSecurity(load_keys(secret), frozenset(map(load_public_key, clients)))


def client_security(secret: Path | str, server: Path | str) -> ClientSecurity:
    """Read what a client needs: its own secret file, and the server's public one.

    Args:
        secret: The client's own secret file.
        server: The public file of the server that it will talk to.

    Returns:
        For `connect(security=…)`.

    Raises:
        KeyFileError: A file is unreadable or malformed, or the secret is readable by others.
    """
    return ClientSecurity(load_keys(secret), load_public_key(server))


def check_bind(endpoint: Endpoint, security: ServerSecurity | None) -> None:
    """Refuse to serve where strangers could connect.

    Args:
        endpoint: Where to serve.
        security: What the server was given.

    Raises:
        InsecureEndpointError: The place is reachable from elsewhere without keys and an
            allow-list, or its directory is open to other users.
    """
    if security is not None and endpoint.scheme in {Scheme.UDP, Scheme.SHM}:
        reason = f"{endpoint.scheme} knows no keys"
        raise InsecureEndpointError(str(endpoint), reason, "Use tcp:// or ipc:// with keys")
    if endpoint.scheme is Scheme.IPC:
        private_directory(endpoint)
    if endpoint.is_loopback():
        return
    if endpoint.scheme is Scheme.UDP:
        reason = "other machines could send datagrams, which nothing authenticates"
        raise InsecureEndpointError(str(endpoint), reason, "Use udp://127.0.0.1, or tcp with keys")
    if security is None or not security.allowed:
        reason = "other machines could connect without a key that this server knows"
        remedy = f"{_MAKE} for both ends and give the server its secret and the client's public key"
        raise InsecureEndpointError(str(endpoint), reason, remedy)


def private_directory(endpoint: Endpoint) -> None:
    """Make the directory of a socket file private, or refuse it.

    Args:
        endpoint: An `ipc` one; its directory is made with mode 0700 where it is missing.

    Raises:
        InsecureEndpointError: It belongs to somebody else, or is open to others.
    """
    directory = Path(endpoint.place).parent
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        reason = f"its directory cannot be used ({error.strerror})"
        remedy = "Give a path in a directory of yours"
        raise InsecureEndpointError(str(endpoint), reason, remedy) from error
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid() or mode & 0o077:
        reason = f"{directory} has mode {mode:04o} and owner {found.st_uid}"
        remedy = f"Use a directory of yours with mode {PRIVATE_DIRECTORY:04o}"
        raise InsecureEndpointError(str(endpoint), reason, remedy)


def _certificate(public: str, secret: str | None = None) -> str:
    lines = ["metadata", "curve", f'    public-key = "{public}"']
    if secret is not None:
        lines.append(f'    secret-key = "{secret}"')
    return "\n".join([*lines, ""])


def _write_new(path: Path, text: str, mode: int) -> None:
    """Write a file that did not exist; it never has a wider mode than this."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(number, "w", encoding="ascii") as file:
        file.write(text)


def _is_z85(key: str) -> bool:
    from zmq.utils import z85  # noqa: PLC0415 - only key pairs and ZeroMQ links need it

    try:
        z85.decode(key)
    except (KeyError, struct.error):  # another letter; five that mean more than 32 bits
        return False
    return True


def _keys_in(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            str(path), f"it cannot be read ({type(error).__name__})", _MAKE
        ) from None
    found: dict[str, str] = dict(_KEY_LINE.findall(text))
    if not all(map(_is_z85, found.values())):
        raise KeyFileError(str(path), "a key in it is no Z85 of 32 bytes", _MAKE)
    if "public" not in found:
        raise KeyFileError(str(path), "it holds no public key of 40 characters", _MAKE)
    return found
