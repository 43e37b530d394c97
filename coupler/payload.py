"""What the bytes after a header hold: types of arguments, packed bits and batches of shots."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.frame import MAX_U32

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

BATCH_HEADER_BYTES: Final = 24
_BATCH: Final = struct.Struct("<QQII")
_MAX_U64: Final = 0xFFFF_FFFF_FFFF_FFFF


class PayloadType(IntEnum):
    """CUDA-Q Realtime's ids of argument types (u8)."""

    UINT8 = 0x10
    INT32 = 0x11
    INT64 = 0x12
    FLOAT32 = 0x13
    FLOAT64 = 0x14
    ARRAY_UINT8 = 0x20
    ARRAY_INT32 = 0x21
    ARRAY_FLOAT32 = 0x22
    ARRAY_FLOAT64 = 0x23
    BIT_PACKED = 0x30


_ELEMENT_BYTES: Final = {
    PayloadType.UINT8: 1,
    PayloadType.INT32: 4,
    PayloadType.INT64: 8,
    PayloadType.FLOAT32: 4,
    PayloadType.FLOAT64: 8,
    PayloadType.ARRAY_UINT8: 1,
    PayloadType.ARRAY_INT32: 4,
    PayloadType.ARRAY_FLOAT32: 4,
    PayloadType.ARRAY_FLOAT64: 8,
}


def argument_bytes(kind: PayloadType, n_elements: int = 1) -> int:
    """Length of one argument (bytes); arguments follow each other without padding.

    Args:
        kind: Its type.
        n_elements: Elements of an array, bits of `BIT_PACKED`.

    >>> argument_bytes(PayloadType.BIT_PACKED, 9)
    2
    """
    if kind is PayloadType.BIT_PACKED:
        return packed_bytes(n_elements)
    return n_elements * _ELEMENT_BYTES[kind]


def packed_bytes(n_bits: int) -> int:
    """Bytes that `n_bits` packed bits take."""
    return (n_bits + 7) // 8


def pack_bits(bits: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """Pack bits, least significant first; unused bits of the last byte are 0.

    Args:
        bits: Zeros and ones, shape (n_bits,).

    >>> pack_bits(np.array([0, 1, 0, 0, 0, 0, 0, 0, 1], dtype=np.uint8)).hex()
    '0201'
    """
    return np.packbits(bits, bitorder="little").tobytes()


def unpack_bits(packed: Buffer, n_bits: int) -> NDArray[np.uint8]:
    """Undo `pack_bits`.

    Args:
        packed: At least `packed_bytes(n_bits)` bytes; what follows the bits is ignored.
        n_bits: Bits to read.

    Returns:
        Zeros and ones, shape (n_bits,).
    """
    whole = np.frombuffer(memoryview(packed), dtype=np.uint8, count=packed_bytes(n_bits))
    return np.unpackbits(whole, count=n_bits, bitorder="little")


@dataclass(frozen=True, slots=True)
class ShotBatch:
    """Consecutive shots of one stream, as they cross the link.

    Attributes:
        session: The stream.
        first_shot_id: Number of the first shot in the stream; the others follow.
        n_qubits: Measured bits per shot.
        rows: Packed shots, shape (n_shots, ceil(n_qubits / 64)); bit k of a row is qubit k, least
            significant first.
    """

    session: int
    first_shot_id: int
    n_qubits: int
    rows: NDArray[np.uint64]

    @property
    def n_shots(self) -> int:
        """Shots in this batch."""
        return len(self.rows)

    @property
    def end_shot_id(self) -> int:
        """Number after the last shot."""
        return self.first_shot_id + len(self.rows)

    def to_bytes(self) -> bytes:
        """The wire form: header {session, first shot, n_shots, n_qubits} and the rows."""
        head = _BATCH.pack(self.session, self.first_shot_id, self.n_shots, self.n_qubits)
        return head + self.rows.astype("<u8", copy=False).tobytes()

    def since(self, shot_id: int) -> ShotBatch:
        """The part that starts with `shot_id`, which lies inside the batch or at its end."""
        if shot_id <= self.first_shot_id:
            return self
        kept = self.rows[shot_id - self.first_shot_id :]
        return ShotBatch(self.session, shot_id, self.n_qubits, kept)

    def split(self, n_shots: int) -> tuple[ShotBatch, ShotBatch]:
        """The first `n_shots` shots, and the rest."""
        middle = self.first_shot_id + n_shots
        head = ShotBatch(self.session, self.first_shot_id, self.n_qubits, self.rows[:n_shots])
        return head, ShotBatch(self.session, middle, self.n_qubits, self.rows[n_shots:])


def row_words(n_qubits: int) -> int:
    """64-bit words per packed shot."""
    return (n_qubits + 63) // 64


def shots_that_fit(n_qubits: int, payload_bytes: int) -> int:
    """Most shots of `n_qubits` bits that one batch of `payload_bytes` holds."""
    return max(0, payload_bytes - BATCH_HEADER_BYTES) // max(8, 8 * row_words(n_qubits))


def read_shot_batch(payload: Buffer) -> ShotBatch | None:
    """Read the wire form of a batch; the rows are a view of `payload`.

    Args:
        payload: Exactly one batch.

    Returns:
        The batch; None where the length disagrees with the header, or where a bit beyond
        `n_qubits` is set.
    """
    view = memoryview(payload)
    if view.nbytes < BATCH_HEADER_BYTES:
        return None
    session, first_shot_id, n_shots, n_qubits = _BATCH.unpack_from(view)
    n_words = row_words(n_qubits)
    if view.nbytes != BATCH_HEADER_BYTES + 8 * n_shots * n_words:
        return None
    if first_shot_id + n_shots > _MAX_U64 or (n_qubits == 0 and n_shots > 0):
        return None
    rows = np.frombuffer(view, dtype="<u8", offset=BATCH_HEADER_BYTES).reshape(n_shots, n_words)
    spare = 64 * n_words - n_qubits
    if spare and n_shots and int(rows[:, -1].max()) >> (64 - spare):
        return None
    return ShotBatch(session, first_shot_id, n_qubits, rows.astype(np.uint64, copy=False))


def shot_batch(
    session: int, first_shot_id: int, n_qubits: int, rows: NDArray[np.uint64]
) -> ShotBatch:
    """Make a batch from packed rows, checked.

    Args:
        session: The stream.
        first_shot_id: Number of the first shot.
        n_qubits: Measured bits per shot, at least 1.
        rows: Packed shots, shape (n_shots, ceil(n_qubits / 64)).

    Raises:
        ValueError: The shape disagrees with `n_qubits`, or a bit beyond `n_qubits` is set.
    """
    if not 0 < n_qubits <= MAX_U32 or rows.ndim != 2 or rows.shape[1] != row_words(n_qubits):
        message = (
            f"rows of shape {rows.shape} do not hold shots of {n_qubits} qubits; "
            f"expected (n_shots, {row_words(n_qubits)})"
        )
        raise ValueError(message)
    spare = 64 * row_words(n_qubits) - n_qubits
    if spare and len(rows) and int(rows[:, -1].max()) >> (64 - spare):
        message = f"a shot sets a bit beyond qubit {n_qubits - 1}; unused bits of a row are 0"
        raise ValueError(message)
    return ShotBatch(session, first_shot_id, n_qubits, np.ascontiguousarray(rows))
