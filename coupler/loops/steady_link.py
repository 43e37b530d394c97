"""Calls that outlive a lost link: made again until the other end is back, for a limited time.

A link connects again on its own, and every call that controls a machine may be repeated with the
same arguments (`FORMAT.md`): a call whose answer was lost is made again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cudaq_target.coupler.link_errors import LinkBusyError, LinkError, LinkLostError
from cudaq_target.coupler.link_errors import LinkTimeoutError as TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from cudaq_target.coupler.control_client import Caller

_PAUSE_S = 0.02


class SteadyCaller:
    """A `control_client.Caller` that repeats calls.

    Attributes:
        patience_s: How long a call is repeated (s); then its error passes through.
        busy_ns: Spent in calls so far (ns).
        last_ns: Of these, in the last one (ns).
        n_faults: Calls that had to be repeated.
    """

    def __init__(
        self, call: Caller, patience_s: float, on_fault: Callable[[BaseException], object]
    ) -> None:
        """Stand before a caller.

        Args:
            call: Makes one call, once.
            patience_s: See above.
            on_fault: Told once of every call that failed and is made again.
        """
        self.patience_s = patience_s
        self.busy_ns = 0
        self.last_ns = 0
        self.n_faults = 0
        self._call = call
        self._on_fault = on_fault

    def __call__(self, function: str, arguments: bytes) -> tuple[int, bytes]:
        """Make one call.

        Raises:
            LinkError: Of the last attempt.
        """
        begin_ns = time.monotonic_ns()
        try:
            return self._call(function, arguments)
        except (LinkLostError, TimedOut, LinkBusyError) as error:
            return self._again(function, arguments, error, begin_ns)
        finally:
            self.last_ns = time.monotonic_ns() - begin_ns
            self.busy_ns += self.last_ns

    def _again(
        self, function: str, arguments: bytes, error: LinkError, begin_ns: int
    ) -> tuple[int, bytes]:
        until_ns = begin_ns + int(1e9 * self.patience_s)
        if time.monotonic_ns() >= until_ns:
            raise error
        self.n_faults += 1
        self._on_fault(error)
        while True:
            try:
                return self._call(function, arguments)
            except (LinkLostError, TimedOut, LinkBusyError):
                if time.monotonic_ns() >= until_ns:
                    raise
                time.sleep(_PAUSE_S)
