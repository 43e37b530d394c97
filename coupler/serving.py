"""What all servers share: they end with a block, and before their interpreter does."""

from __future__ import annotations

import atexit
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.errors import HandlerStuckError

if TYPE_CHECKING:
    from cudaq_target.coupler.endpoint import Endpoint

# How long `close` waits for a function that runs.
PATIENCE_S: Final = 5.0
_LAST_WAIT_S: Final = 2.0


class Serving(Closing):
    """A server in a thread of this process, until it is closed; a context manager."""

    def __init__(self) -> None:
        """Take note of a server whose thread runs."""
        _RUNNING.add(self)

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Where it listens, with the port that was chosen."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it serves."""

    @abstractmethod
    def _end(self, timeout_s: float | None = None) -> bool:
        """Stop the thread and wait for it, for `PATIENCE_S` where no other time is given.

        False in a child of a fork, which has neither the thread nor a claim on what it serves.
        """

    def __repr__(self) -> str:
        state = "running" if self.is_running else "closed"
        return f"{type(self).__name__}({str(self.endpoint)!r}, {state})"


_RUNNING: WeakSet[Serving] = WeakSet()


@atexit.register
def _stop_forgotten() -> None:
    """End the threads of servers that nobody closed while Python still can.

    A daemon thread that waits in native code when the interpreter goes is torn out of it, through
    frames that cannot unwind, and the process aborts.
    """
    for server in list(_RUNNING):
        with suppress(HandlerStuckError):  # the interpreter goes all the same
            server._end(_LAST_WAIT_S)
