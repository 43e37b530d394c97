"""Frames of the wire protocol: CUDA-Q Realtime's 24-byte request and response headers.

`FORMAT.md` beside this file is the specification. Reading a frame never raises: it gives a header,
or a `Refusal` that says what to answer and what to count.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from cudaq_target.coupler.errors import FrameTooLongError

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEADER_BYTES: Final = 24
REQUEST_MAGIC: Final = 0x43555152
RESPONSE_MAGIC: Final = 0x43555153
MAX_U32: Final = 0xFFFF_FFFF

_REQUEST: Final = struct.Struct("<IIIIQ")
_RESPONSE: Final = struct.Struct("<IiIIQ")


class Status(IntEnum):
    """First word of an answer: 0 done, above 0 refused by the handler, below 0 by the protocol.

    0 to 6 and -1 are CUDA-Q Realtime's; the others are ours. `native/frame.hpp` holds the same.
    """

    OK = 0
    INVALID_DECODER = 1
    BAD_REQUEST = 2
    INTERNAL_ERROR = 3
    NOT_READY = 4
    BUSY = 5
    SYNDROMES_DROPPED = 6
    UNKNOWN_FUNCTION = -1
    BAD_LENGTH = -2
    BAD_FRAME = -3
    DEADLINE = -4
    CANCELLED = -5


# Named tuples and not dataclasses: one is made per frame, and a tuple costs a third.
class RequestHeader(NamedTuple):
    """Header of a request that passed every check.

    Attributes:
        function_id: `function_id` of the name of the function.
        arg_len: Length of the arguments (bytes).
        request_id: The client's number of the request, echoed in the answer.
        timestamp_ns: The client's stamp (ns), 0 if unused, echoed in the answer.
    """

    function_id: int
    arg_len: int
    request_id: int
    timestamp_ns: int


class ResponseHeader(NamedTuple):
    """Header of an answer that passed every check.

    Attributes:
        status: A `Status`, or another number from a foreign server.
        result_len: Length of the result (bytes).
        request_id: Number of the request that is answered.
        timestamp_ns: The stamp of the request (ns).
    """

    status: int
    result_len: int
    request_id: int
    timestamp_ns: int


class Refusal(NamedTuple):
    """Why a frame is not handled.

    Attributes:
        status: What to answer; None where the frame is too short to hold a request id.
        counter: Name of the counter in `counters.Counters` that it raises.
        request_id: To echo (0 where there is none).
        timestamp_ns: To echo (ns).
    """

    status: Status | None
    counter: str
    request_id: int
    timestamp_ns: int


def function_id(name: str) -> int:
    """Hash the name of a function into its id, by FNV-1a with 32 bits.

    >>> hex(function_id("rpc_increment"))
    '0x191b6322'
    """
    value = 0x811C9DC5
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & MAX_U32
    return value


def write_request_header(
    buffer: Buffer, function: int, arg_len: int, request_id: int, timestamp_ns: int = 0
) -> None:
    """Write the 24 bytes in front of arguments that already lie, or will lie, at offset 24.

    Args:
        buffer: Writable, at least 24 bytes.
        function: The `function_id`.
        arg_len: Length of the arguments (bytes).
        request_id: The client's number of the request, below 2^32.
        timestamp_ns: The client's stamp (ns).
    """
    _REQUEST.pack_into(buffer, 0, REQUEST_MAGIC, function, arg_len, request_id, timestamp_ns)


def write_response_header(
    buffer: Buffer, status: int, result_len: int, request_id: int, timestamp_ns: int
) -> None:
    """Write the 24 bytes in front of a result at offset 24; `request_id` and stamp are echoes.

    Args:
        buffer: Writable, at least 24 bytes.
        status: A `Status`.
        result_len: Length of the result (bytes).
        request_id: As in the request.
        timestamp_ns: As in the request (ns).
    """
    _RESPONSE.pack_into(buffer, 0, RESPONSE_MAGIC, status, result_len, request_id, timestamp_ns)


def request_frame(
    function: int, arguments: Buffer = b"", request_id: int = 0, timestamp_ns: int = 0
) -> bytes:
    """Build a whole request.

    Args:
        function: The `function_id`.
        arguments: Argument bytes.
        request_id: The client's number of the request, below 2^32.
        timestamp_ns: The client's stamp (ns).

    Returns:
        The header and the arguments.

    Raises:
        FrameTooLongError: The arguments are longer than the header can say.
    """
    body = bytes(arguments)
    _check_length(body)
    head = _REQUEST.pack(REQUEST_MAGIC, function, len(body), request_id, timestamp_ns)
    return head + body


def response_frame(
    status: int, result: Buffer = b"", request_id: int = 0, timestamp_ns: int = 0
) -> bytes:
    """Build a whole answer.

    Args:
        status: A `Status`.
        result: Result bytes.
        request_id: As in the request.
        timestamp_ns: As in the request (ns).

    Returns:
        The header and the result.

    Raises:
        FrameTooLongError: The result is longer than the header can say.
    """
    body = bytes(result)
    _check_length(body)
    return _RESPONSE.pack(RESPONSE_MAGIC, status, len(body), request_id, timestamp_ns) + body


def read_request(
    frame: Buffer, n_bytes: int, slot_bytes: int, *, exact: bool = True
) -> RequestHeader | Refusal:
    """Check the header of a request before anything else is done with it.

    Args:
        frame: Holds the frame from its first byte on.
        n_bytes: Bytes that arrived; at most the length of `frame`.
        slot_bytes: Longest frame that the server takes (bytes).
        exact: Whether the transport delivers exact messages (ZeroMQ). Full-stride datagrams and
            ring slots are longer than their frame.

    Returns:
        The header, or why the frame is refused.
    """
    if n_bytes < HEADER_BYTES:
        return Refusal(None, "truncated", 0, 0)
    magic, function, arg_len, request_id, timestamp_ns = _REQUEST.unpack_from(frame)
    if magic != REQUEST_MAGIC:
        return Refusal(Status.BAD_FRAME, "bad_magic", request_id, timestamp_ns)
    if _wrong_length(arg_len, n_bytes, slot_bytes, exact=exact):
        return Refusal(Status.BAD_LENGTH, "bad_length", request_id, timestamp_ns)
    return RequestHeader(function, arg_len, request_id, timestamp_ns)


def read_response(
    frame: Buffer, n_bytes: int, slot_bytes: int, *, exact: bool = True
) -> ResponseHeader | Refusal:
    """Check the header of an answer; arguments and result as for `read_request`."""
    if n_bytes < HEADER_BYTES:
        return Refusal(None, "truncated", 0, 0)
    magic, status, result_len, request_id, timestamp_ns = _RESPONSE.unpack_from(frame)
    if magic != RESPONSE_MAGIC:
        return Refusal(Status.BAD_FRAME, "bad_magic", request_id, timestamp_ns)
    if _wrong_length(result_len, n_bytes, slot_bytes, exact=exact):
        return Refusal(Status.BAD_LENGTH, "bad_length", request_id, timestamp_ns)
    return ResponseHeader(status, result_len, request_id, timestamp_ns)


def _wrong_length(body_bytes: int, n_bytes: int, slot_bytes: int, *, exact: bool) -> bool:
    frame_bytes = HEADER_BYTES + body_bytes
    return frame_bytes > slot_bytes or (frame_bytes != n_bytes if exact else frame_bytes > n_bytes)


def _check_length(body: bytes) -> None:
    if len(body) > MAX_U32:
        raise FrameTooLongError(HEADER_BYTES + len(body), HEADER_BYTES + MAX_U32)
