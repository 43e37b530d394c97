"""Machines that measure on their own: an iterator that blocks becomes a run."""

from __future__ import annotations

import threading
import time

import numpy as np

from cudaq_target.coupler.machine import ThreadedRun


def numbered(first, n_shots):
    ids = np.arange(first, first + n_shots, dtype=np.uint64)
    return np.stack([ids, ids % np.uint64(64)], axis=1)


def poll_all(run):
    rows = []
    while not run.is_done:
        rows.extend(run.poll(7))
        time.sleep(0)
    return rows


def test_blocking_iterator_becomes_a_run():
    run = ThreadedRun(70, iter([numbered(0, 10), numbered(10, 1), numbered(11, 20)]), max_batches=1)
    assert [int(row[0]) for row in poll_all(run)] == list(range(31))
    assert run.failure is None


def test_stop_ends_the_iterator_and_keeps_its_shots():
    may_go_on = threading.Event()

    def batches():
        yield numbered(0, 3)
        may_go_on.wait(10)
        yield numbered(3, 3)
        yield numbered(6, 3)

    run = ThreadedRun(70, batches())
    run.stop()
    may_go_on.set()
    shots = [int(row[0]) for row in poll_all(run)]
    assert shots in ([0, 1, 2], [0, 1, 2, 3, 4, 5])


def test_iterator_that_fails_says_so():
    def batches():
        yield numbered(0, 3)
        message = "no light"
        raise OSError(message)

    run = ThreadedRun(70, batches())
    assert len(poll_all(run)) == 3
    assert run.failure == "OSError: no light"
