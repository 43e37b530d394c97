"""A memory experiment in real time: rounds of syndromes on a cadence, a decode server, deadlines.

This process is the controller: it sends round k of the experiment at start + k * cadence, whatever
became of the rounds before, and reads the correction of a shot with its last round. The decode
server is another process, and stays that way: corrections come over the link or not at all.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.decode_server import (
    enqueue_arguments,
    enqueue_packed,
    get_corrections_arguments,
    reset_arguments,
)
from cudaq_target.coupler.errors import CouplerError, MemoryExperimentError, RemoteCallError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.histogram import Histogram
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import LinkError
from cudaq_target.coupler.loops.decoder_process import DecoderProcess, DecoderSettings
from cudaq_target.coupler.loops.events import BATCHES_PER_S, EventFile, Reporter, Sink
from cudaq_target.coupler.loops.interface import Estimate, LoopResult
from cudaq_target.coupler.loops.memory_code import (
    MemoryCode,
    logical_bits,
    memory_code,
    sample_shots,
)
from cudaq_target.coupler.loops.memory_record import MemoryRecorder
from cudaq_target.coupler.loops.memory_result import (
    LOST,
    NEVER,
    MemoryResult,
    MemoryTrace,
    judged,
)
from cudaq_target.coupler.loops.pacing import Cadence, undisturbed, wait_until
from cudaq_target.coupler.transports.interface import WAITS, TransportOptions
from cudaq_target.kernels.intervals import bernoulli_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.link import Answer, Link
    from cudaq_target.coupler.security import ClientSecurity

    Bits = NDArray[np.uint8]

_LEAD_NS: Final = 20_000_000
_REPORT_NS: Final = int(1e9 / BATCHES_PER_S)
_SLACK_NS: Final = 500_000  # reports and writes to disk need this much until the next round
_TRY_AGAIN_S: Final = 0.01
_LOST_IN_A_ROW: Final = 3
_N_WARM_SHOTS: Final = 20


@dataclass(frozen=True, slots=True)
class Server:
    """Where and how a memory experiment is decoded.

    Attributes:
        endpoint: Of a decode server that runs already, with `MemoryCode.config`; None to start one
            over shared memory, which ends with the experiment.
        decoder_id: Of the decoder behind `endpoint`.
        is_native: Whether the server that is started runs as machine code; None where it can
            (PyMatching cannot).
        wait: How both ends wait on shared memory; "busy" wants a core for each.
        cores: The core of this process and that of the server that is started, both pinned.
        priority: Real-time priority of this thread and of the server that is started, 1 to 99; the
            system must allow it. None for none. For waits that sleep: "adaptive" or "block".
        timeout_s: An answer that takes longer costs the shot (s).
        patience_s: How long a server may be gone before the experiment fails (s).
        security: Keys, where the endpoint wants them.
    """

    endpoint: str | None = None
    decoder_id: int = 0
    is_native: bool | None = None
    wait: str = "adaptive"
    cores: tuple[int, int] | None = None
    priority: int | None = None
    timeout_s: float = 1.0
    patience_s: float = 5.0
    security: ClientSecurity | None = None

    def __post_init__(self) -> None:
        if self.wait not in WAITS:
            reason = f"{self.wait!r} is unknown"
            raise MemoryExperimentError("wait", reason, f"Use {', '.join(WAITS)}")


def memory_experiment(
    code: str | MemoryCode = "repetition",
    distance: int = 3,
    rounds: int | None = None,
    p: float = 0.01,
    shots: int = 1000,
    cadence_s: float = 1e-3,
    decoder: str = "union_find",
    endpoint: str | None = None,
    *,
    deadline_s: float | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    server: Server | None = None,
    events: str | Path | Sink | None = None,
    record: str | Path | None = None,
) -> MemoryResult:
    """Keep a logical bit while a decode server in another process corrects it in real time.

    Args:
        code: "repetition", "surface", or what `memory_code` made; then the next two, `p` and
            `decoder` are those of it.
        distance: Of the code, odd, at least 3.
        rounds: Rounds of checks per shot; the distance by default. The data qubits are one more.
        p: Probability of each kind of circuit noise.
        shots: How many.
        cadence_s: From one round to the next (s), through all shots without a pause.
        decoder: "union_find", "lookup" or "pymatching".
        endpoint: Of a decode server that runs; None to start one. Short for `server`.
        deadline_s: From when a round is due to its answer (s); the cadence by default.
        seed: Of the noise.
        confidence: Of the intervals.
        server: More about where it is decoded.
        events: A file, or a function, that takes what happens (`loops.events`).
        record: A new file for `replay_memory`.

    Returns:
        Errors, deadlines, latencies.

    Raises:
        MemoryExperimentError: An argument is out of range.
        DecoderProcessError: The server that was started ended.
        LinkError: The server stayed away for longer than `Server.patience_s`.
        RemoteCallError: The server refuses what it is asked.
        RecordingError: `record` exists.
    """
    made = code if isinstance(code, MemoryCode) else memory_code(code, distance, rounds, p, decoder)
    place = server or Server()
    if endpoint is not None:
        place = replace(place, endpoint=endpoint)
    trace = _empty_trace(made, shots, seed, cadence_s, deadline_s)
    with ExitStack() as stack:
        sink = stack.enter_context(EventFile(events)) if isinstance(events, str | Path) else events
        recorder = None if record is None else MemoryRecorder(record)
        if recorder is not None:
            stack.callback(recorder.close)
        return _measured(trace, place, recorder, Reporter(sink), confidence)


def _measured(
    trace: MemoryTrace,
    place: Server,
    recorder: MemoryRecorder | None,
    reporter: Reporter,
    confidence: float,
) -> MemoryResult:
    """Start what is needed, run, and end it."""
    with ExitStack() as stack:
        process = None if place.endpoint else stack.enter_context(_started(trace.code, place))
        where = place.endpoint or (process.endpoint if process else "")
        options = TransportOptions(wait=place.wait)
        link = stack.enter_context(connect(where, security=place.security, options=options))
        result = _Run(link, place, trace, process, recorder, reporter, confidence).go()
        if process is not None:
            link.close()
            process.close()
            served = {f"server_{name}": count for name, count in process.counters.items()}
            result = replace(result, counters={**result.counters, **served})
    return result


def _started(code: MemoryCode, place: Server) -> DecoderProcess:
    is_native = code.decoder != "pymatching" if place.is_native is None else place.is_native
    endpoint = f"shm://memory-{os.getpid()}-{token_hex(4)}"
    core = None if place.cores is None else place.cores[1]
    settings = DecoderSettings(code.config, endpoint, is_native, place.wait, core, place.priority)
    return DecoderProcess(settings)


def _empty_trace(
    code: MemoryCode, n_shots: int, seed: int, cadence_s: float, deadline_s: float | None
) -> MemoryTrace:
    """The shots of a run that has not begun."""
    deadline_s = cadence_s if deadline_s is None else deadline_s
    for what, given in (("cadence_s", cadence_s), ("deadline_s", deadline_s)):
        if not 1e-6 <= given <= 3600.0:
            raise MemoryExperimentError(what, f"{given:g} s", "Use 1e-6 to 3600 s")
    bits = sample_shots(code, n_shots, seed)
    never = np.full((n_shots, code.n_rounds), NEVER, dtype=np.int64)
    return MemoryTrace(
        code=code,
        seed=seed,
        cadence_ns=round(1e9 * cadence_s),
        deadline_ns=round(1e9 * deadline_s),
        start_ns=0,
        bits=bits,
        corrections=np.full(n_shots, LOST, dtype=np.uint8),
        sent_ns=never,
        done_ns=never.copy(),
    )


class _Run:
    """One run of an experiment, on one link."""

    def __init__(
        self,
        link: Link,
        place: Server,
        trace: MemoryTrace,
        process: DecoderProcess | None,
        recorder: MemoryRecorder | None,
        reporter: Reporter,
        confidence: float,
    ) -> None:
        self._link = link
        self._place = place
        self._trace = trace
        self._process = process
        self._recorder = recorder
        self._reporter = reporter
        self._confidence = confidence
        self._raw = logical_bits(trace.code, trace.bits)
        self._rounds = _packed_rounds(trace.code, trace.bits)
        self._n_done = 0
        self._n_errors = 0
        self._n_missed = 0
        self._n_reported = 0
        self._n_lost_in_a_row = 0
        self._reported_ns = 0
        self._get = get_corrections_arguments(place.decoder_id, 1, reset=True)

    def go(self) -> MemoryResult:
        """Run all shots, or until something ends the run."""
        begun_s = time.monotonic()
        self._say_start()
        status = "failed"
        try:
            core = None if self._place.cores is None else self._place.cores[0]
            with undisturbed(core, self._place.priority):
                self._warm_up()
                start_ns = time.monotonic_ns() + _LEAD_NS
                self._trace = replace(self._trace, start_ns=start_ns)
                if self._recorder is not None:
                    self._recorder.settings(self._trace, self._confidence)
                self._run_shots(Cadence(start_ns, self._trace.cadence_ns))
            status = "done"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except CouplerError as error:
            self._reporter.fault(error, recovered=False)
            raise
        finally:
            result = self._result()
            self._say_end(status, result, time.monotonic() - begun_s)
        return result

    def _run_shots(self, cadence: Cadence) -> None:
        trace, n_rounds = self._trace, self._trace.code.n_rounds
        for shot in range(len(trace.bits)):
            tick = shot * n_rounds
            try:
                for number in range(n_rounds):
                    self._run_round(cadence, tick + number, shot, number)
                self._n_lost_in_a_row = 0
                self._n_errors += int(self._raw[shot] ^ trace.corrections[shot])
            except (LinkError, RemoteCallError) as error:
                self._lose(shot, error)
            self._n_done = shot + 1
            self._report(shot, cadence.due_ns(tick + n_rounds))

    def _run_round(self, cadence: Cadence, tick: int, shot: int, number: int) -> None:
        """Send a round when it is due; with the last one of a shot, ask for the correction."""
        trace = self._trace
        packed, n_bits = self._rounds[number]
        n_bytes = len(packed) // len(trace.bits)
        body = packed[shot * n_bytes : (shot + 1) * n_bytes]
        counter = (shot << 16 | number) + 1  # 0 would number nothing
        enqueue = enqueue_packed(self._place.decoder_id, counter, n_bits, body)
        sent_ns = wait_until(cadence.due_ns(tick))
        answer = self._call("enqueue_syndromes", enqueue)
        calls = [("enqueue_syndromes", enqueue, answer)]
        is_last = number == trace.code.n_rounds - 1
        if is_last:
            answer = self._call("get_corrections", self._get)
            calls.append(("get_corrections", self._get, answer))
        done_ns = time.monotonic_ns()
        trace.sent_ns[shot, number], trace.done_ns[shot, number] = sent_ns, done_ns
        if is_last:
            trace.corrections[shot] = answer.result[0] & 1
        if self._recorder is not None:
            self._recorder.round(calls, sent_ns, done_ns)

    def _call(self, function: str, arguments: bytes) -> Answer:
        answer = self._link.call(function, arguments, self._place.timeout_s)
        if answer.status != Status.OK:
            raise RemoteCallError(function, answer.status, _meaning(answer.status))
        return answer

    def _warm_up(self) -> None:
        """Decode a few shots without errors: the first ones of a process are slow."""
        self._call("reset_decoder", reset_arguments(self._place.decoder_id))
        for _ in range(_N_WARM_SHOTS):
            for n_bits in self._trace.code.bits_per_round:
                zeros = np.zeros(n_bits, dtype=np.uint8)
                arguments = enqueue_arguments(self._place.decoder_id, 0, zeros)
                self._call("enqueue_syndromes", arguments)
            self._call("get_corrections", self._get)

    def _lose(self, shot: int, error: CouplerError) -> None:
        """Give a shot up, and wait until the server takes the next one.

        Raises:
            LinkError: It stays away.
            RemoteCallError: It refuses shot after shot.
            DecoderProcessError: Its process has ended.
        """
        self._trace.corrections[shot] = LOST
        self._n_lost_in_a_row += 1
        if self._recorder is not None:
            packed = np.packbits(self._trace.bits[shot], bitorder="little").tobytes()
            self._recorder.lost(shot, packed, error, time.monotonic_ns())
        if self._n_lost_in_a_row > _LOST_IN_A_ROW:
            raise error
        until_s = time.monotonic() + self._place.patience_s
        while True:
            try:
                self._call("reset_decoder", reset_arguments(self._place.decoder_id))
                break
            except LinkError:
                if self._process is not None:
                    self._process.check()
                if time.monotonic() >= until_s:
                    raise
                time.sleep(_TRY_AGAIN_S)
        self._reporter.fault(error, recovered=True)

    def _report(self, shot: int, next_due_ns: int) -> None:
        """Say how it goes, now and then, where that disturbs no round."""
        now_ns = time.monotonic_ns()
        since_ns = now_ns - self._reported_ns
        has_time = next_due_ns - now_ns > _SLACK_NS
        if since_ns < _REPORT_NS or not (has_time or since_ns > 20 * _REPORT_NS):
            return
        self._reported_ns = now_ns
        if self._recorder is not None:
            self._recorder.flush()
        if self._reporter.sink is not None:
            n_new, self._n_reported = self._n_done - self._n_reported, self._n_done
            last_ns = int(self._trace.done_ns[shot, -1] - self._trace.sent_ns[shot, -1])
            n_behind = max(0, now_ns - next_due_ns) // self._trace.cadence_ns
            self._reporter.batch(
                0,
                0,
                n_new,
                self._estimate(),
                last_ns,
                n_behind,
                stops=False,
                deadline_misses=self._missed(n_new),
            )

    def _missed(self, n_new: int) -> int:
        """Rounds so far that missed their deadline, the last `n_new` shots being new."""
        trace, n_rounds = self._trace, self._trace.code.n_rounds
        ticks = np.arange((self._n_done - n_new) * n_rounds, self._n_done * n_rounds)
        due_ns = trace.start_ns + ticks * trace.cadence_ns
        done_ns = trace.done_ns[self._n_done - n_new : self._n_done].ravel()
        late = (done_ns == NEVER) | (done_ns - due_ns > trace.deadline_ns)
        self._n_missed += int(late.sum())
        return self._n_missed

    def _estimate(self) -> Estimate:
        n_shots = int((self._trace.corrections[: self._n_done] != LOST).sum())
        interval = bernoulli_interval(self._n_errors, n_shots, self._confidence)
        rate = self._n_errors / n_shots if n_shots else float("nan")
        error = (rate * (1.0 - rate) / n_shots) ** 0.5 if n_shots else float("inf")
        return Estimate(
            rate, error, interval.low, interval.high, n_shots, (n_shots,), self._confidence
        )

    def _result(self) -> MemoryResult:
        trace, n_done = self._trace, self._n_done
        done = replace(
            trace,
            bits=trace.bits[:n_done],
            corrections=trace.corrections[:n_done],
            sent_ns=trace.sent_ns[:n_done],
            done_ns=trace.done_ns[:n_done],
        )
        native = self._process is not None and self._process.settings.is_native
        kind = "native" if native else "Python" if self._process else "given"
        return replace(
            judged(done, confidence=self._confidence),
            server=f"{kind} server at {self._link.endpoint}",
            counters=self._link.counters.as_dict(),
        )

    def _say_start(self) -> None:
        code = self._trace.code
        self._reporter.start(
            loop="memory",
            unit="logical errors per shot",
            parameters=[],
            reference=None,
            machine={
                "name": str(self._link.endpoint),
                "code": str(code),
                "cadence_ns": self._trace.cadence_ns,
                "deadline_ns": self._trace.deadline_ns,
            },
            seed=self._trace.seed,
            policy=f"decode and correct, {code.decoder}",
            baseline_shots=None,
        )

    def _say_end(self, status: str, result: MemoryResult, seconds: float) -> None:
        if self._reporter.sink is None:
            return
        answered = self._trace.done_ns[: self._n_done] != NEVER
        durations = (self._trace.done_ns - self._trace.sent_ns)[: self._n_done][answered]
        histogram = Histogram()
        histogram.record(durations)
        counted = {
            "deadline_misses": result.n_deadline_misses,
            "misses_of_pacing": result.n_misses_of_pacing,
            "rounds": result.n_rounds,
            "logical_errors": result.n_logical_errors,
        }
        n_all = result.n_shots + result.n_lost
        self._reporter.end(
            LoopResult(
                status=status,
                result=result,
                estimate=self._estimate() if result.n_shots else None,
                steps=(),
                n_runs=1,
                n_used=result.n_shots,
                n_measured=n_all,
                n_discarded=0,
                n_lost=result.n_lost,
                n_saved=0,
                n_faults=result.n_lost,
                seconds=seconds,
                machine_seconds=float(durations.sum()) / 1e9,
                rtt_ns=histogram,
                counters={**result.counters, **counted},
            )
        )


def _packed_rounds(code: MemoryCode, bits: Bits) -> list[tuple[bytes, int]]:
    """The bits of each round as they are sent, all shots one after the other, and their number."""
    rounds, start = [], 0
    for n_bits in code.bits_per_round:
        packed = np.packbits(bits[:, start : start + n_bits], axis=1, bitorder="little")
        rounds.append((packed.tobytes(), n_bits))
        start += n_bits
    return rounds


def _meaning(status: int) -> str:
    return Status(status).name if status in {one.value for one in Status} else ""
