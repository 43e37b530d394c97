"""One order of shots on a controller: whatever happens on the way, every shot is accounted for.

A lost or silent link is waited for. A controller that was restarted has forgotten the run: the
shots that came stay, and a run of their own measures the missing ones.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.control_client import RemoteRun
from cudaq_target.coupler.control_messages import RUN, RunState
from cudaq_target.coupler.errors import CouplerError, RemoteCallError, StreamLostError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link_errors import LinkBusyError, LinkLostError, LinkTimeoutError
from cudaq_target.coupler.payload import row_words
from cudaq_target.errors import MachineRefusedError, MachineUnavailableError, RunFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cudaq_target.errors import MachineError
    from cudaq_target.machines.remote_links import ControlLink

# A call that waits for shots is answered after this time at the latest (ns).
_WAIT_NS: Final = 250_000_000
_MAX_WINDOW: Final = 1 << 16
# Shots that an emulator behind a controller draws at once: few calls, and a stop comes through.
_BLOCK: Final = 1024
_MAX_RUNS: Final = 16
_STOP_S: Final = 1.0
_SHORTEST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.25
# What goes by when the controller comes back.
ABSENT: Final = (LinkLostError, LinkTimeoutError, LinkBusyError)


# Answers of a controller that has no room, or is about to end.
_LATER: Final = frozenset({Status.BUSY, Status.CANCELLED})


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What is to be measured.

    Attributes:
        program: Name of the program, for messages.
        n_bits: Bits per shot.
        program_id: The program's number.
        text: Its text, for a controller that does not know it.
        parameters: Its parameters.
        seed: See `machines.remote.RemoteMachine.measure`.
        is_paced: The machine measures at a cadence of its own.
    """

    program: str
    n_bits: int
    program_id: int
    text: str
    parameters: Sequence[float]
    seed: int
    is_paced: bool


@dataclass(slots=True)
class Patience:
    """How long a silent or busy controller is waited for.

    Attributes:
        endpoint: The controller.
        timeout_s: How long it may be silent (s).
        n_shots: Shots that were asked for.
        n_received: Shots that have come.
    """

    endpoint: str
    timeout_s: float
    n_shots: int
    n_received: int = 0
    _heard_s: float = field(default_factory=time.monotonic)
    _pause_s: float = _SHORTEST_PAUSE_S

    def heard(self) -> None:
        """Start anew: the controller has answered."""
        self._heard_s = time.monotonic()
        self._pause_s = _SHORTEST_PAUSE_S

    def wait(self, error: CouplerError) -> None:
        """Wait a little, longer each time.

        Raises:
            MachineUnavailableError: The time is over.
        """
        waited_s = time.monotonic() - self._heard_s
        if waited_s >= self.timeout_s:
            is_busy = isinstance(error, RemoteCallError) and error.status == Status.BUSY
            raise MachineUnavailableError(
                self.endpoint,
                f"{error}; waited for {waited_s:.1f} s",
                "Try again when its other clients have finished"
                if is_busy
                else "Start the controller again and repeat the call; "
                "machine_timeout_s= gives it more time",
                self.n_received,
                self.n_shots,
            ) from error
        time.sleep(min(self._pause_s, self.timeout_s - waited_s))
        self._pause_s = min(2.0 * self._pause_s, _LONGEST_PAUSE_S)


@dataclass(slots=True, eq=False)
class Measuring:
    """An order on its way.

    Attributes:
        link: The link, which nobody else uses meanwhile.
        order: What is to be measured.
        patience: How long to wait, and the account of shots.
        restarted: Called when the controller has forgotten what it was told; may refuse to go on.
        job_ids: Runs that were started.
    """

    link: ControlLink
    order: Order
    patience: Patience
    restarted: Callable[[], None]
    job_ids: list[str] = field(default_factory=list)

    def shots(self) -> NDArray[np.uint64]:
        """Measure until all shots are there.

        Returns:
            Packed shots, shape (n_shots, ceil(n_bits / 64)).

        Raises:
            MachineError: Of the kind that says what failed.
        """
        patience = self.patience
        rows = np.empty((patience.n_shots, row_words(self.order.n_bits)), dtype=np.uint64)
        while patience.n_received < patience.n_shots:
            run_id = secrets.randbits(64)
            if len(self.job_ids) == _MAX_RUNS:
                raise self._failed(f"the controller has forgotten {_MAX_RUNS} runs")
            self.job_ids.append(f"{run_id:016x}")
            try:
                run = self._started(run_id)
                self._collect(run, rows)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                self._stop(run_id)
                raise
        return rows

    def _started(self, run_id: int) -> RemoteRun:
        """Start a run of the missing shots; a program that is not known there is loaded."""
        order, patience, link = self.order, self.patience, self.link
        n_shots = patience.n_shots - patience.n_received
        n_told = 0
        while True:
            try:
                if order.program_id not in link.loaded:
                    link.client.load_program(order.text)
                    link.loaded.add(order.program_id)
                    n_told += 1
                run = link.client.run(
                    order.program_id,
                    n_shots,
                    order.parameters,
                    window=min(n_shots, _MAX_WINDOW),
                    seed=self._seed(),
                    block=0 if order.is_paced else min(n_shots, _BLOCK),
                    run_id=run_id,
                    wait_ns=_WAIT_NS,
                )
            except RemoteCallError as error:
                self._told_again_or_refused(error, n_told)
            except ABSENT as error:
                patience.wait(error)
            else:
                patience.heard()
                return run

    def _told_again_or_refused(self, error: RemoteCallError, n_told: int) -> None:
        if error.status in _LATER:
            self.patience.wait(error)
            return
        is_unknown = error.function == RUN and error.status == Status.BAD_REQUEST and n_told == 0
        if not is_unknown:
            raise self._refused(error.reason or str(error)) from error
        # Restarted since the program was loaded, or out of room for old programs.
        self.link.loaded.clear()
        self._again()

    def _collect(self, run: RemoteRun, rows: NDArray[np.uint64]) -> None:
        """Take the shots of a run until it ends, or is lost with the controller."""
        patience = self.patience
        if run.receiver.n_qubits != self.order.n_bits:
            self._stop(run.run_id)
            raise self._failed(f"it measures {run.receiver.n_qubits} bits, not {self.order.n_bits}")
        self._take(run, rows)  # those that came with the answer to the call
        while True:
            try:
                while not run.receiver.is_complete:
                    run.pull(_WAIT_NS)
                    patience.heard()
                    self._take(run, rows)
                if run.receiver.n_delivered < run.n_shots:
                    run.pull(0)  # says how it ended, where it has not yet
                break
            except StreamLostError:
                self._take(run, rows)
                self.link.loaded.clear()
                self._again()
                return
            except RemoteCallError as error:
                if error.status not in _LATER:
                    raise self._failed(str(error)) from error
                patience.wait(error)
            except ABSENT as error:
                patience.wait(error)
        self._check_end(run)

    def _take(self, run: RemoteRun, rows: NDArray[np.uint64]) -> None:
        for batch in run.receiver.take():
            first = self.patience.n_received
            rows[first : first + batch.n_shots] = batch.rows
            self.patience.n_received = first + batch.n_shots

    def _check_end(self, run: RemoteRun) -> None:
        """Say why a run ended before its last shot, unless shots got lost on the way."""
        ended = run.ended
        if ended is None or run.receiver.n_delivered == run.n_shots:
            return
        if ended.state is RunState.REFUSED:
            raise self._refused(ended.reason)
        if ended.state in {RunState.FAILED, RunState.STOPPED, RunState.DEADLINE}:
            reason = f": {ended.reason}" if ended.reason else ""
            raise self._failed(f"{ended.state.name.lower()} on the controller{reason}")

    def _again(self) -> None:
        """Ask whether a controller that has forgotten something is still the same machine."""
        while True:
            try:
                self.restarted()
            except ABSENT as error:
                self.patience.wait(error)
            else:
                self.patience.heard()
                return

    def _stop(self, run_id: int) -> None:
        """End a run that nobody waits for any more; the controller notices by itself, but late."""
        with contextlib.suppress(CouplerError):
            RemoteRun(self.link.caller(_STOP_S), run_id, 1, self.order.n_bits).stop()

    def _seed(self) -> int:
        """The seed of the run; one that measures missing shots draws others."""
        number = len(self.job_ids) - 1
        if self.order.seed == 0 or number == 0:
            return self.order.seed
        (state,) = np.random.SeedSequence((self.order.seed, number)).generate_state(1, np.uint64)
        return int(state) | 1

    def _refused(self, reason: str) -> MachineError:
        return MachineRefusedError(self.patience.endpoint, self.order.program, reason)

    def _failed(self, reason: str) -> MachineError:
        patience = self.patience
        return RunFailedError(
            patience.endpoint, self.job_ids[-1], reason, patience.n_received, patience.n_shots
        )
