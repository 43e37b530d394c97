"""Sending end of a shot stream: a fixed store of shots that are not acknowledged yet.

A state machine without input, output or clock: `offer` takes shots, `poll` gives the next message,
`on_credit` takes the receiver's answers. It repeats what may be lost, and reports what it drops.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.payload import ShotBatch, row_words, shot_batch
from cudaq_target.coupler.stream import SHOT_BATCH, SHOT_END, SHOT_GAP, End, Gap, StreamMessage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.stream import Credit


_KINDS: Final = {ShotBatch: SHOT_BATCH, Gap: SHOT_GAP, End: SHOT_END}


def kind_of(said: ShotBatch | Gap | End) -> str:
    """The function that takes a message."""
    return _KINDS[type(said)]


class FullPolicy(Enum):
    """What `offer` does when the store is full."""

    BLOCK = "block"
    DROP_OLDEST = "drop oldest"


class ShotSender:
    """Numbers shots, keeps them until they are acknowledged, and says what to send."""

    def __init__(
        self,
        session: int,
        n_qubits: int,
        *,
        max_held: int = 4096,
        max_batch: int = 256,
        policy: FullPolicy = FullPolicy.BLOCK,
        retry_ns: int = 100_000_000,
    ) -> None:
        """Start a stream at shot 0. Nothing is sent before the first credit.

        Args:
            session: Number of the stream, not used before.
            n_qubits: Measured bits per shot.
            max_held: Shots in the store.
            max_batch: Shots per message; see `payload.shots_that_fit`.
            policy: What happens to shots that do not fit into the store.
            retry_ns: Silence after which messages count as lost (ns).

        Raises:
            ValueError: `n_qubits`, `max_held` or `max_batch` is below 1.
        """
        if min(n_qubits, max_held, max_batch) < 1:
            message = (
                f"a stream of {n_qubits} qubits with a store of {max_held} shots and batches of "
                f"{max_batch} is not possible; each must be at least 1"
            )
            raise ValueError(message)
        self.session = session
        self.n_qubits = n_qubits
        self._rows = np.zeros((max_held, row_words(n_qubits)), dtype=np.uint64)
        self.max_batch = max_batch
        self._policy = policy
        self._retry_ns = retry_ns
        # acknowledged <= oldest held <= cursor <= total; all count shots from the first on.
        self._acknowledged = 0
        self._oldest = 0
        self._cursor = 0
        self._total = 0
        self._limit = 0
        self._gap_reported = 0
        self._repair: int | None = None
        self._repaired = -1
        self._is_finished = False
        self._is_end_sent = False
        self._is_complete = False
        self._probe = False
        self._quiet_since_ns: int | None = None
        self.n_dropped = 0
        self.n_stalls = 0
        self.n_retries = 0

    @property
    def n_sent(self) -> int:
        """Shots that the stream took; each will be delivered or reported missing."""
        return self._total

    @property
    def n_held(self) -> int:
        """Shots in the store."""
        return self._total - self._oldest

    @property
    def is_done(self) -> bool:
        """Whether the receiver has accounted for every shot, and knows that none follows."""
        return self._is_complete

    @property
    def is_finished(self) -> bool:
        """Whether `finish` was called."""
        return self._is_finished

    @property
    def n_free(self) -> int:
        """Shots that `offer` takes now without dropping any."""
        return len(self._rows) - self.n_held

    def offer(self, rows: NDArray[np.uint64]) -> int:
        """Put shots into the stream.

        Args:
            rows: Packed shots, shape (n_shots, ceil(n_qubits / 64)); copied.

        Returns:
            How many were taken, from the first on: all of them under `DROP_OLDEST`, as many as
            there is room for under `BLOCK`.

        Raises:
            ValueError: `rows` has the wrong shape, sets a bit beyond the last qubit, or the
                stream is finished.
        """
        if self._is_finished:
            message = f"stream {self.session:#x} is finished; start another one for more shots"
            raise ValueError(message)
        wanted = shot_batch(self.session, self._total, self.n_qubits, rows).rows
        n_taken = len(wanted)
        if n_taken > self.n_free:
            if self._policy is FullPolicy.BLOCK:
                n_taken = self.n_free
                self.n_stalls += 1
            else:
                self._drop_until(self._total + n_taken - len(self._rows))
        end = self._total + n_taken
        first = max(self._total, self._oldest)  # more shots than the store holds drop themselves
        places = np.arange(first, end) % len(self._rows)
        self._rows[places] = wanted[first - self._total : n_taken]
        self._total = end
        return n_taken

    def finish(self) -> None:
        """Say that no shot follows; those in the store are still sent."""
        self._is_finished = True

    def on_credit(self, credit: Credit, now_ns: int) -> bool:
        """Take an answer of the receiver.

        Args:
            credit: What it has and takes.
            now_ns: Monotonic clock of the caller.

        Returns:
            Whether it belongs to this stream and is possible.
        """
        if credit.session != self.session or credit.next_shot_id > self._total:
            return False
        if credit.next_shot_id > self._acknowledged or credit.limit_shot_id > self._limit:
            self._quiet_since_ns = now_ns
        # Answers may come late and in any order; each number only grows.
        self._acknowledged = max(self._acknowledged, credit.next_shot_id)
        self._limit = max(self._limit, credit.limit_shot_id)
        self._oldest = max(self._oldest, self._acknowledged)
        self._cursor = max(self._cursor, self._oldest)
        if credit.is_complete and self._is_finished and credit.next_shot_id == self._total:
            self._is_complete = True
        hole = credit.next_shot_id
        if credit.seen_shot_id > hole > self._repaired and hole == self._acknowledged:
            self._repair = self._repaired = hole
        return True

    def restart(self) -> None:
        """Send everything again that is not acknowledged; after a reconnect."""
        self._cursor = self._oldest
        self._gap_reported = self._acknowledged
        self._is_end_sent = False
        self._probe = True

    def poll(self, now_ns: int) -> StreamMessage | None:
        """Say what to send now.

        Args:
            now_ns: Monotonic clock of the caller.

        Returns:
            A message; None where there is nothing to send before the next credit, shot or retry.
        """
        said = self.poll_run(now_ns, self.max_batch)
        if said is None:
            return None
        return StreamMessage(kind_of(said), said.to_bytes())

    def poll_run(self, now_ns: int, max_shots: int) -> ShotBatch | Gap | End | None:
        """Say what to send now, as rows, for transports that cut them into frames.

        Args:
            now_ns: Monotonic clock of the caller.
            max_shots: Longest batch.

        Returns:
            As `poll`. The rows are those of the store: use them before the next `offer`.
        """
        if self._is_complete:
            return None
        if self._quiet_since_ns is None:
            self._quiet_since_ns = now_ns
        if self._is_waiting() and now_ns - self._quiet_since_ns >= self._retry_ns:
            self.n_retries += 1
            self.restart()
        said = self._next(max_shots)
        if said is not None:
            self._quiet_since_ns = now_ns
        return said

    def take_back(self, said: ShotBatch | Gap | End, n_sent: int = 0) -> None:
        """Undo the last `poll_run` as far as it could not be sent.

        Args:
            said: What it gave.
            n_sent: Shots of a batch that were sent.
        """
        if isinstance(said, Gap):
            self._gap_reported = said.first_shot_id
        elif isinstance(said, End):
            self._is_end_sent = False
        elif said.n_shots == 0:
            self._probe = True
        elif said.end_shot_id == self._cursor:  # else it repeated shots, which silence will again
            self._cursor = max(self._oldest, said.first_shot_id + n_sent)

    def _is_waiting(self) -> bool:
        return self._acknowledged < self._total or self._is_finished

    def _next(self, max_shots: int) -> ShotBatch | Gap | End | None:
        if self._repair is not None:
            hole, self._repair = self._repair, None
            if self._oldest <= hole < self._cursor:
                return self._batch(hole, min(self._cursor, hole + max_shots))
        if max(self._acknowledged, self._gap_reported) < self._oldest:
            first = max(self._acknowledged, self._gap_reported)
            self._gap_reported = self._oldest
            self._probe = False
            return Gap(self.session, first, self._oldest)
        end = min(self._limit, self._total, self._cursor + max_shots)
        if self._cursor < end:
            batch = self._batch(self._cursor, end)
            self._cursor = batch.end_shot_id
            self._probe = False
            return batch
        if self._is_finished and self._cursor == self._total and not self._is_end_sent:
            self._is_end_sent = True
            self._probe = False
            return End(self.session, self._total)
        if self._probe:  # an empty batch: the receiver answers with its credit
            self._probe = False
            return self._batch(self._cursor, self._cursor)
        return None

    def _batch(self, first: int, end: int) -> ShotBatch:
        """Shots from `first` on, as far as they lie in one piece."""
        place = first % len(self._rows)
        rows = self._rows[place : place + min(end - first, len(self._rows) - place)]
        return ShotBatch(self.session, first, self.n_qubits, rows)

    def _drop_until(self, shot_id: int) -> None:
        self.n_dropped += shot_id - self._oldest
        self._oldest = shot_id
        self._cursor = max(self._cursor, shot_id)
