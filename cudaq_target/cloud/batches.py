"""Jobs on their way into batches: each is sent once, also where an answer gets lost.

A batch bears a tag of our own, and an open batch belongs to one object here. So where no answer
came, a question tells what was accepted; nothing is sent a second time.
"""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING

from cudaq_target.cloud.errors import SubmissionError
from cudaq_target.cloud.exchange import NoAnswerError, ServiceRefusedError
from cudaq_target.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cudaq_target.cloud.pasqal import Batch, JobSpec, PasqalCloud

_LOG = logging.getLogger(__name__)


def created(
    cloud: PasqalCloud,
    device_type: str,
    jobs: Sequence[JobSpec],
    tag: str,
    *,
    builder: str | None = None,
    is_open: bool = False,
) -> Batch:
    """Send a batch once, and find it where the answer is lost.

    Args:
        cloud: Where to.
        device_type: Where it is to run.
        jobs: Its jobs.
        tag: A name that no other batch has.
        builder: Sequence of jobs that bring none.
        is_open: More jobs will follow.

    Raises:
        SubmissionError: No answer came, and no batch of this name is there yet.
        MachineError: It was not accepted.
    """
    try:
        batch = cloud.create(device_type, jobs, tag=tag, builder=builder, is_open=is_open)
        if len(batch.job_ids) == len(jobs):
            return batch
        error = NoAnswerError(device_type, f"{len(batch.job_ids)} of {len(jobs)} jobs are there")
    except NoAnswerError as missed:
        error = missed
    found = _asked(lambda: cloud.find(tag), device_type, tag, error)
    if found is None or len(found.job_ids) != len(jobs):
        raise _unknown(device_type, tag, error, "and it is not listed as sent") from error
    return found


class OpenBatch:
    """A session: a batch that takes jobs until it is closed. Threads may share it."""

    def __init__(self, cloud: PasqalCloud, device_type: str, *, builder: str | None = None) -> None:
        """Send nothing yet.

        Args:
            cloud: Where to.
            device_type: Where it is to run.
            builder: A sequence with variables, in Pulser's abstract representation, for jobs that
                bring values alone; or None where every job brings a sequence.
        """
        self._cloud, self._device_type, self._builder = cloud, device_type, builder
        self._lock = threading.Lock()
        self._batch: Batch | None = None

    @property
    def id(self) -> str | None:
        """The batch that is open, or None."""
        batch = self._batch
        return None if batch is None else batch.id

    def add(self, jobs: Sequence[JobSpec], tag: str | None = None) -> tuple[str, ...]:
        """Send jobs, once; where the batch has ended meanwhile, in another one.

        Args:
            jobs: What is to run, in this order.
            tag: Name for the batch, where this opens one; by default a random one.

        Returns:
            Their names, in the same order.

        Raises:
            SubmissionError: No answer came, and the jobs are not listed yet.
            MachineError: They were not accepted.
        """
        with self._lock:
            known: frozenset[str] = frozenset()
            batch = None
            if self._batch is not None:
                known = frozenset(self._batch.job_ids)
                try:
                    batch = self._added(self._batch.id, jobs, known)
                except SubmissionError:
                    self._leave()  # what may still arrive there must not be taken for the next job
                    raise
            if batch is None:
                known = frozenset()
                batch = created(
                    self._cloud,
                    self._device_type,
                    jobs,
                    tag or uuid.uuid4().hex,
                    builder=self._builder,
                    is_open=True,
                )
            self._batch = batch
            return tuple(name for name in batch.job_ids if name not in known)[: len(jobs)]

    def cancel_unseen(self) -> None:
        """Cancel jobs that were sent by a call of `add` that was interrupted."""
        with self._lock:
            if self._batch is None:
                return
            now = self._cloud.batch(self._batch.id)
            for name in now.job_ids:
                if name not in self._batch.job_ids:
                    self._cloud.cancel(name)
            self._batch = now

    def close(self) -> None:
        """Say that no more jobs will come; the cloud does so by itself after a while."""
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        try:
            self._cloud.complete(batch.id)
        except ServiceRefusedError:
            pass  # it has ended already
        except MachineError as error:
            _LOG.warning("batch %s stays open until the cloud ends it: %s", batch.id, error)

    def _added(self, batch_id: str, jobs: Sequence[JobSpec], known: frozenset[str]) -> Batch | None:
        """Add jobs; None where the batch takes no more, so that nothing was added."""
        n_jobs = len(known) + len(jobs)
        try:
            batch = self._cloud.add(batch_id, jobs)
            if len(batch.job_ids) == n_jobs:
                return batch
            n_there = len(batch.job_ids)
            error = NoAnswerError(self._device_type, f"{n_there} of {n_jobs} jobs are there")
        except ServiceRefusedError:
            if self._cloud.batch(batch_id).is_open:
                raise
            return None
        except NoAnswerError as missed:
            error = missed
        found = _asked(lambda: self._cloud.batch(batch_id), self._device_type, batch_id, error)
        if found is None or len(found.job_ids) != n_jobs:
            raise _unknown(self._device_type, batch_id, error, "and is not listed") from error
        return found


def _asked(
    ask: Callable[[], Batch | None], machine: str, name: str, error: NoAnswerError
) -> Batch | None:
    """Ask what was accepted."""
    try:
        return ask()
    except MachineError as second:
        raise _unknown(machine, name, error, f"and asking for it failed ({second})") from error


def _unknown(machine: str, name: str, error: NoAnswerError, after: str) -> SubmissionError:
    return SubmissionError(
        machine,
        name,
        f"{error.reason}, {after}",
        "Look for this name (tag or batch) in the cloud before submitting again",
    )
