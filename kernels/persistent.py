"""A dispatcher that stays on the GPU and serves slot rings in memory that host and device share.

The host only starts and stops it: requests and answers never pass through the interpreter. What a
ring is, `coupler/native/slot_ring.hpp` says; what is answered, `coupler/FORMAT.md`.

As the native dispatcher without a window: every well-formed request gets exactly one answer, a
repeated one is executed again (all functions here depend on their arguments alone, so the answer
is the same). What it does not do: deadlines, and memory per session. It polls and rings no bell:
a client that fell asleep looks again within 20 ms; wait="busy" or "adaptive" does not sleep for
the first 40 µs.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from cudaq_target.kernels.errors import (
    DispatcherFaultError,
    DispatcherTimeoutError,
    KernelError,
    KernelInputError,
)
from cudaq_target.kernels.persistent_functions import MAX_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from cudaq_target.kernels.gpu.runtime import Runtime
    from cudaq_target.kernels.persistent_functions import DeviceFunction

# Of dispatch.cu.
_DRAIN, _CANCEL = 1, 2
_SERVING, _STOPPED = 1, 2
_STATE_WORD, _FIRST_COUNTER, _MAILBOX_WORDS = 16, 17, 32
_STATIC_SHARED_BYTES = 4096
_LINE_BYTES = 128

COUNTERS: Final = (
    "received",
    "dispatched",
    "answered",
    "bad_magic",
    "bad_length",
    "unknown_function",
    "bad_request",
    "handler_failures",
    "cancelled",
)
"""Names as in `coupler.counters`."""

_LOOK_S = 0.0005

_LOST: list[object] = []
"""What kernels that did not stop in time still use: freed, it would be read by them."""


@dataclass(frozen=True, slots=True)
class RingView:
    """Where the parts of a slot ring lie in a piece of memory.

    Attributes:
        memory: All of it, writable, starting at a page, shape (n_bytes,).
        n_slots: Number of slots.
        rx_stride_bytes: Distance of request slots, a multiple of 128.
        tx_stride_bytes: Distance of answer slots, a multiple of 128.
        rx_flags: Offset of the flags of requests (bytes).
        tx_flags: Offset of the flags of answers (bytes).
        rx_data: Offset of the request slots (bytes).
        tx_data: Offset of the answer slots (bytes).
        n_answered: Offset of the count of answers (bytes).
    """

    memory: NDArray[np.uint8]
    n_slots: int
    rx_stride_bytes: int
    tx_stride_bytes: int
    rx_flags: int
    tx_flags: int
    rx_data: int
    tx_data: int
    n_answered: int

    def check(self) -> None:
        """Refuse a view that leaves its memory.

        Raises:
            KernelInputError: See above.
        """
        strides = (self.rx_stride_bytes, self.tx_stride_bytes)
        if any(stride <= 0 or stride % _LINE_BYTES for stride in strides):
            raise KernelInputError("stride", f"is one of {strides}", "multiples of 128 bytes")
        if self.n_slots < 1:
            raise KernelInputError("n_slots", f"is {self.n_slots}", "at least 1")
        ends = (
            self.rx_flags + 8 * self.n_slots,
            self.tx_flags + 8 * self.n_slots,
            self.rx_data + self.n_slots * self.rx_stride_bytes,
            self.tx_data + self.n_slots * self.tx_stride_bytes,
            self.n_answered + 8,
        )
        words = (self.rx_flags, self.tx_flags, self.n_answered)
        slots = (self.rx_data, self.tx_data)
        if any(place % 8 for place in words) or any(place % 16 for place in slots):
            found = f"places flags at {words} and slots at {slots}"
            raise KernelInputError("memory", found, "multiples of 8 and of 16 bytes")
        if max(ends) > self.memory.nbytes:
            found = f"has {self.memory.nbytes} bytes"
            raise KernelInputError("memory", found, f"the ring needs {max(ends)}")

    def words(self, address: int, mailbox: int) -> list[int]:
        """Return `Ring` of dispatch.cu, for memory that the device sees at `address`."""
        places = (self.rx_flags, self.tx_flags, self.rx_data, self.tx_data, self.n_answered)
        sizes = (self.n_slots, self.rx_stride_bytes, self.tx_stride_bytes)
        return [*(address + place for place in places), mailbox, *sizes]


class PersistentDispatcher:
    """Serves rings from a kernel that runs until `stop`, one block per ring."""

    def __init__(
        self,
        rings: Sequence[RingView],
        functions: Sequence[tuple[int, DeviceFunction]],
        *,
        back_off_ns: int = 0,
        runtime: Runtime | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Map the rings for the device and start.

        While it runs, this process must not free device memory, load code or synchronise the
        device: such calls wait for a kernel that does not end. A process of its own is safest.

        Args:
            rings: Nobody else answers their requests.
            functions: Ids and functions, at most 32, no id twice.
            back_off_ns: Pause between two looks at a flag (ns); 0 answers soonest.
            runtime: The device; None for the current CUDA device.
            timeout_s: How long the start may take (s).

        Raises:
            BackendUnavailableError: There is no CUDA device.
            KernelInputError: A ring or the function table is malformed, or a slot too large.
            DispatcherFaultError: The kernel failed.
            DispatcherTimeoutError: It did not start in time; the memory stays mapped.
        """
        if runtime is None:
            from cudaq_target.kernels.gpu.runtime import CudaRuntime  # noqa: PLC0415 - loads CUDA

            runtime = CudaRuntime()
        shared_bytes = _check(rings, functions, runtime.most_shared_bytes)
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._runtime = runtime
        try:
            mailboxes, table, views = _prepare(runtime, rings, functions)
            arguments = (views, table, len(functions), back_off_ns)
            runtime.launch(len(rings), arguments, shared_bytes)
        except BaseException:  # else rings stay registered, and no later start can map them
            runtime.close()
            raise
        self._mailboxes = mailboxes
        self._closer = weakref.finalize(self, _abandon, runtime, mailboxes)
        try:
            _await_state(runtime, mailboxes, _SERVING, "start", timeout_s)
        except KernelError:
            self._closer.detach()
            for mailbox in mailboxes:  # for a kernel that starts after all
                mailbox[0] = _CANCEL
            raise

    def check(self) -> None:
        """Look whether the kernel still runs.

        Raises:
            DispatcherFaultError: It is gone.
        """
        if self._closer.alive and (reason := self._runtime.failure()) is not None:
            self._closer.detach()
            self._runtime.close()
            raise _fault(reason)

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return bool(self._closer.alive)

    def counters(self) -> dict[str, int]:
        """What was served, by name, summed over the rings; known once it has stopped."""
        return dict(self._counters)

    def stop(self, *, drain: bool = True, timeout_s: float = 10.0) -> None:
        """Answer what waits, end the kernel, and give the memory back.

        Args:
            drain: Whether waiting requests go to their functions; else they are answered CANCELLED.
            timeout_s: How long to wait (s).

        Raises:
            DispatcherFaultError: The kernel is gone already.
            DispatcherTimeoutError: It did not stop; the memory stays mapped.
        """
        if not self._closer.alive:
            return
        self._closer.detach()
        command = _DRAIN if drain else _CANCEL
        self._counters = _stop(self._runtime, self._mailboxes, command, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _check(
    rings: Sequence[RingView],
    functions: Sequence[tuple[int, DeviceFunction]],
    most_shared_bytes: int,
) -> int:
    """Refuse what cannot be served; return the shared memory that a block needs (bytes)."""
    if not rings:
        raise KernelInputError("rings", "is empty", "give at least one ring")
    ids = [function_id for function_id, _ in functions]
    if not ids or len(ids) > MAX_FUNCTIONS or len(set(ids)) < len(ids):
        found = f"holds {len(ids)} entries, {len(set(ids))} different"
        raise KernelInputError("functions", found, f"1 to {MAX_FUNCTIONS}, no id twice")
    for ring in rings:
        ring.check()
    needed = max(ring.rx_stride_bytes + ring.tx_stride_bytes for ring in rings)
    if needed + _STATIC_SHARED_BYTES > most_shared_bytes:
        found = f"needs {needed} bytes for a request and an answer"
        limit = most_shared_bytes - _STATIC_SHARED_BYTES
        raise KernelInputError("stride", found, f"a block of this device has {limit}")
    return needed


def _prepare(
    runtime: Runtime,
    rings: Sequence[RingView],
    functions: Sequence[tuple[int, DeviceFunction]],
) -> tuple[list[NDArray[np.uint64]], int, int]:
    """Map rings and mailboxes, copy tables; returns mailboxes, addresses of functions and rings."""
    mailboxes: list[NDArray[np.uint64]] = []
    words: list[int] = []
    for ring in rings:
        mailbox, mailbox_address = runtime.allocate(_MAILBOX_WORDS)
        mailboxes.append(mailbox)
        words += ring.words(runtime.register(ring.memory), mailbox_address)
    rows = [
        function.row(name, runtime.upload(function.table), runtime.upload(function.indices))
        for name, function in functions
    ]
    table = runtime.upload(np.concatenate(rows))
    return mailboxes, table, runtime.upload(np.array(words, dtype=np.uint64))


def _await_state(
    runtime: Runtime,
    mailboxes: Sequence[NDArray[np.uint64]],
    state: int,
    action: str,
    timeout_s: float,
) -> None:
    until = time.monotonic() + timeout_s
    while any(mailbox[_STATE_WORD] < state for mailbox in mailboxes):
        reason = runtime.failure()
        # The last word of a kernel that just ended may have come after our look.
        if reason is not None and (
            reason or any(mailbox[_STATE_WORD] < state for mailbox in mailboxes)
        ):
            runtime.close()
            raise _fault(reason)
        if time.monotonic() > until:
            likely = (
                "the device may be taken by other work, or have fewer free multiprocessors than "
                "rings"
            )
            _LOST.extend((runtime, mailboxes))
            raise DispatcherTimeoutError(action, timeout_s, likely)
        time.sleep(_LOOK_S)


def _stop(
    runtime: Runtime, mailboxes: Sequence[NDArray[np.uint64]], command: int, timeout_s: float
) -> dict[str, int]:
    for mailbox in mailboxes:
        mailbox[0] = command
    _await_state(runtime, mailboxes, _STOPPED, "stop", timeout_s)
    n = len(COUNTERS)
    totals = np.sum([mailbox[_FIRST_COUNTER : _FIRST_COUNTER + n] for mailbox in mailboxes], axis=0)
    until = time.monotonic() + timeout_s
    while (reason := runtime.failure()) is None:
        if time.monotonic() > until:
            _LOST.extend((runtime, mailboxes))
            raise DispatcherTimeoutError("stop", timeout_s, "the kernel said that it ended")
        time.sleep(_LOOK_S)
    runtime.close()
    if reason:
        raise _fault(reason)
    return dict(zip(COUNTERS, totals.tolist(), strict=True))


def _abandon(runtime: Runtime, mailboxes: Sequence[NDArray[np.uint64]]) -> None:
    """Stop what nobody stopped; there is nobody to tell how it went."""
    with contextlib.suppress(KernelError):
        _stop(runtime, mailboxes, _CANCEL, 5.0)


def _fault(reason: str) -> DispatcherFaultError:
    remedy = "start this process anew: CUDA gives a failed context up"
    return DispatcherFaultError(reason or "its kernel ended by itself", remedy)
