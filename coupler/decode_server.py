"""The decode-server calls: syndromes in, corrections out, errors latched until a reset."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cudaq_target.coupler.dispatch import BAD_REQUEST, OK, Call, Function, Reply
from cudaq_target.coupler.errors import DecoderCountError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.payload import pack_bits, packed_bytes, unpack_bits

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
MAX_DECODERS: Final = 32
MAX_SYNDROME_BITS: Final = 1 << 20
N_COUNTERS_KEPT: Final = 4096

_ENQUEUE: Final = struct.Struct("<qqqq")
_GET: Final = struct.Struct("<qqB")
_RESET: Final = struct.Struct("<q")


class Decoder(Protocol):
    """What turns the measured bits of one shot into flips of observables."""

    @property
    def n_measurements(self) -> int:
        """Bits that make one shot complete."""

    @property
    def n_observables(self) -> int:
        """Bits of a correction."""

    def decode(self, measurements: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Decode one shot.

        Args:
            measurements: Zeros and ones, shape (n_measurements,).

        Returns:
            Zeros and ones, shape (n_observables,).
        """


class DecoderState(Enum):
    """Where a decoder is in its cycle."""

    COLLECTING = "collecting"
    RESULT_READY = "result ready"
    FAILED = "failed"


@dataclass(slots=True)
class _Unit:
    """A decoder with what it has collected; the servers of several endpoints may share it."""

    decoder: Decoder
    bits: NDArray[np.uint8]
    corrections: NDArray[np.uint8]
    lock: threading.Lock = field(default_factory=threading.Lock)
    n_calls: int = 0
    n_bits: int = 0
    state: DecoderState = DecoderState.COLLECTING
    counters: dict[tuple[Hashable, int], None] = field(default_factory=dict)

    def clear_corrections(self) -> None:
        self.corrections[:] = 0
        self.state = DecoderState.COLLECTING

    def reset(self) -> None:
        self.clear_corrections()
        self.n_bits = 0
        self.counters.clear()

    def is_repeat(self, session: Hashable, counter: int) -> bool:
        """Whether this round was enqueued before; counter 0 numbers nothing."""
        if counter == 0:
            return False
        key = (session, counter)
        if key in self.counters:
            return True
        self.counters[key] = None
        if len(self.counters) > N_COUNTERS_KEPT:
            del self.counters[next(iter(self.counters))]
        return False

    def collect(self, bits: NDArray[np.uint8]) -> None:
        """Add a round; the one that completes a shot decodes it."""
        if self.n_bits + len(bits) > len(self.bits):
            self.state = DecoderState.FAILED
            return
        self.state = DecoderState.COLLECTING  # a round after a result belongs to the next shot
        self.bits[self.n_bits : self.n_bits + len(bits)] = bits
        self.n_bits += len(bits)
        if self.n_bits < len(self.bits):
            return
        self.n_bits = 0
        try:
            self.corrections ^= self.decoder.decode(self.bits)
        except Exception:  # noqa: BLE001 - decoders are foreign code
            # Latched like every error of an enqueue; `get_corrections` reports it.
            _LOG.exception("a decoder failed; it takes no syndromes until it is reset")
            self.state = DecoderState.FAILED
        else:
            self.state = DecoderState.RESULT_READY


class DecodeServer:
    """Decoders behind `enqueue_syndromes`, `get_corrections` and `reset_decoder`.

    Its functions may be served at several endpoints at once, each from its own thread.
    """

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        """Number the decoders from 0.

        Args:
            decoders: At most 32.

        Raises:
            DecoderCountError: There are more.
        """
        if len(decoders) > MAX_DECODERS:
            raise DecoderCountError(len(decoders), MAX_DECODERS)
        self._units = [
            _Unit(
                decoder,
                bits=np.zeros(decoder.n_measurements, dtype=np.uint8),
                corrections=np.zeros(decoder.n_observables, dtype=np.uint8),
            )
            for decoder in decoders
        ]

    def state(self, decoder_id: int) -> DecoderState:
        """Where decoder `decoder_id` is in its cycle."""
        return self._units[decoder_id].state

    @property
    def n_decoders(self) -> int:
        """How many decoders there are."""
        return len(self._units)

    def n_calls(self, decoder_id: int) -> int:
        """Calls that decoder `decoder_id` got so far, repeats not counted."""
        return self._units[decoder_id].n_calls

    def functions(self) -> tuple[Function, ...]:
        """The three rows of the function table."""
        longest = _ENQUEUE.size + packed_bytes(MAX_SYNDROME_BITS)
        return (
            Function("enqueue_syndromes", self._enqueue, _ENQUEUE.size, longest),
            Function("get_corrections", self._get_corrections, _GET.size, _GET.size),
            Function("reset_decoder", self._reset, _RESET.size, _RESET.size),
        )

    def _unit(self, decoder_id: int) -> _Unit | None:
        return self._units[decoder_id] if 0 <= decoder_id < len(self._units) else None

    def _enqueue(self, call: Call) -> Reply:
        decoder_id, counter, mapping_id, n_bits = _ENQUEUE.unpack_from(call.arguments)
        unit = self._unit(decoder_id)
        if unit is None:
            return Reply(Status.INVALID_DECODER)
        with unit.lock:
            unit.n_calls += 1
            if mapping_id != 0:
                return BAD_REQUEST
            if not 1 <= n_bits <= MAX_SYNDROME_BITS:
                unit.state = DecoderState.FAILED
                return BAD_REQUEST
            if len(call.arguments) != _ENQUEUE.size + packed_bytes(n_bits):
                return BAD_REQUEST
            if unit.state is DecoderState.FAILED:
                return OK  # latched: `get_corrections` reports it
            if not unit.is_repeat(call.session.peer, counter):
                unit.collect(unpack_bits(call.arguments[_ENQUEUE.size :], n_bits))
            return OK

    def _get_corrections(self, call: Call) -> Reply:
        decoder_id, n_bits, reset = _GET.unpack_from(call.arguments)
        unit = self._unit(decoder_id)
        if unit is None:
            return Reply(Status.INVALID_DECODER)
        with unit.lock:
            unit.n_calls += 1
            if n_bits != len(unit.corrections):
                return BAD_REQUEST
            if unit.state is DecoderState.FAILED:
                return Reply(Status.INTERNAL_ERROR)
            if unit.state is not DecoderState.RESULT_READY:
                return Reply(Status.NOT_READY)
            packed = pack_bits(unit.corrections)
            if len(packed) > len(call.result):
                return BAD_REQUEST
            call.result[: len(packed)] = packed
            if reset:
                unit.clear_corrections()
            return Reply(Status.OK, len(packed))

    def _reset(self, call: Call) -> Reply:
        (decoder_id,) = _RESET.unpack_from(call.arguments)
        unit = self._unit(decoder_id)
        if unit is None:
            return Reply(Status.INVALID_DECODER)
        with unit.lock:
            unit.n_calls += 1
            unit.reset()
            return OK


def enqueue_arguments(decoder_id: int, counter: int, bits: NDArray[np.uint8]) -> bytes:
    """Arguments of `enqueue_syndromes`.

    Args:
        decoder_id: From 0.
        counter: Number of the round, usually `(shot << 16) | round`; 0 for none.
        bits: Zeros and ones, shape (n_bits,).
    """
    return enqueue_packed(decoder_id, counter, len(bits), pack_bits(bits))


def enqueue_packed(decoder_id: int, counter: int, n_bits: int, packed: bytes) -> bytes:
    """Arguments of `enqueue_syndromes` for bits that are packed already, bit 0 first."""
    return _ENQUEUE.pack(decoder_id, counter, 0, n_bits) + packed


def get_corrections_arguments(decoder_id: int, n_observables: int, *, reset: bool) -> bytes:
    """Arguments of `get_corrections`.

    Args:
        decoder_id: From 0.
        n_observables: Bits of the correction.
        reset: Whether to clear the corrections once they are read.
    """
    return _GET.pack(decoder_id, n_observables, reset)


def reset_arguments(decoder_id: int) -> bytes:
    """Arguments of `reset_decoder`."""
    return _RESET.pack(decoder_id)
