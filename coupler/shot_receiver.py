"""Receiving end of a shot stream: every shot once, in order, or reported missing.

A state machine without input, output or clock. At any time the shots delivered and the shots
reported missing are exactly the shots before `next_shot_id`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.coupler.payload import ShotBatch, read_shot_batch
from cudaq_target.coupler.stream import SHOT_BATCH, SHOT_END, SHOT_GAP, Credit, End, Gap

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer


class ShotReceiver:
    """Orders shots, finds those that are missing, and limits how many may come."""

    def __init__(self, session: int, n_qubits: int, *, window: int = 4096) -> None:
        """Expect shot 0.

        Args:
            session: The stream.
            n_qubits: Measured bits per shot.
            window: Shots that may wait here, in order or out of order.

        Raises:
            ValueError: `n_qubits` or `window` is below 1.
        """
        if min(n_qubits, window) < 1:
            message = f"{n_qubits} qubits and a window of {window} shots; each must be at least 1"
            raise ValueError(message)
        self.session = session
        self.n_qubits = n_qubits
        self.window = window
        self._ready: deque[ShotBatch] = deque()
        self._n_ready = 0
        self._early: dict[int, NDArray[np.uint64]] = {}
        self._gaps: list[tuple[int, int]] = []
        self._next = 0
        self._seen = 0
        self._n_total: int | None = None
        self.n_delivered = 0
        self.missing: list[tuple[int, int]] = []
        self.n_repeated = 0
        self.n_refused = 0

    @property
    def next_shot_id(self) -> int:
        """Every shot before this one is delivered or reported missing."""
        return self._next

    @property
    def n_missing(self) -> int:
        """Shots reported missing."""
        return sum(end - first for first, end in self.missing)

    @property
    def is_complete(self) -> bool:
        """Whether every shot that was sent is accounted for."""
        return self._n_total is not None and self._next >= self._n_total

    @property
    def n_waiting(self) -> int:
        """Shots stored here: delivered and not taken, or out of order."""
        return self._n_ready + len(self._early)

    def credit(self) -> Credit:
        """What to tell the sender; sent after every message and every `take`."""
        limit = self._next + self.window - self._n_ready
        seen = max(self._seen, self._next)
        return Credit(self.session, self._next, limit, seen, self.is_complete)

    def receive(self, function: str, payload: Buffer) -> bool:
        """Take a message of the sender.

        Args:
            function: Its kind, as in `stream`.
            payload: Its bytes; not kept.

        Returns:
            Whether it is a message of this stream. A wrong one changes nothing and is counted.
        """
        if function == SHOT_BATCH:
            batch = read_shot_batch(payload)
            taken = batch is not None and self._on_batch(batch, is_own=False)
        elif function == SHOT_GAP:
            gap = Gap.from_bytes(payload)
            taken = gap is not None and self._on_gap(gap)
        elif function == SHOT_END:
            end = End.from_bytes(payload)
            taken = end is not None and self._on_end(end)
        else:
            taken = False
        self.n_refused += not taken
        return taken

    def receive_batch(self, batch: ShotBatch) -> bool:
        """Take a batch whose rows are this receiver's own from now on; as `receive`."""
        taken = self._on_batch(batch, is_own=True)
        self.n_refused += not taken
        return taken

    def take(self, max_shots: int | None = None) -> list[ShotBatch]:
        """Give the shots that came since the last call, in order.

        Args:
            max_shots: At most this many; all by default.

        Returns:
            Batches of consecutive shots; between two of them shots may be missing.
        """
        wanted = self._n_ready if max_shots is None else min(max_shots, self._n_ready)
        taken: list[ShotBatch] = []
        while wanted > 0:
            batch = self._ready.popleft()
            if batch.n_shots > wanted:
                batch, rest = batch.split(wanted)
                self._ready.appendleft(rest)
            taken.append(batch)
            wanted -= batch.n_shots
            self._n_ready -= batch.n_shots
        return taken

    def abandon(self, n_sent: int | None = None) -> None:
        """End the stream here, because its sender is gone: what has not come is missing.

        Args:
            n_sent: Shots that the sender is known to have sent; by default those it told of.
        """
        told = (end for _, end in self._gaps)
        total = max(self._seen, self._next, *told, n_sent or 0, self._n_total or 0)
        present = sorted(self._early)
        for shot_id in [*present, total]:
            if self._next < shot_id:
                self._lose(shot_id)
            self._advance()
        self._n_total = total

    def _on_batch(self, batch: ShotBatch, *, is_own: bool) -> bool:
        if batch.session != self.session or batch.n_qubits != self.n_qubits:
            return False
        limit = self.credit().limit_shot_id
        if batch.end_shot_id > limit:
            self.n_refused += batch.end_shot_id - max(batch.first_shot_id, limit)
            batch, _ = batch.split(max(0, limit - batch.first_shot_id))
        if self._n_total is not None and batch.end_shot_id > self._n_total:
            return False
        if batch.first_shot_id < self._next:
            self.n_repeated += min(self._next, batch.end_shot_id) - batch.first_shot_id
            batch = batch.since(min(self._next, batch.end_shot_id))
        if batch.n_shots == 0:
            return True
        self._seen = max(self._seen, batch.end_shot_id)
        if batch.first_shot_id == self._next and not self._early and not self._gaps:
            self._deliver(batch.rows if is_own else batch.rows.copy())
            return True
        for shot_id, row in enumerate(batch.rows, batch.first_shot_id):
            self.n_repeated += shot_id in self._early
            self._early.setdefault(shot_id, row.copy())
        self._advance()
        return True

    def _on_gap(self, gap: Gap) -> bool:
        if gap.session != self.session:
            return False
        if self._n_total is not None and gap.end_shot_id > self._n_total:
            return False
        if gap.end_shot_id > max(self._next, gap.first_shot_id):
            self._gaps.append((gap.first_shot_id, gap.end_shot_id))
            self._advance()
        return True

    def _on_end(self, end: End) -> bool:
        known = max(self._seen, self._next, *(stop for _, stop in self._gaps), 0)
        if end.session != self.session or end.n_shots < known:
            return False
        if self._n_total is not None and end.n_shots != self._n_total:
            return False
        self._n_total = end.n_shots
        return True

    def _advance(self) -> None:
        """Account for shots from `next_shot_id` on as far as they are known."""
        while True:
            rows: list[NDArray[np.uint64]] = []
            while (row := self._early.pop(self._next + len(rows), None)) is not None:
                rows.append(row)
            if rows:
                self._deliver(np.stack(rows))
                continue
            self._gaps = [gap for gap in self._gaps if gap[1] > self._next]
            end = max((end for first, end in self._gaps if first <= self._next), default=None)
            if end is None:
                return
            # A shot that came before its gap was reported is delivered, not missing.
            self._lose(min((shot for shot in self._early if shot < end), default=end))

    def _deliver(self, rows: NDArray[np.uint64]) -> None:
        self._ready.append(ShotBatch(self.session, self._next, self.n_qubits, rows))
        self._n_ready += len(rows)
        self.n_delivered += len(rows)
        self._next += len(rows)

    def _lose(self, end: int) -> None:
        if self.missing and self.missing[-1][1] == self._next:
            self.missing[-1] = (self.missing[-1][0], end)
        else:
            self.missing.append((self._next, end))
        self._next = end
