"""The host's end of the control calls: load a program, run it, take its shots as they come."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.control_messages import (
    LOAD_HEADER,
    LOAD_PROGRAM,
    LOADED,
    RUN,
    RUN_ID,
    SHOT_PULL,
    SPECS,
    SPECS_HEADER,
    SPECS_OFFSET,
    STARTED,
    STATUS,
    STOP,
    ProgramChunk,
    RunRequest,
    RunState,
    RunStatus,
    program_id_of,
    pull_arguments,
)
from cudaq_target.coupler.errors import RemoteCallError, StreamLostError
from cudaq_target.coupler.frame import HEADER_BYTES, Status, function_id
from cudaq_target.coupler.shot_receiver import ShotReceiver
from cudaq_target.coupler.stream import SHOT_BATCH, SHOT_END, SHOT_GAP, split_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.payload import ShotBatch

Caller = Callable[[str, bytes], tuple[int, bytes]]
"""Makes one call over a link: name and arguments in, status and result out."""

_KINDS: Final = {function_id(name): name for name in (SHOT_BATCH, SHOT_GAP, SHOT_END)}
_ENDED: Final = function_id(STATUS)


def over_link(link: Link, timeout_s: float = 1.0) -> Caller:
    """Make calls over a link.

    Args:
        link: Used by one client at a time.
        timeout_s: How long a call waits for its answer (s); longer than `wait_ns` of
            `RemoteRun.batches`.
    """

    def call(function: str, arguments: bytes) -> tuple[int, bytes]:
        answer = link.call(function, arguments, timeout_s)
        return answer.status, answer.result

    return call


class ControlClient:
    """A machine at the other end of a link."""

    def __init__(self, call: Caller, *, slot_bytes: int = 4096) -> None:
        """Use a link.

        Args:
            call: Makes one call; what it raises passes through every method here.
            slot_bytes: Longest frame of the link (bytes).
        """
        self._call = call
        self._slot_bytes = slot_bytes

    @property
    def slot_bytes(self) -> int:
        """Longest frame of the link (bytes)."""
        return self._slot_bytes

    @property
    def call_once(self) -> Caller:
        """What makes a call."""
        return self._call

    def specs(self) -> str:
        """Fetch what the machine and its controller say of themselves, as JSON.

        One object: the machine's own entries (`device`, where it has one), `cadence_hz`,
        `granularity` ("shot" or "job"), `queue` and `counters`.
        """
        text = b""
        while True:
            result = _ask(self._call, SPECS, SPECS_OFFSET.pack(len(text)))
            (n_bytes,) = SPECS_HEADER.unpack_from(result)
            part = result[SPECS_HEADER.size :]
            text += part
            if len(text) >= n_bytes or not part:
                return text.decode()

    def load_program(self, program: str) -> int:
        """Send a program, in parts where it is long; a known one costs one call.

        Args:
            program: Its text.

        Returns:
            Its number, for `run`.

        Raises:
            RemoteCallError: The machine refuses it, and says why.
        """
        text = program.encode()
        program_id = program_id_of(program)
        room = self._slot_bytes - HEADER_BYTES - LOAD_HEADER.size
        n_received = 0
        while True:
            part = text[n_received : n_received + room]
            chunk = ProgramChunk(program_id, len(text), n_received, part)
            (n_received,) = LOADED.unpack(_ask(self._call, LOAD_PROGRAM, chunk.to_bytes()))
            if n_received >= len(text):
                return program_id

    def run(
        self,
        program_id: int,
        n_shots: int,
        parameters: Sequence[float] | NDArray[np.float64] = (),
        *,
        deadline_ns: int = 0,
        window: int = 4096,
        seed: int = 0,
        block: int = 0,
        decide: str | None = None,
        run_id: int | None = None,
        wait_ns: int = 0,
    ) -> RemoteRun:
        """Start to measure.

        Args:
            program_id: From `load_program`.
            n_shots: How many shots are wanted, at least 1.
            parameters: Values of the program's parameters.
            deadline_ns: The machine stops this long after it took the request (ns), the time in
                its queue included; 0 for never.
            window: Shots that may wait here. The machine measures so many, and one block, before
                any is taken: a small window is what makes `stop` save shots.
            seed: Makes the shots of an emulated machine reproducible, whatever else it does, 1 to
                2^64 - 1; 0 leaves the seed to the machine.
            block: Shots that the machine measures at once at most; 0 leaves it to the machine.
            decide: Endpoint on the machine's own host that is asked after every `block` shots
                whether to go on (`control_messages.DECIDE`): shm, ipc, or tcp and udp of 127.0.0.1.
            run_id: Names the run, 64 bits, never used before; at random by default. A call whose
                answer was lost is repeated with the same number, and starts the run once.
            wait_ns: How long the call waits for shots, which it then brings along (ns), which saves
                a round trip: `receiver.take` may have some at once, even all; shorter than the
                time-out of the link.

        Raises:
            RemoteCallError: The machine is busy, or refuses, and says why.
        """
        values = np.asarray(parameters, dtype=np.float64)
        request = RunRequest(
            secrets.randbits(64) if run_id is None else run_id,
            program_id,
            n_shots,
            deadline_ns,
            values,
            seed,
            block,
            decide or "",
            limit=window if wait_ns else 0,
            wait_ns=wait_ns,
        )
        answer = _ask(self._call, RUN, request.to_bytes())
        (n_qubits,) = STARTED.unpack_from(answer)
        run = RemoteRun(self._call, request.run_id, n_shots, n_qubits, window=window)
        run.receive(memoryview(answer)[STARTED.size :])
        return run


class RemoteRun:
    """A run on the machine, and the stream of its shots."""

    def __init__(
        self, call: Caller, run_id: int, n_shots: int, n_qubits: int, *, window: int = 4096
    ) -> None:
        """Take over a run that was started; `ControlClient.run` does that.

        Args:
            call: Makes one call.
            run_id: Its number.
            n_shots: Shots that were asked for.
            n_qubits: Measured bits per shot.
            window: Shots that may wait here.
        """
        self._call = call
        self.run_id = run_id
        self.n_shots = n_shots
        self.receiver = ShotReceiver(run_id, n_qubits, window=window)
        self.ended: RunStatus | None = None

    @property
    def n_measured(self) -> int | None:
        """Shots that the machine measured, those after a stop included; None before the end.

        None also where the machine was lost before it could say.
        """
        return None if self.ended is None else self.ended.n_measured

    def batches(self, *, wait_ns: int = 100_000_000) -> Iterator[ShotBatch]:
        """Take shots as they are measured, in order, until the run ends.

        Where the link fails, its error passes through; after `reconnect` a new iteration goes on
        with the next shot. Afterwards `ended` says how the run went; one that failed on the
        machine ends like one that was stopped, and `ended.reason` says why.

        Args:
            wait_ns: How long one call waits for a shot at the other end (ns); shorter than the
                time-out of the link.

        Yields:
            Consecutive shots; what is missing between two batches is in `receiver.missing`.

        Raises:
            RemoteCallError: The machine refuses the run after all, and says why: it cannot do it
                with these parameters, and measured nothing.
            StreamLostError: The machine has forgotten the run, because it was restarted; what
                has not come by then is counted as missing.
        """
        yield from self.receiver.take()
        while not self.receiver.is_complete:
            self.pull(wait_ns)
            yield from self.receiver.take()
        self.pull(0)
        if self.ended is not None and self.ended.state is RunState.REFUSED:
            raise RemoteCallError(RUN, Status.BAD_REQUEST, self.ended.reason)

    def reconnect(self, call: Caller) -> None:
        """Go on over another link; shots that were lost with the old one are sent again.

        Args:
            call: `Link.caller` of the new link, to the same controller.
        """
        self._call = call

    def stop(self) -> int:
        """Measure no further shot; those measured still come.

        Returns:
            Shots that the machine has sent so far.
        """
        return int(RUN_ID.unpack(_ask(self._call, STOP, RUN_ID.pack(self.run_id)))[0])

    def status(self) -> RunStatus:
        """Ask how far the run is.

        Raises:
            RemoteCallError: The controller refused, or its answer is no status.
        """
        result = _ask(self._call, STATUS, RUN_ID.pack(self.run_id))
        status = RunStatus.from_bytes(result)
        if status is None:
            raise RemoteCallError(STATUS, Status.BAD_FRAME, "the answer is no status of a run")
        return status

    def pull(self, wait_ns: int) -> None:
        """Ask once for shots; `receiver.take` gives those that came.

        A run that has told everything is not asked again.

        Args:
            wait_ns: How long the call waits for a shot at the other end (ns); shorter than the
                time-out of the link.

        Raises:
            StreamLostError: The machine has forgotten the run; see `batches`.
            RemoteCallError: The machine refuses the call.
        """
        if self.receiver.is_complete and self.ended is not None:
            return
        arguments = pull_arguments(self.receiver.credit(), wait_ns)
        status, result = self._call(SHOT_PULL, arguments)
        if status == Status.BAD_REQUEST and not self.receiver.is_complete:
            self.receiver.abandon(self.n_shots)
            raise StreamLostError(self.run_id, self.receiver.n_delivered, self.receiver.n_missing)
        if status not in {Status.OK, Status.BAD_REQUEST}:
            raise RemoteCallError(SHOT_PULL, status)
        self.receive(result if status == Status.OK else b"")

    def receive(self, messages: Buffer) -> None:
        """Take messages of the machine, as the answers to `run` and `shot_pull` hold them."""
        for kind, payload in split_parts(messages):
            if kind == _ENDED:
                self.ended = RunStatus.from_bytes(payload)
            else:
                self.receiver.receive(_KINDS.get(kind, ""), payload)


def _ask(call: Caller, function: str, arguments: bytes) -> bytes:
    status, result = call(function, arguments)
    if status != Status.OK:
        raise RemoteCallError(function, status, bytes(result).decode(errors="replace"))
    return bytes(result)
