"""What stands behind a controller: a machine that loads programs and measures shots."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from cudaq_target.coupler.payload import row_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)


class MachineRun(Protocol):
    """Shots being measured."""

    @property
    def n_qubits(self) -> int:
        """Measured bits per shot."""

    @property
    def is_done(self) -> bool:
        """Whether no shot follows those that `poll` has given."""

    @property
    def failure(self) -> str | None:
        """Why the run ended early, in the machine's words; None where it did not."""

    def poll(self, max_shots: int) -> NDArray[np.uint64]:
        """Give shots measured since the last call, without waiting.

        Args:
            max_shots: At most this many; the others stay for the next call.

        Returns:
            Packed shots, shape (n_shots, ceil(n_qubits / 64)), maybe none.
        """

    def stop(self) -> None:
        """Measure no further shot; those already measured still come."""


class Machine(Protocol):
    """A QPU or an emulator that measures on its own, one run at a time; see `LazyMachine`."""

    def specs(self) -> str:
        """Describe the device, as JSON."""

    def load(self, program: str) -> object:
        """Prepare a program.

        Args:
            program: Its text.

        Returns:
            What `start` takes.

        Raises:
            ProgramRefusedError: It cannot run here; the message goes to the client.
        """

    def start(self, program: object, parameters: NDArray[np.float64], n_shots: int) -> MachineRun:
        """Begin to measure.

        Args:
            program: From `load`.
            parameters: Values of its parameters, shape (n_parameters,).
            n_shots: How many shots are wanted.

        Raises:
            ProgramRefusedError: The parameters do not fit; the message goes to the client.
        """


class LazyRun(Protocol):
    """Shots that are measured when they are asked for; used by one thread at a time."""

    @property
    def n_qubits(self) -> int:
        """Measured bits per shot."""

    def measure(self, n_shots: int) -> NDArray[np.uint64]:
        """Measure, however long it takes.

        Preparations that take time belong here, too, and not into `LazyMachine.begin`.

        Args:
            n_shots: At most this many; those of the whole run on a machine that runs jobs.

        Returns:
            Packed shots, shape (n, ceil(n_qubits / 64)), n from 1 to `n_shots`.

        Raises:
            ProgramRefusedError: Before the first shot: the machine cannot do this run; the message
                goes to the client.
            Exception: Anything else fails the run, and its words go to the client.
        """

    def close(self) -> None:
        """Give everything back; called once, whether or not all shots were measured."""


@runtime_checkable
class Preparing(Protocol):
    """What a `LazyRun` may do besides, so that it does not count as measuring."""

    def prepare(self) -> None:
        """Bind parameters, lower the program, load it; called once, before the first shot.

        Raises:
            ProgramRefusedError: The machine cannot do this run; the message goes to the client.
            Exception: Anything else fails the run, and its words go to the client.
        """


@runtime_checkable
class Computed(Protocol):
    """What a `LazyRun` may say besides: that its shots are computed, and none is waited for.

    Then a controller measures short turns in the thread of its server, which nobody needs to wake;
    all others, and all turns of other runs, in a thread of their own. Never in two at a time.
    """

    @property
    def is_computed(self) -> bool:
        """Whether `measure` only computes."""


class LazyMachine(Protocol):
    """A machine that measures no shot before somebody wants it, for any number of runs in turn.

    A controller calls `specs`, `load` and `begin` from its server's thread, and the runs from a
    thread of their own, unless they are `Computed`.
    """

    @property
    def granularity(self) -> Literal["shot", "job"]:
        """Whether shots come as they are measured, or all at the end of a job."""

    @property
    def cadence_hz(self) -> float | None:
        """Shots that begin in a second at most, of all runs together; None for no such limit."""

    def specs(self) -> str:
        """Describe the machine, as a JSON object."""

    def load(self, program: str) -> object:
        """Prepare a program; as `Machine.load`."""

    def begin(
        self, program: object, parameters: NDArray[np.float64], n_shots: int, seed: int
    ) -> LazyRun:
        """Take on a run, without measuring yet.

        Args:
            program: From `load`.
            parameters: Values of its parameters, finite, shape (n_parameters,).
            n_shots: How many shots are wanted at most, at least 1.
            seed: What shots that are not real depend on, besides machine, program and parameters;
                0 leaves it to the machine.

        Raises:
            ProgramRefusedError: The parameters do not fit; the message goes to the client.
        """


class ThreadedRun:
    """A run whose shots come from an iterator that blocks; it is read in a thread."""

    def __init__(
        self, n_qubits: int, batches: Iterator[NDArray[np.uint64]], *, max_batches: int = 64
    ) -> None:
        """Start the thread.

        Args:
            n_qubits: Measured bits per shot.
            batches: Packed shots as they are measured, shape (n_shots, ceil(n_qubits / 64)) each.
            max_batches: Batches that may wait to be polled; then the iterator waits.
        """
        self.n_qubits = n_qubits
        self.failure: str | None = None
        self._left = np.zeros((0, row_words(n_qubits)), dtype=np.uint64)
        self._measured: queue.Queue[NDArray[np.uint64]] = queue.Queue(max_batches)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._measure, args=(batches,), name="machine-run", daemon=True
        )
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether no shot follows those that `poll` has given."""
        # The order matters: what the thread puts before it ends is seen after it has ended.
        return not self._thread.is_alive() and self._measured.empty() and len(self._left) == 0

    def poll(self, max_shots: int) -> NDArray[np.uint64]:
        """Give at most `max_shots` measured since the last call, without waiting."""
        parts = [self._left]
        n_shots = len(self._left)
        while n_shots < max_shots:
            try:
                parts.append(self._measured.get_nowait())
            except queue.Empty:
                break
            n_shots += len(parts[-1])
        rows = np.concatenate(parts)
        self._left = rows[max_shots:]
        return rows[:max_shots]

    def stop(self) -> None:
        """Measure no further batch; those already measured still come."""
        self._stopped.set()

    def _measure(self, batches: Iterator[NDArray[np.uint64]]) -> None:
        try:
            for rows in batches:
                self._put(rows)
                if self._stopped.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - `status` reports it to the client
            _LOG.exception("a run failed on the machine")
            self.failure = f"{type(error).__name__}: {error}"

    def _put(self, rows: NDArray[np.uint64]) -> None:
        """Hand a batch over; a run that was stopped still waits for room, and loses nothing."""
        self._measured.put(rows)
