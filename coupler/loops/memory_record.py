"""Records of memory experiments: every frame as it was sent and came, and their replay.

A recording of `coupler.record` with the requests on channel `REQUESTS`, stamped when the round was
sent, the answers on `ANSWERS`, stamped when they had come, and JSON on channel `NOTES`: the
settings first, later the shots that faults cost.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.coupler.errors import MemoryExperimentError, RecordingError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    RequestHeader,
    ResponseHeader,
    function_id,
    read_request,
    read_response,
    request_frame,
    response_frame,
)
from cudaq_target.coupler.loops.memory_code import MemoryCode
from cudaq_target.coupler.loops.memory_result import (
    LOST,
    NEVER,
    MemoryResult,
    MemoryTrace,
    judged,
)
from cudaq_target.coupler.record import (
    ANSWERS,
    REQUESTS,
    Damage,
    Durability,
    RecordedFrame,
    Recorder,
    read_recording,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cudaq_target.coupler.sessions import Answer

NOTES: Final = 2
FORMAT: Final = "cudaq-target memory experiment"
_ENQUEUE: Final = function_id("enqueue_syndromes")
_GET: Final = function_id("get_corrections")
_ENQUEUE_HEAD: Final = 32


class MemoryRecorder:
    """Writes the record of a run; nothing reaches the disk while a round is under way."""

    def __init__(self, path: Path | str) -> None:
        """Begin a record.

        Raises:
            RecordingError: The file exists.
        """
        self._recorder = Recorder(path, durability=Durability.BUFFERED)

    def settings(self, trace: MemoryTrace, confidence: float) -> None:
        """Write what the run is about."""
        note = {
            "format": FORMAT,
            "code": asdict(trace.code),
            "seed": trace.seed,
            "cadence_ns": trace.cadence_ns,
            "deadline_ns": trace.deadline_ns,
            "start_ns": trace.start_ns,
            "confidence": confidence,
        }
        self._note(note, trace.start_ns)

    def round(self, calls: Sequence[tuple[str, bytes, Answer]], sent_ns: int, done_ns: int) -> None:
        """Write the calls of a round, with their answers."""
        for function, arguments, answer in calls:
            frame = request_frame(function_id(function), arguments, answer.request_id)
            self._recorder.write(frame, REQUESTS, sent_ns)
        for _, _, answer in calls:
            frame = response_frame(answer.status, answer.result, answer.request_id, 0)
            self._recorder.write(frame, ANSWERS, done_ns)

    def lost(self, shot: int, bits: bytes, error: BaseException, stamp_ns: int) -> None:
        """Write that a shot was lost in the round after the last one written; bits are packed."""
        reason = f"{type(error).__name__}: {error}"
        note = {"lost": shot, "bits": bits.hex(), "error": reason}
        self._note(note, stamp_ns)

    def flush(self) -> None:
        """Hand what was written to the kernel."""
        self._recorder.flush()

    def close(self) -> None:
        """End the record."""
        self._recorder.close()

    def _note(self, content: dict[str, Any], stamp_ns: int) -> None:
        self._recorder.write(json.dumps(content).encode(), NOTES, stamp_ns)


def replay_memory(path: Path | str) -> MemoryResult:
    """Repeat a run from its record: the same rounds, the same times, decoded anew in this process.

    Args:
        path: Written by `memory_experiment(record=…)`; one that was cut short is replayed as far as
            its last whole shot.

    Returns:
        Equal to the result of the run, but for `server` and `counters`.

    Raises:
        RecordingError: The file is no record of a memory experiment.
        MemoryExperimentError: A decoder of this version corrects otherwise than the record says.
    """
    frames = [item for item in read_recording(path) if not isinstance(item, Damage)]
    if not frames or frames[0].channel != NOTES:
        reason = "it does not begin with the settings of a memory experiment"
        raise RecordingError(str(path), reason, "Name a record of `loop memory`")
    settings = json.loads(frames[0].frame)
    if settings.get("format") != FORMAT:
        raise RecordingError(str(path), f"its format is {settings.get('format')!r}", "Use another")
    result = judged(_trace_of(settings, frames[1:]), confidence=settings["confidence"])
    if result.n_disagreements:
        reason = f"{result.n_disagreements} of {result.n_shots} corrections are others today"
        remedy = "Replay it with the version that wrote it"
        raise MemoryExperimentError(f"record {path}", reason, remedy)
    return result


def _trace_of(settings: dict[str, Any], frames: Sequence[RecordedFrame]) -> MemoryTrace:
    code = _code_of(settings["code"])
    reader = _ShotReader(code)
    for item in frames:
        reader.take(item)
    shape = (len(reader.corrections), code.n_rounds)
    return MemoryTrace(
        code=code,
        seed=settings["seed"],
        cadence_ns=settings["cadence_ns"],
        deadline_ns=settings["deadline_ns"],
        start_ns=settings["start_ns"],
        bits=np.array(reader.bits, dtype=np.uint8).reshape(shape[0], code.n_bits),
        corrections=np.array(reader.corrections, dtype=np.uint8),
        sent_ns=np.array(reader.sent_ns, dtype=np.int64).reshape(shape),
        done_ns=np.array(reader.done_ns, dtype=np.int64).reshape(shape),
    )


def _code_of(fields: dict[str, Any]) -> MemoryCode:
    lists = ("bits_per_round", "logical")
    return MemoryCode(**fields | {name: tuple(fields[name]) for name in lists})


class _ShotReader:
    """Puts frames together to shots."""

    def __init__(self, code: MemoryCode) -> None:
        self._code = code
        self.bits: list[NDArray[np.uint8]] = []
        self.corrections: list[int] = []
        self.sent_ns: list[list[int]] = []
        self.done_ns: list[list[int]] = []
        self._asked: dict[int, int] = {}
        self._begin()

    def take(self, item: RecordedFrame) -> None:
        """Take the next frame."""
        n_bytes = len(item.frame)
        if item.channel == NOTES:
            self._lose(json.loads(item.frame))
        elif item.channel == REQUESTS:
            header = read_request(item.frame, n_bytes, n_bytes)
            if isinstance(header, RequestHeader):
                self._asked[header.request_id] = header.function_id
                if header.function_id == _ENQUEUE:
                    self._add_round(item)
        elif item.channel == ANSWERS:
            answer = read_response(item.frame, n_bytes, n_bytes)
            if isinstance(answer, ResponseHeader):
                self._add_answer(self._asked.pop(answer.request_id, 0), item)

    def _begin(self) -> None:
        self._measured: list[NDArray[np.uint8]] = []
        self._sent: list[int] = []
        self._done: list[int] = []

    def _add_round(self, item: RecordedFrame) -> None:
        n_bits = self._code.bits_per_round[len(self._measured)]
        packed = np.frombuffer(item.frame[HEADER_BYTES + _ENQUEUE_HEAD :], dtype=np.uint8)
        self._measured.append(np.unpackbits(packed, count=n_bits, bitorder="little"))
        self._sent.append(item.stamp_ns)

    def _add_answer(self, function: int, item: RecordedFrame) -> None:
        if function == _ENQUEUE:
            self._done.append(item.stamp_ns)
        elif function == _GET:
            self._end(np.concatenate(self._measured), item.frame[HEADER_BYTES] & 1)

    def _lose(self, note: dict[str, Any]) -> None:
        packed = np.frombuffer(bytes.fromhex(note["bits"]), dtype=np.uint8)
        bits = np.unpackbits(packed, count=self._code.n_bits, bitorder="little")
        left = self._code.n_rounds - len(self._sent)
        self._sent += [NEVER] * left
        self._done += [NEVER] * left
        self._end(bits, LOST)

    def _end(self, bits: NDArray[np.uint8], correction: int) -> None:
        self.bits.append(bits)
        self.corrections.append(correction)
        self.sent_ns.append(self._sent)
        self.done_ns.append(self._done)
        self._begin()
