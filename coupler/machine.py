"""What stands behind a controller: a machine that loads programs and measures shots."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

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
    """A QPU or an emulator, one run at a time."""

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
        """Give shots measured since the last call, without waiting; as `MachineRun.poll`."""
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
