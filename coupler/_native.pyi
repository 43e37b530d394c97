"""
Rings in shared memory and the dispatcher; see `native/shm.hpp`, `slot_ring.hpp` and `dispatcher.hpp`.
"""

from collections.abc import Callable
from typing import Any

import numpy
import numpy.typing
from typing_extensions import Buffer


class SlotRing:
    """
    CUDA-Q Realtime's slot and flag ring in shared memory; carries requests and answers.
    """

    @staticmethod
    def attach(name: str) -> SlotRing:
        """
        Map the segment that another process, or this one, made.

        Args:
            name: As given to `create`.

        Raises:
            SegmentMissingError: Nobody made it.
            SegmentStaleError: Its maker is dead.
            SegmentFormatError: Wrong version, size, permissions or owner.
        """

    def unlink(self) -> bool:
        """
        Remove the name; whoever is attached keeps the memory.

        Returns:
            False when the name means another segment by now, or nothing.
        """

    @property
    def name(self) -> str:
        """Name of the segment."""

    @property
    def n_slots(self) -> int:
        """Number of slots."""

    @property
    def owner_pid(self) -> int:
        """Process that made the segment; 0 when it is dead."""

    @property
    def producer_pid(self) -> int:
        """Live process that writes requests or frames; 0 for none."""

    @property
    def consumer_pid(self) -> int:
        """Live process that answers or reads; 0 for none."""

    def claim(self, role: str) -> None:
        """
        Take a role for this process; a dead process loses it.

        Args:
            role: "producer" or "consumer".

        Raises:
            RoleTakenError: A live process has it.
        """

    def release(self, role: str) -> None:
        """Give a role back, if this process has it."""

    @staticmethod
    def create(name: str, n_slots: int, rx_stride_bytes: int, tx_stride_bytes: int = 0) -> SlotRing:
        """
        Make a segment, readable by this user alone. A stale one of a dead process is replaced.

        Args:
            name: Letters, digits, '-', '_' and '.'.
            n_slots: Requests that may be under way.
            rx_stride_bytes: Longest request with its header, a multiple of 128.
            tx_stride_bytes: The same for answers; 0 for `rx_stride_bytes`.

        Raises:
            SegmentInUseError: A live process has a segment of this name.
            SegmentFormatError: The geometry or the name is out of range.
            SegmentSystemError: The system refuses, for example for want of memory.
        """

    @property
    def rx_stride_bytes(self) -> int:
        """Longest request with its header (bytes)."""

    @property
    def tx_stride_bytes(self) -> int:
        """Longest answer with its header (bytes)."""

    @property
    def memory(self) -> numpy.typing.NDArray[numpy.uint8]:
        """The whole segment with its control block, shape (n_bytes,)."""

class FrameSegment:
    """Shared memory with a one-way ring of frames in it."""

    @staticmethod
    def attach(name: str) -> FrameSegment:
        """
        Map the segment that another process, or this one, made.

        Args:
            name: As given to `create`.

        Raises:
            SegmentMissingError: Nobody made it.
            SegmentStaleError: Its maker is dead.
            SegmentFormatError: Wrong version, size, permissions or owner.
        """

    def unlink(self) -> bool:
        """
        Remove the name; whoever is attached keeps the memory.

        Returns:
            False when the name means another segment by now, or nothing.
        """

    @property
    def name(self) -> str:
        """Name of the segment."""

    @property
    def n_slots(self) -> int:
        """Number of slots."""

    @property
    def owner_pid(self) -> int:
        """Process that made the segment; 0 when it is dead."""

    @property
    def producer_pid(self) -> int:
        """Live process that writes requests or frames; 0 for none."""

    @property
    def consumer_pid(self) -> int:
        """Live process that answers or reads; 0 for none."""

    def claim(self, role: str) -> None:
        """
        Take a role for this process; a dead process loses it.

        Args:
            role: "producer" or "consumer".

        Raises:
            RoleTakenError: A live process has it.
        """

    def release(self, role: str) -> None:
        """Give a role back, if this process has it."""

    @staticmethod
    def create(name: str, n_slots: int, slot_bytes: int) -> FrameSegment:
        """
        Make a segment, readable by this user alone. A stale one of a dead process is replaced.

        Args:
            name: Letters, digits, '-', '_' and '.'.
            n_slots: Frames that may wait, a power of two.
            slot_bytes: Longest frame (bytes).

        Raises:
            SegmentInUseError: A live process has a segment of this name.
            SegmentFormatError: The geometry or the name is out of range.
            SegmentSystemError: The system refuses, for example for want of memory.
        """

    @property
    def memory(self) -> numpy.typing.NDArray[numpy.uint8]:
        """The ring, for `_ring.Producer` and `_ring.Consumer`, shape (n_bytes,)."""

class FrameWire:
    """What carries the frames of a `LinkCore`; see `native/frame_wire.hpp`."""

class Client(FrameWire):
    """
    The requesting side of a slot ring; one per ring, one thread at a time.
    """

    def __init__(self, ring: SlotRing, *, wait: str = 'adaptive', takeover_timeout_s: float = 1.0) -> None:
        """
        Become the producer of a ring, in place of a dead one.

        Args:
            ring: The ring; kept mapped by this object.
            wait: "busy", "yield", "adaptive" or "block". Busy needs a core of its own.
            takeover_timeout_s: How long the dispatcher may take to answer what a dead client left (s).

        Raises:
            RoleTakenError: A live client has the ring.
            PeerGoneError: A dead client left requests, and no dispatcher answers them.
        """

    def call(self, function_id: int, arguments: Buffer = b"", timeout_ns: int = 1000000000) -> tuple[int, bytes]:
        """
        Send a request and wait for its answer.

        Args:
            function_id: Of the function.
            arguments: Argument bytes.
            timeout_ns: How long to wait (ns).

        Returns:
            The status, and the result.

        Raises:
            CallTimeoutError: No answer came in time; a late one is dropped and counted.
            PeerGoneError: No live dispatcher serves the ring.
            FrameTooLongError: The arguments do not fit into a slot.
            ValueError: Answers to `send` have not been received.
        """

    def send(self, function_id: int, arguments: Buffer, *, timestamp_ns: int = 0, timeout_ns: int = 0) -> int | None:
        """
        Send a request without waiting for its answer.

        Args:
            function_id: Of the function.
            arguments: Argument bytes.
            timestamp_ns: Echoed in the answer (ns).
            timeout_ns: How long to wait for a free slot (ns).

        Returns:
            The number of the request; None when every slot stayed in use.

        Raises:
            PeerGoneError: No live dispatcher serves the ring.
            FrameTooLongError: The arguments do not fit into a slot.
        """

    def send_raw(self, frame: Buffer, *, timeout_ns: int = 0) -> bool:
        """
        Send bytes as they are, header included; for bridges and for tests of bad frames.

        Returns:
            False when every slot stayed in use.
        """

    def receive(self, timeout_ns: int = 0) -> tuple[int, int, bytes] | None:
        """
        Take the answer to the oldest request of `send`.

        Args:
            timeout_ns: How long to wait (ns).

        Returns:
            Number of the request, status and result; None when no answer came, or none is due.

        Raises:
            PeerGoneError: No live dispatcher serves the ring.
        """

    def receive_into(self, buffer: Buffer, timeout_ns: int = 0) -> bool:
        """
        Copy the slot that answers the oldest request, unchecked; for `send_raw`.

        Args:
            buffer: Writable, at least as long as an answer slot.
            timeout_ns: How long to wait (ns).

        Returns:
            False when no answer came.

        Raises:
            PeerGoneError: No live dispatcher serves the ring.
        """

    def counters(self) -> dict[str, int]:
        """What was sent and received, and what went wrong, by name."""

    @property
    def n_pending(self) -> int:
        """Requests whose answers have not been taken or dropped."""

    @property
    def max_arg_bytes(self) -> int:
        """Longest arguments (bytes)."""

    def close(self) -> None:
        """Give the role of the producer back."""

class LinkCore:
    """Requests in flight of one link, and its usual path in single calls."""

    def __init__(self, n_slots: int, slot_bytes: int, answer_type: type, *, exact: bool = False, first_sequence: int = 0) -> None:
        """
        Start a session.

        Args:
            n_slots: Requests in flight at most.
            slot_bytes: Longest frame (bytes).
            answer_type: `sessions.Answer`.
            exact: Whether frames arrive with their exact length.
            first_sequence: Number of the first request.
        """

    def attach(self, wire: FrameWire) -> None:
        """Send and receive through this from now on."""

    def detach(self) -> None:
        """
        There is no connection: `call`, `submit` and `collect` give None.

        Raises:
            LinkInUseError: One of them waits.
        """

    def call(self, function: str | int, arguments: Buffer, timeout_s: float, timestamp_ns: int) -> object:
        """
        Send a request and wait for its answer, where nothing else is in flight.

        Returns:
            The answer; the id of the request where it was sent and what came, or did not come, is out
            of the ordinary; None where nothing was sent.
        """

    def submit(self, function: str | int, arguments: Buffer, timeout_s: float, timestamp_ns: int) -> int | None:
        """
        Send a request.

        Returns:
            Its id; None where nothing was sent.
        """

    def collect(self, timeout_s: float) -> object:
        """
        Receive an answer.

        Returns:
            The answer; None where none came, what came is none of ours, or deadlines are to be looked at.
        """

    def open(self, deadline_ns: int = 0, function: str | int = "", timeout_s: float = 0.0) -> int | None:
        """Begin the next request; as `sessions.RequestWindow.open`."""

    def close(self, request_id: int) -> str:
        """Take an answer; the value of a `sessions.Match`."""

    def expired(self, now_ns: int) -> list[int]:
        """Give up the requests whose deadline has passed, oldest first."""

    def asked(self, request_id: int) -> tuple[str | int, float, int]:
        """
        Function, patience (s) and deadline (ns) of one of the last requests, as many as there are slots.
        """

    def take_count(self) -> int:
        """Answers that `call` and `collect` gave since this was asked last."""

    @property
    def n_open(self) -> int:
        """Requests in flight."""

    @property
    def n_free(self) -> int:
        """Requests that `open` takes now."""

class SlotPort:
    """
    The answering side of a slot ring for handlers in Python; one thread at a time.
    """

    def __init__(self, ring: SlotRing, *, wait: str = 'adaptive') -> None:
        """
        Become the consumer of a ring.

        Args:
            ring: The ring; kept mapped by this object.
            wait: "busy", "yield", "adaptive" or "block".

        Raises:
            RoleTakenError: Another dispatcher serves the ring.
        """

    def receive_into(self, buffer: Buffer, timeout_ns: int = 0) -> tuple[int, int] | None:
        """
        Copy the next request out of its slot.

        Args:
            buffer: Writable, at least as long as a request slot.
            timeout_ns: How long to wait, without the interpreter lock (ns).

        Returns:
            Session of the client and number of the slot; None when nothing came.
        """

    def answer(self, slot: int, frame: Buffer) -> None:
        """
        Answer a request, in any order; its slot is free then.

        Args:
            slot: From `receive_into`.
            frame: The whole answer.

        Raises:
            FrameTooLongError: It does not fit into a slot.
            ValueError: No request of this slot waits.
        """

    @property
    def n_slots(self) -> int:
        """Number of slots."""

    @property
    def n_stale(self) -> int:
        """Requests with the stamp of an earlier generation of their slot."""

    def close(self) -> None:
        """Give the role of the consumer back."""

class Session:
    """
    What a dispatcher remembers of one client; made by `Dispatcher.session`.
    """

    def reset(self) -> None:
        """Forget everything: another client has taken the place."""

class Dispatcher:
    """
    Answers requests by a table of compiled functions, without the interpreter lock.
    """

    def __init__(self, *, window: int = 0, session_bytes: int = 0, guard: bool = False, in_place: bool = False) -> None:
        """
        Make an empty table.

        Args:
            window: Requests per session within which a repeated one is answered again and not executed; 0 for none.
            session_bytes: Memory per session for stateful functions, zeroed for each new client (bytes).
            guard: Whether to check that functions stay within their result; costs a copy.
            in_place: Whether answers on a ring are remembered where they lie, in the place of `window`: the last n_slots - 1.
        """

    def add_builtin(self, name: str, *, deadline_ns: int = 0) -> None:
        """
        Register a function of the library.

        Args:
            name: "rpc_increment", "echo" or "occupation".
            deadline_ns: A later result is answered DEADLINE (ns); 0 for none.

        Raises:
            ValueError: The name is unknown or taken, or a ring is being served.
        """

    def add_address(self, name: str, address: int, *, stateful: bool = False, state: numpy.typing.NDArray[numpy.uint8] | None = None, min_arg_bytes: int = 0, max_arg_bytes: int = 4294967295, deadline_ns: int = 0, float64_result: bool = False, keep_alive: object = None) -> None:
        """
        Register a compiled function with CUDA-Q Realtime's DEVICE_CALL signature.

        Args:
            name: Its id is the hash of its name.
            address: Of `int f(const void* in, void* out, uint32_t arg_len, uint32_t max_result_len, uint32_t* result_len)`.
            stateful: Whether it takes a sixth argument, `void* state`.
            state: Writable bytes for it; None for the memory of the session.
            min_arg_bytes: Shorter arguments are answered BAD_REQUEST (bytes).
            max_arg_bytes: Longer ones, too (bytes).
            deadline_ns: A later result is answered DEADLINE (ns); 0 for none.
            float64_result: Whether a result that is not finite is answered INTERNAL_ERROR.
            keep_alive: What owns the code at `address`.

        Raises:
            ValueError: The id is taken, the address 0, or a ring is being served.
        """

    def add_look_up(self, name: str, table: numpy.typing.NDArray[numpy.uint8], syndrome_bits: int) -> None:
        """
        Register a decoder that looks corrections up.

        Args:
            name: Its id is the hash of its name.
            table: Corrections, shape (2**syndrome_bits, correction_bytes); kept, not copied.
            syndrome_bits: 1 to 24. Arguments are one or more packed syndromes.

        Raises:
            ValueError: The shape or `syndrome_bits` is wrong, or the id taken.
        """

    def set_python(self, call: type, header: type, reply: type, session: Callable[[int], object], report: Callable[[str, BaseException], None]) -> None:
        """
        Say what handlers in Python get and give.

        Args:
            call: `dispatch.Call`.
            header: `frame.RequestHeader`.
            reply: `dispatch.Reply`.
            session: Makes a session of the number of a client.
            report: Told the name of a function and what its handler raised.
        """

    def add_python(self, name: str, handler: Callable[[Any], object], *, min_arg_bytes: int = 0, max_arg_bytes: int = 4294967295, deadline_ns: int = 0, result_float_bytes: int = 0) -> None:
        """
        Register a handler in Python; the interpreter lock is taken for it alone.

        Args:
            name: Its id is the hash of its name.
            handler: As in `dispatch.Function`; it never pends.
            min_arg_bytes: Shorter arguments are answered BAD_REQUEST (bytes).
            max_arg_bytes: Longer ones, too (bytes).
            deadline_ns: A later result is answered DEADLINE (ns); 0 for none.
            result_float_bytes: 4 or 8 where a result of such floats that is not finite is answered INTERNAL_ERROR; 0 for any other result.

        Raises:
            ValueError: The id is taken, or a ring is being served.
        """

    def start(self, ring: SlotRing, *, wait: str = "adaptive", slot_bytes: int = 0) -> None:
        """
        Serve a ring on a thread of its own, until `stop`.

        Args:
            ring: The ring; this process becomes its consumer.
            wait: "busy", "yield", "adaptive" or "block".
            slot_bytes: Longest request and answer (bytes); 0 for a whole slot.

        Raises:
            RoleTakenError: Another dispatcher serves the ring.
        """

    def serve(self, ring: SlotRing, *, wait: str = 'adaptive', timeout_s: float = 1000000000000.0) -> None:
        """
        Serve a ring on the caller's thread.

        Args:
            ring: The ring; this process becomes its consumer.
            wait: "busy", "yield", "adaptive" or "block".
            timeout_s: For how long (s). Ctrl-C ends it earlier.

        Raises:
            RoleTakenError: Another dispatcher serves the ring.
        """

    def stop(self, drain: bool = True, timeout_s: float = 5.0) -> None:
        """
        Stop serving. Requests that wait are answered first.

        Args:
            drain: Whether by their functions; else with CANCELLED.
            timeout_s: How long to wait for a function that runs (s).

        Raises:
            HandlerStuckError: A function has not returned; the ring is taken until it does, and `stop` may be called again.
        """

    def session(self, frame_bytes: int, *, min_window: int = 0) -> Session:
        """
        Memory for one client of a byte transport.

        Args:
            frame_bytes: Longest request or answer (bytes).
            min_window: Requests to remember at least, on transports that repeat them.
        """

    def handle(self, session: Session, request: Buffer, response: Buffer, *, exact: bool = True) -> int:
        """
        Answer one request that came over any byte transport.

        Args:
            session: Of the client that sent it.
            request: What arrived.
            response: Writable, at least 24 bytes; not the memory of `request`.
            exact: Whether the transport delivers exact messages. Full-stride datagrams are longer than their frame.

        Returns:
            Length of the answer; 0 where none is possible (fewer than 24 bytes).
        """

    def counters(self) -> dict[str, int]:
        """Counts since construction, by the names of `counters.Counters`."""

    @property
    def running(self) -> str | None:
        """Name of the function that runs; None for none."""

    @property
    def session_bytes(self) -> int:
        """Memory per session for stateful functions (bytes)."""

    @property
    def window(self) -> int:
        """Requests remembered per session."""

    @property
    def is_running(self) -> bool:
        """Whether a ring or a socket is being served."""
