"""Ends that decide about runs: which the controller may ask, and how it asks them."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.control_messages import DECIDE, Decision
from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.errors import CouplerError, DecisionError, RemoteCallError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import EndpointError, LinkError, LinkLostError
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from cudaq_target.coupler.link import Answer, Link

MAX_LINKS: Final = 8


class Deciders:
    """Links to the ends that decide, kept from run to run; `ask` and `close` in one thread."""

    def __init__(self, options: TransportOptions | None = None, *, timeout_s: float = 1.0) -> None:
        """Connect to nobody yet.

        Args:
            options: Geometry, the same at the ends that decide.
            timeout_s: How long a connection, and each decision, may take (s).
        """
        self._options = options or TransportOptions()
        self._timeout_s = timeout_s
        self._links: OrderedDict[str, Link] = OrderedDict()

    @property
    def slot_bytes(self) -> int:
        """Longest frame (bytes)."""
        return self._options.slot_bytes

    def objection(self, endpoint: str) -> str | None:
        """Why this end cannot be asked; None where it can, as far as its name says."""
        try:
            place = parse_endpoint(endpoint)
        except EndpointError as error:
            return f"decide: {error}"
        if not _is_here(place):
            return (
                f"decide: {endpoint} is not on the machine's own host; give shm://, ipc://, or "
                "tcp:// or udp:// of 127.0.0.1"
            )
        return None

    def ask(self, endpoint: str, frame: bytes, *, begins: bool) -> Decision:
        """Send a batch of shots and wait for the decision.

        Args:
            endpoint: One without an objection.
            frame: The batch.
            begins: Whether it is the first of its run.

        Raises:
            DecisionError: Nobody is there, or the answer is none.
        """
        try:
            answer = self._call(endpoint, frame, begins=begins)
        except CouplerError as error:
            self._drop(endpoint)
            raise DecisionError(endpoint, str(error)) from error
        if answer.status != Status.OK:
            refused = RemoteCallError(DECIDE, answer.status, answer.result.decode(errors="replace"))
            raise DecisionError(endpoint, str(refused))
        decision = Decision.from_bytes(answer.result)
        if decision is None:
            reason = f"an answer of {len(answer.result)} bytes that is none"
            raise DecisionError(endpoint, reason)
        return decision

    def _call(self, endpoint: str, frame: bytes, *, begins: bool) -> Answer:
        is_old = endpoint in self._links
        try:
            return self._link(endpoint).call(DECIDE, frame, self._timeout_s)
        except LinkLostError:
            # Who decided about the last run may be gone, and another one in his place.
            if not (begins and is_old):
                raise
        self._drop(endpoint)
        return self._link(endpoint).call(DECIDE, frame, self._timeout_s)

    def close(self) -> None:
        """Give the links back."""
        for endpoint in list(self._links):
            self._drop(endpoint)

    def _link(self, endpoint: str) -> Link:
        link = self._links.get(endpoint)
        if link is None:
            link = connect(endpoint, timeout_s=self._timeout_s, options=self._options)
            self._links[endpoint] = link
            if len(self._links) > MAX_LINKS:
                self._drop(next(iter(self._links)))
        self._links.move_to_end(endpoint)
        return link

    def _drop(self, endpoint: str) -> None:
        link = self._links.pop(endpoint, None)
        if link is not None:
            with suppress(LinkError):
                link.close()


def _is_here(place: Endpoint) -> bool:
    """Whether an endpoint is on this host by its text alone; no name is looked up."""
    if place.scheme in {Scheme.SHM, Scheme.IPC} or place.place == "localhost":
        return True
    try:
        return ipaddress.ip_address(place.place).is_loopback
    except ValueError:
        return False
