"""Records of loops: the raw shots with all decisions, and their replay.

A record is a recording of `coupler.record`, so it survives the death of the loop up to its last
whole entry. Channels:

| channel | content |
|---|---|
| 0 HEAD | JSON: format, n_bits, n_settings, block, seed, name, notes |
| 1 EXPERIMENT | JSON: run, and the fields of `Experiment` |
| 2 SHOTS | a shot batch (`FORMAT.md`), session = number of the run, as they arrived |
| 3 DECISION | u64 shots used in the run, u8 1 for stop |
| 4 OUTCOME | JSON: run, and the fields of `Outcome` |
| 5 END | JSON: status, n_told, n_faults, seconds, counters, and the total of all runs |

Numbers in JSON are written so that they are read back bit for bit.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.histogram import Histogram
from cudaq_target.coupler.loops.engine import LoopCost
from cudaq_target.coupler.loops.errors import LoopRecordError, ReplayError
from cudaq_target.coupler.loops.interface import Experiment
from cudaq_target.coupler.loops.machine_runs import Measured
from cudaq_target.coupler.payload import ShotBatch, read_shot_batch
from cudaq_target.coupler.record import RecordedFrame, Recorder, read_recording

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.intake import Intake
    from cudaq_target.coupler.loops.interface import Estimate, Outcome

    Words = NDArray[np.uint64]

HEAD, EXPERIMENT, SHOTS, DECISION, OUTCOME, END = range(6)
FORMAT: Final = "cudaq-target loop 1"
_DECISION: Final = struct.Struct("<QB")


class LoopRecorder(Closing):
    """Writes the record of a loop."""

    def __init__(
        self,
        path: Path | str,
        n_bits: int,
        n_settings: int,
        block: int,
        seed: int,
        name: str,
        notes: Mapping[str, object] | None = None,
    ) -> None:
        """Begin a record.

        Args:
            path: A new file.
            n_bits: Per shot.
            n_settings: Of the program.
            block: Shots between two decisions.
            seed: Of the loop.
            name: Of the loop.
            notes: What else its replay needs to know; plain data.

        Raises:
            RecordingError: The file exists.
        """
        self._recorder = Recorder(path)
        self._n_bits = n_bits
        self._run = 0
        self._n_shots = 0
        head = {
            "format": FORMAT,
            "n_bits": n_bits,
            "n_settings": n_settings,
            "block": block,
            "seed": seed,
            "name": name,
            "notes": dict(notes or {}),
        }
        self._write(HEAD, head)

    def begin(self, run: int, experiment: Experiment) -> None:
        """Record what was asked for."""
        self._run, self._n_shots = run, 0
        self._write(EXPERIMENT, {"run": run, **asdict(experiment)})

    def shots(self, rows: Words) -> None:
        """Record shots as they arrived, shape (n_shots, n_words)."""
        batch = ShotBatch(self._run, self._n_shots, self._n_bits, rows)
        self._n_shots += len(rows)
        self._recorder.write(batch.to_bytes(), SHOTS)

    def decision(self, n_used: int, *, stops: bool) -> None:
        """Record a decision after `n_used` shots of the run."""
        self._recorder.write(_DECISION.pack(n_used, stops), DECISION)

    def outcome(self, run: int, outcome: Outcome) -> None:
        """Record how a run went."""
        fields = asdict(outcome)
        del fields["experiment"]
        self._write(OUTCOME, {"run": run, **fields})

    def end(self, fields: dict[str, object]) -> None:
        """Record how the loop went."""
        self._write(END, fields)

    def close(self) -> None:
        """Write what waits to the disk."""
        self._recorder.close()

    def _write(self, channel: int, fields: dict[str, Any]) -> None:
        self._recorder.write(json.dumps(fields).encode(), channel)


class LoopRecord:
    """A record that is read; measures nothing, gives what was measured.

    Attributes:
        head: The fields of HEAD.
        end: The fields of END; empty where the loop died.
    """

    def __init__(self, path: Path | str) -> None:
        """Read the file.

        Raises:
            RecordingError: It is no recording.
            LoopRecordError: It is no record of a loop, or damaged within.
        """
        self._path = str(path)
        self._frames: list[tuple[int, bytes]] = []
        for item in read_recording(path):
            if not isinstance(item, RecordedFrame):
                break  # what the death of the loop left unfinished
            self._frames.append((item.channel, item.frame))
        if not self._frames or self._frames[0][0] != HEAD:
            raise LoopRecordError(self._path, "it does not begin with a head")
        self.head = self._fields(self._frames[0])
        if self.head.get("format") != FORMAT:
            raise LoopRecordError(self._path, f"its format is {self.head.get('format')!r}")
        ends = [frame for frame in self._frames if frame[0] == END]
        self.end = self._fields(ends[0]) if ends else {}
        self._place = 1
        self._decided: list[tuple[int, bool]] = []
        self._decided_now: list[tuple[int, bool]] = []
        self._outcome: dict[str, Any] = {}

    @property
    def notes(self) -> dict[str, Any]:
        """What the loop noted for its replay."""
        found = self.head.get("notes")
        return found if isinstance(found, dict) else {}

    @property
    def status(self) -> str:
        """How the loop ended; "cut" where it died."""
        return str(self.end.get("status", "cut"))

    def cost(self, total: Measured) -> LoopCost:
        """What the loop took.

        Args:
            total: Of the runs that were repeated, for a loop that died.
        """
        if not self.end:
            return LoopCost(total, 0, total.seconds, Histogram(), {})
        return LoopCost(
            Measured(**self.end["total"]),
            self.end["n_faults"],
            self.end["seconds"],
            Histogram(),
            self.end["counters"],
        )

    @property
    def n_told(self) -> int:
        """Of how many runs the policy learned."""
        n_outcomes = sum(channel == OUTCOME for channel, _ in self._frames)
        return int(self.end.get("n_told", n_outcomes))

    @property
    def has_run(self) -> bool:
        """Whether another whole run follows."""
        return any(channel == OUTCOME for channel, _ in self._frames[self._place :])

    def measure(self, experiment: Experiment, number: int, intake: Intake) -> Measured:
        """Give the shots of the next run to an intake.

        Raises:
            ReplayError: Something else was asked for, or decided.
        """
        fields = self._fields(self._next(EXPERIMENT))
        asked = {"run": number, **json.loads(json.dumps(asdict(experiment)))}
        if fields != asked:
            raise ReplayError(number, "the experiment", fields, asked)
        self._decided, self._decided_now = [], []
        for channel, frame in self._rest_of_run():
            if channel == SHOTS:
                batch = read_shot_batch(frame)
                if batch is None:
                    raise LoopRecordError(self._path, f"run {number} holds shots of no form")
                intake.take(batch.rows)
        outcome = self._fields(self._next(OUTCOME))
        intake.close()
        self._compare(number, outcome, intake)
        n_delivered = outcome["n_used"] + outcome["n_discarded"]
        return Measured(
            outcome["n_measured"],
            n_delivered,
            outcome["n_lost"],
            outcome["seconds"],
            outcome["machine_seconds"],
        )

    def shots(self, rows: Words) -> None:
        """See shots that arrive; as `intake.Watcher`: they are from here."""

    def block(
        self,
        intake: Intake,
        n_shots: int,  # noqa: ARG002 - the number is in the intake
        estimate: Estimate,  # noqa: ARG002 - compared at the end of the run
        *,
        stops: bool | None,
    ) -> None:
        """See a decision; as `intake.Watcher`."""
        if stops is not None:
            self._decided_now.append((intake.n_used, stops))

    def _compare(self, number: int, outcome: dict[str, Any], intake: Intake) -> None:
        if self._decided != self._decided_now:
            raise ReplayError(number, "the decisions", self._decided, self._decided_now)
        for name, now in (("n_used", intake.n_used), ("stopped", intake.stopped)):
            if outcome[name] != now:
                raise ReplayError(number, name, outcome[name], now)

    def check_estimate(self, number: int, estimate: Estimate) -> None:
        """Compare an estimate with the recorded one of this run, bit for bit.

        Raises:
            ReplayError: They differ.
        """
        recorded = self._outcome["estimate"]
        now = json.loads(json.dumps(asdict(estimate)))
        # Text, so that NaN equals NaN.
        if json.dumps(recorded) != json.dumps(now):
            raise ReplayError(number, "the estimate", recorded, now)

    def _rest_of_run(self) -> Iterator[tuple[int, bytes]]:
        while self._place < len(self._frames) and self._frames[self._place][0] != OUTCOME:
            channel, frame = self._frames[self._place]
            self._place += 1
            if channel == DECISION:
                n_used, stops = _DECISION.unpack(frame)
                self._decided.append((n_used, bool(stops)))
            else:
                yield channel, frame

    def _next(self, channel: int) -> tuple[int, bytes]:
        if self._place >= len(self._frames) or self._frames[self._place][0] != channel:
            raise LoopRecordError(self._path, f"entry {self._place} is no entry {channel}")
        frame = self._frames[self._place]
        self._place += 1
        if channel == OUTCOME:
            self._outcome = self._fields(frame)
        return frame

    def _fields(self, frame: tuple[int, bytes]) -> dict[str, Any]:
        try:
            fields = json.loads(frame[1])
        except ValueError as error:
            raise LoopRecordError(self._path, f"an entry is no JSON: {error}") from error
        if not isinstance(fields, dict):
            raise LoopRecordError(self._path, "an entry is no JSON object")
        return fields


def cost_fields(cost: LoopCost) -> dict[str, object]:
    """The fields of END that say what a loop took."""
    return {
        "n_faults": cost.n_faults,
        "seconds": cost.seconds,
        "counters": dict(cost.counters),
        "total": asdict(cost.total),
    }
