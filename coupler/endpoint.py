"""Where the other end is: `shm://name`, `ipc://path`, `tcp://host:port`, `udp://host:port`."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cudaq_target.coupler.link_errors import EndpointError

# `sun_path` of a Unix socket holds 108 bytes with its end.
MAX_IPC_PATH_BYTES: Final = 107
MAX_SHM_NAME: Final = 128
_SHM_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_SHM_NAME - 1}}}")
_FORMS: Final = "Use shm://name, ipc://path, tcp://host:port or udp://host:port"


class Scheme(StrEnum):
    """The transports."""

    SHM = "shm"
    IPC = "ipc"
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link; `str` gives the text back.

    Attributes:
        scheme: The transport.
        place: Name of the segment, path of the socket, or host.
        port: 0 lets the server choose a free one; always 0 for `shm` and `ipc`.
    """

    scheme: Scheme
    place: str
    port: int = 0

    def __str__(self) -> str:
        if self.scheme in {Scheme.SHM, Scheme.IPC}:
            return f"{self.scheme}://{self.place}"
        host = f"[{self.place}]" if ":" in self.place else self.place
        return f"{self.scheme}://{host}:{self.port}"

    def address(self) -> str:
        """The IP address of the host, looked up where it has a name.

        Raises:
            EndpointError: The name is unknown.
        """
        kind = socket.SOCK_DGRAM if self.scheme is Scheme.UDP else socket.SOCK_STREAM
        try:
            found = socket.getaddrinfo(self.place, self.port, type=kind)
        except (OSError, UnicodeError) as error:
            reason = f"host {self.place!r} is unknown ({error})"
            raise EndpointError(str(self), reason, "Give a known name or an IP address") from error
        # IPv4 first: `localhost` is both, and a server listens on one of them.
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        return str(found[0][4][0])

    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.scheme in {Scheme.SHM, Scheme.IPC}:
            return True
        return ipaddress.ip_address(self.address().partition("%")[0]).is_loopback


def parse_endpoint(text: str) -> Endpoint:
    """Read an endpoint.

    Args:
        text: For example `tcp://127.0.0.1:5555`.

    Returns:
        Its parts.

    Raises:
        EndpointError: It has another form.

    >>> parse_endpoint("tcp://localhost:5555").port
    5555
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in list(Scheme):
        raise EndpointError(text, "no known transport", _FORMS)
    if scheme == Scheme.SHM:
        if not _SHM_NAME.fullmatch(rest):
            remedy = f"Use 1 to {MAX_SHM_NAME} letters, digits, '.', '_' or '-', no leading '.'"
            raise EndpointError(text, f"{rest!r} is no name of a shared segment", remedy)
        return Endpoint(Scheme.SHM, rest)
    if scheme == Scheme.IPC:
        return _ipc(text, rest)
    return _network(text, Scheme(scheme), rest)


def _ipc(text: str, path: str) -> Endpoint:
    if not path or path.startswith("@") or "\0" in path:
        reason = "the path of a socket file is missing"
        raise EndpointError(text, reason, "Give a path in a directory of yours, ipc:///run/me/qpu")
    whole = str(Path(path).absolute())
    n_bytes = len(whole.encode())
    if n_bytes > MAX_IPC_PATH_BYTES:
        reason = f"the path has {n_bytes} bytes, a Unix socket takes {MAX_IPC_PATH_BYTES}"
        raise EndpointError(text, reason, "Give a shorter path")
    return Endpoint(Scheme.IPC, whole)


def _network(text: str, scheme: Scheme, rest: str) -> Endpoint:
    host, separator, port = rest.rpartition(":")
    if not separator or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise EndpointError(
            text, "no host with a port from 0 to 65535", f"Use {scheme}://host:port"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise EndpointError(text, "an IPv6 address needs brackets", f"Use {scheme}://[::1]:5555")
    if host == "*" or re.search(r"[\s/@]", host):
        raise EndpointError(text, f"{host!r} is no host", "Give a name or an IP address")
    return Endpoint(scheme, host, int(port))
