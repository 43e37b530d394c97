"""The way of a shot into the estimate: cut in blocks, judged after each, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.interface import Estimate, Estimator, Experiment, Policy

    Words = NDArray[np.uint64]


class Watcher(Protocol):
    """Sees the shots as they arrive, and every block with its decision."""

    def shots(self, rows: Words) -> None:
        """See shots of a run that goes on, before they are used, shape (n_shots, n_words)."""
        ...

    def block(
        self, intake: Intake, n_shots: int, estimate: Estimate, *, stops: bool | None
    ) -> None:
        """See a block.

        Args:
            intake: That took it.
            n_shots: In the block.
            estimate: After it.
            stops: The decision; None where nothing was to be decided.
        """
        ...


class Intake:
    """Takes the shots of one run after the other; no memory grows, no shot is kept.

    `Policy.judge` is asked after exactly every `block` shots of a run, in the order in which they
    were measured, however they were cut on their way. So decisions do not depend on time.
    """

    def __init__(
        self, estimator: Estimator, policy: Policy, n_words: int, watcher: Watcher | None = None
    ) -> None:
        """Wait for `begin`.

        `n_used`, `n_discarded` and `n_held` (shots that wait for the rest of their block) are those
        of the run, `n_used_in_all` of all runs.

        Args:
            estimator: Takes the blocks.
            policy: Judges them.
            n_words: 64-bit words per shot.
            watcher: Sees them; None for nobody.
        """
        self._estimator = estimator
        self._policy = policy
        self._watcher = watcher
        self._buffer = np.empty((64, n_words), dtype=np.uint64)
        self.n_held = 0
        self._block = 1
        self._max_shots = 0
        self.setting = 0
        self.n_used = 0
        self.n_used_in_all = 0
        self.n_discarded = 0
        self.stopped = False
        self._is_open = False

    def begin(self, experiment: Experiment, block: int) -> None:
        """Begin a run.

        Args:
            experiment: What is measured.
            block: Shots between two decisions.
        """
        self.setting = experiment.setting
        self._block, self._max_shots = block, experiment.max_shots
        if len(self._buffer) < block < experiment.max_shots:
            self._buffer = np.empty((block, self._buffer.shape[1]), dtype=np.uint64)
        self.n_held = self.n_used = self.n_discarded = 0
        self.stopped, self._is_open = False, True

    def take(self, rows: Words) -> bool:
        """Take shots that follow those before.

        Args:
            rows: Packed, shape (n_shots, n_words); not kept.

        Returns:
            Whether the run has been told to stop; what comes afterwards is counted and not used.
        """
        if self._watcher is not None and self._is_open and len(rows):
            self._watcher.shots(rows)
        while len(rows) and self._is_open:
            if self._block >= self._max_shots:
                self._use(rows, stops=None)
                return False
            if self.n_held == 0 and len(rows) >= self._block:
                whole, rows = rows[: self._block], rows[self._block :]
            else:
                n_new = min(self._block - self.n_held, len(rows))
                end = self.n_held + n_new
                self._buffer[self.n_held : end] = rows[:n_new]
                self.n_held, rows = end, rows[n_new:]
                if end < self._block:
                    break
                whole, self.n_held = self._buffer[: self._block], 0
            self._judge(whole)
        self.n_discarded += len(rows)
        return self.stopped

    @property
    def held(self) -> Words:
        """Shots that wait for the rest of their block, shape (n_held, n_words)."""
        return self._buffer[: self.n_held]

    def close(self) -> None:
        """End the run early, from outside: what is held is used, what comes is not."""
        if self._is_open and self.n_held:
            held, self.n_held = self.held, 0
            self._use(held, stops=None)
        self._is_open = False

    def _judge(self, rows: Words) -> None:
        """Use a whole block; where shots are left to measure, decide about them."""
        if self.n_used + len(rows) >= self._max_shots:
            self._use(rows, stops=None)
            return
        self._estimator.update(self.setting, rows)
        self._count(len(rows))
        estimate = self._estimator.estimate()
        self.stopped = bool(self._policy.judge(estimate))
        if self._watcher is not None:
            self._watcher.block(self, len(rows), estimate, stops=self.stopped)
        if self.stopped:
            self._is_open = False

    def _use(self, rows: Words, *, stops: bool | None) -> None:
        self._estimator.update(self.setting, rows)
        self._count(len(rows))
        if self._watcher is not None:
            self._watcher.block(self, len(rows), self._estimator.estimate(), stops=stops)

    def _count(self, n_shots: int) -> None:
        self.n_used += n_shots
        self.n_used_in_all += n_shots
