"""What a contender is: its transport, what answers, who calls, and how both wait."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from cudaq_target.coupler.frame import HEADER_BYTES
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = ("shm", "ipc", "tcp", "udp")
_STEP_BYTES = 128
_LONG_BYTES, _LONG_SLOTS = 32_768, 8


@dataclass(frozen=True, slots=True)
class Spec:
    """One contender.

    Attributes:
        transport: One of `OURS`, or a peer.
        n_bytes: Payload each way (bytes).
        handler: "native" and "python" echo; "forward" hands frames back without a dispatcher;
            "decode" is the decode server, "stages" the same with stamps, "look-up" a native table.
        caller: "link" for `connect`, "ring" for `shm.Client`.
        wait: How both ends of a ring wait; sockets always block.
        is_encrypted: Whether CURVE is on.
        core: The server's; below 0 the system chooses.
    """

    transport: str
    n_bytes: int = 64
    handler: str = "native"
    caller: str = "link"
    wait: str = "adaptive"
    is_encrypted: bool = False
    core: int = -1

    @property
    def polls(self) -> bool:
        """Whether the server keeps a core busy while nobody calls."""
        in_memory = self.transport == "shm" and self.wait in {"busy", "yield"}
        return in_memory or self.transport == "iceoryx2"

    @property
    def waits(self) -> str:
        """How it waits, as it is reported."""
        if self.transport == "shm":
            return self.wait
        return "busy" if self.transport == "iceoryx2" else "block"

    @property
    def is_fast(self) -> bool:
        """Whether a round trip takes microseconds and no wake-up."""
        return self.transport in {"shm", "iceoryx2"} and self.wait != "block"

    def options(self) -> TransportOptions:
        """Defaults, with longer slots, and fewer of them, for long payloads."""
        plain = TransportOptions(wait=self.wait)
        needed = -(-(self.n_bytes + HEADER_BYTES) // _STEP_BYTES) * _STEP_BYTES
        n_slots = _LONG_SLOTS if self.n_bytes >= _LONG_BYTES else plain.n_slots
        return replace(plain, slot_bytes=max(plain.slot_bytes, needed), n_slots=n_slots)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Spec:
        return Spec(**json.loads(text))


def two_cores() -> tuple[int, int] | None:
    """Cores for client and server; None where this process has only one."""
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else None


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this thread, and the threads that it starts meanwhile, on a core; below 0 for any."""
    before = os.sched_getaffinity(0)
    if core >= 0:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
