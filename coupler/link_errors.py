"""What can go wrong between two ends: addresses, security, lost and slow peers."""

from __future__ import annotations

from dataclasses import dataclass

from cudaq_target.coupler.errors import CouplerError


@dataclass
class EndpointError(CouplerError):
    """A text is no endpoint, or no endpoint for this use.

    Attributes:
        endpoint: The text.
        reason: What is wrong with it.
        remedy: What would work.
    """

    endpoint: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"endpoint {self.endpoint!r}: {self.reason}. {self.remedy}."


@dataclass
class InsecureEndpointError(CouplerError):
    """Serving here would let strangers in.

    Attributes:
        endpoint: Where.
        reason: What is missing.
        remedy: What would work.
    """

    endpoint: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"refusing {self.endpoint}: {self.reason}. {self.remedy}."


@dataclass
class KeyFileError(CouplerError):
    """A key file is missing, malformed, readable by others, or in the way.

    Attributes:
        path: The file.
        reason: What is wrong with it.
        remedy: What would work.
    """

    path: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"key file {self.path}: {self.reason}. {self.remedy}."


@dataclass
class AddressInUseError(CouplerError):
    """Another server listens there.

    Attributes:
        endpoint: Where.
    """

    endpoint: str

    def __str__(self) -> str:
        return f"{self.endpoint} is in use by another server; stop it, or choose another endpoint"


@dataclass
class LinkError(CouplerError):
    """Root of what happens to a link in use.

    Attributes:
        endpoint: The other end.
    """

    endpoint: str


@dataclass
class LinkTimeoutError(LinkError):
    """No answer in time; the request may or may not have been executed.

    Attributes:
        function: Name or id of the function.
        timeout_s: How long the caller waited (s).
        n_sent: How often the request was sent.
    """

    function: str
    timeout_s: float
    n_sent: int

    def __str__(self) -> str:
        times = "once" if self.n_sent == 1 else f"{self.n_sent} times"
        return (
            f"{self.endpoint}: no answer to {self.function} within {self.timeout_s:g} s "
            f"(sent {times}); is the server running, and its handler fast enough?"
        )


@dataclass
class LinkLostError(LinkError):
    """The other end is gone; the transport reconnects on its own when it comes back.

    Attributes:
        n_in_flight: Requests whose answers will not come.
        reason: How the loss showed.
    """

    n_in_flight: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.endpoint}: connection lost ({self.reason}), {self.n_in_flight} requests "
            "unanswered; call again when the server is back"
        )


@dataclass
class LinkBusyError(LinkError):
    """There is no room for another request now; nothing was sent.

    Attributes:
        reason: What is full, or missing.
    """

    reason: str

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.reason}; nothing was sent, try again later"


@dataclass
class LinkRefusedError(LinkError):
    """The server does not accept this client.

    Attributes:
        reason: As far as the transport knows.
    """

    reason: str

    def __str__(self) -> str:
        return f"{self.endpoint}: the server refused the connection ({self.reason})"


@dataclass
class LinkOwnerError(LinkError):
    """A link is used where it was not made.

    Attributes:
        owner_pid: The process that made it.
    """

    owner_pid: int

    def __str__(self) -> str:
        return (
            f"{self.endpoint}: this link belongs to process {self.owner_pid}; "
            "after a fork, connect anew in the child"
        )


@dataclass
class ServerFailedError(CouplerError):
    """The loop of a server ended with an error.

    Attributes:
        endpoint: Where it served.
        reason: The error.
    """

    endpoint: str
    reason: str

    def __str__(self) -> str:
        return f"the server of {self.endpoint} stopped: {self.reason}"
