"""Serving a ring in shared memory from the GPU: controller, dispatcher and device share its bytes.

This module gives the kernels what they must not know: how a segment is laid out, and who may
answer. It needs the native module and CuPy, nothing else.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.frame import function_id
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.kernels.errors import (
    BackendUnavailableError,
    DispatcherFaultError,
    DispatcherTimeoutError,
    KernelError,
)
from cudaq_target.kernels.persistent import PersistentDispatcher, RingView
from cudaq_target.kernels.persistent_functions import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cudaq_target.coupler.shm import SlotRing
    from cudaq_target.kernels.gpu.runtime import Runtime
    from cudaq_target.kernels.persistent_functions import DeviceFunction

# Of native/shm.hpp and native/slot_ring.hpp.
_CONTROL_BYTES: Final = 4096
_N_ANSWERED: Final = 640
_LINE_BYTES: Final = 128

_BUILT_IN: Final = {
    Kind.INCREMENT: "rpc_increment",
    Kind.ECHO: "echo",
    Kind.OCCUPATION: "occupation",
}


def ring_view(ring: SlotRing) -> RingView:
    """Say where the parts of a ring lie in its segment.

    Args:
        ring: Made or attached by this process; the view keeps it mapped.
    """
    flag_bytes = -(-8 * ring.n_slots // _LINE_BYTES) * _LINE_BYTES
    rx_data = _CONTROL_BYTES + 2 * flag_bytes
    return RingView(
        memory=ring.memory,
        n_slots=ring.n_slots,
        rx_stride_bytes=ring.rx_stride_bytes,
        tx_stride_bytes=ring.tx_stride_bytes,
        rx_flags=_CONTROL_BYTES,
        tx_flags=_CONTROL_BYTES + flag_bytes,
        rx_data=rx_data,
        tx_data=rx_data + ring.n_slots * ring.rx_stride_bytes,
        n_answered=_N_ANSWERED,
    )


class GpuServer(Closing):
    """Answers the requests of a ring on the GPU, until it is closed."""

    def __init__(
        self,
        ring: SlotRing,
        functions: Mapping[str, DeviceFunction],
        *,
        back_off_ns: int = 0,
        runtime: Runtime | None = None,
    ) -> None:
        """Become the consumer of a ring and start the kernel.

        Args:
            ring: Made or attached by this process.
            functions: By name; a function's id is the hash of its name.
            back_off_ns: Pause between two looks of the device at a flag (ns).
            runtime: The device; None for the current CUDA device.

        Raises:
            RoleTakenError: Another dispatcher serves the ring.
            DispatcherTimeoutError: The kernel did not start; as it may still do so, the role stays
                taken until this process ends.
            KernelError: See `PersistentDispatcher`; the role is given back.
        """
        ring.claim("consumer")
        self._ring = ring
        self._pid = os.getpid()
        entries = [(function_id(name), function) for name, function in functions.items()]
        try:
            self._dispatcher = PersistentDispatcher(
                [ring_view(ring)], entries, back_off_ns=back_off_ns, runtime=runtime
            )
        except DispatcherTimeoutError:
            raise  # it may still start
        except BaseException:  # nothing serves, whatever the reason
            ring.release("consumer")
            raise

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._dispatcher.is_running

    def check(self) -> None:
        """Look whether the kernel still runs; clients find the role free when it does not.

        Raises:
            DispatcherFaultError: It trapped, or CUDA failed.
        """
        try:
            self._dispatcher.check()
        except KernelError:
            self._ring.release("consumer")
            raise

    def counters(self) -> dict[str, int]:
        """What was served, by the names of `counters.Counters`; known once it is closed."""
        return self._dispatcher.counters()

    def close(self, *, drain: bool = True) -> None:
        """Answer what waits, end the kernel and give the role back.

        Args:
            drain: Whether waiting requests go to their functions; else they are answered CANCELLED.

        Raises:
            DispatcherFaultError: The kernel was gone already.
            DispatcherTimeoutError: It does not end; the role stays taken.
        """
        if os.getpid() != self._pid or not self.is_running:
            return
        try:
            self._dispatcher.stop(drain=drain)
        except DispatcherFaultError:  # after any other error the kernel may still answer
            self._ring.release("consumer")
            raise
        self._ring.release("consumer")


class CpuServer(Closing):
    """The same functions on a native thread of the host."""

    def __init__(self, ring: SlotRing, functions: Mapping[str, DeviceFunction]) -> None:
        """Become the consumer of a ring and start the thread.

        Args:
            ring: Made or attached by this process.
            functions: By name.

        Raises:
            RoleTakenError: Another dispatcher serves the ring.
        """
        self._dispatcher = cpu_dispatcher(functions)
        self._dispatcher.start(ring)

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._dispatcher.is_running

    def check(self) -> None:
        """A thread of the host has no failure of its own."""

    def counters(self) -> dict[str, int]:
        """What was served, by the names of `counters.Counters`."""
        return self._dispatcher.counters()

    def close(self, *, drain: bool = True) -> None:
        """Answer what waits and stop; see `GpuServer.close`."""
        if self.is_running:
            self._dispatcher.stop(drain=drain)


def cpu_dispatcher(functions: Mapping[str, DeviceFunction]) -> Dispatcher:
    """Build a native dispatcher with the functions of a GPU; answers are the same bit for bit.

    Args:
        functions: By name.
    """
    dispatcher = Dispatcher()
    for name, function in functions.items():
        if function.kind == Kind.LOOK_UP:
            dispatcher.add_look_up(name, function.table.view(np.uint8), function.n_bits)
        elif _BUILT_IN.get(function.kind) == name:
            dispatcher.add_builtin(name)
        else:
            from cudaq_target.kernels.cpu.handlers import compiled_handler  # noqa: PLC0415 - Numba

            handler = compiled_handler(function)
            dispatcher.add_address(
                name,
                handler.address,
                stateful=True,
                state=handler.state,
                min_arg_bytes=function.min_arg_bytes,
                keep_alive=handler,
            )
    return dispatcher


def serve_on_gpu(
    ring: SlotRing,
    functions: Mapping[str, DeviceFunction],
    *,
    fallback: Literal["cpu"] | None = None,
    back_off_ns: int = 0,
) -> GpuServer | CpuServer:
    """Serve a ring from the GPU.

    Args:
        ring: Made or attached by this process.
        functions: By name; a function's id is the hash of its name.
        fallback: "cpu" serves from the host, with a warning, where no GPU can be used.
        back_off_ns: Pause between two looks of the device at a flag (ns).

    Returns:
        The server, which runs already; a context manager, which closes it.

    Raises:
        BackendUnavailableError: There is no GPU, and no fallback.
        RoleTakenError: Another dispatcher serves the ring.
    """
    try:
        return GpuServer(ring, functions, back_off_ns=back_off_ns)
    except BackendUnavailableError as error:
        if fallback is None:
            raise
        warnings.warn(f"serving {ring.name!r} from the CPU: {error}", RuntimeWarning, stacklevel=2)
        return CpuServer(ring, functions)
