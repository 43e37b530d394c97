"""Generations of requests at the client, repeated requests at the server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.coupler.sessions import (
    Answer,
    DuplicateWindow,
    Match,
    Repeat,
    RequestWindow,
    fingerprint_of,
)
from cudaq_target.coupler.shm import LinkCore

MARK = fingerprint_of(1, b"a")


class NativeWindow:
    """The window of `LinkCore`, with the matches of the one in Python."""

    def __init__(self, n_slots: int, first_sequence: int = 0) -> None:
        self._core = LinkCore(n_slots, 64, Answer, first_sequence=first_sequence)

    def close(self, request_id: int) -> Match:
        return Match(self._core.close(request_id))

    def __getattr__(self, name: str) -> object:
        return getattr(self._core, name)


WINDOWS = pytest.mark.parametrize("make", [RequestWindow, NativeWindow])


@WINDOWS
def test_ids_count_up_and_wrap(make):
    window = make(2, first_sequence=2**32 - 1)
    assert (window.open(), window.open()) == (2**32 - 1, 0)
    assert window.open() is None
    assert window.close(2**32 - 1) is Match.OURS
    assert window.open() == 1


@WINDOWS
def test_slot_is_free_in_order_only(make):
    window = make(2)
    assert (window.open(), window.open()) == (0, 1)
    assert window.close(1) is Match.OURS
    assert window.open() is None
    assert (window.n_open, window.n_free) == (1, 0)
    assert window.close(0) is Match.OURS
    assert (window.n_open, window.n_free) == (0, 2)


@WINDOWS
def test_what_was_asked_is_known_after_it_is_given_up(make):
    window = make(2)
    first = window.open(10, "decode", 0.5)
    window.open(20, 7, 1.5)
    assert window.expired(10) == [first]
    assert window.asked(first) == ("decode", 0.5, 10)
    assert window.expired(20) == [first + 1]
    assert window.asked(first + 1) == (7, 1.5, 20)


@WINDOWS
@pytest.mark.parametrize("n_slots", [0, 2**31 + 1])
def test_impossible_windows_are_refused(make, n_slots):
    with pytest.raises(ValueError, match="requests in flight"):
        make(n_slots)


@WINDOWS
def test_every_kind_of_answer(make):
    window = make(1)
    assert window.close(0) is Match.UNMATCHED
    first = window.open(deadline_ns=10)
    assert window.expired(9) == []
    assert window.expired(10) == [first]
    assert window.close(first) is Match.STALE
    second = window.open()
    assert window.close(first) is Match.STALE
    assert window.close(second) is Match.OURS
    assert window.close(second) is Match.DUPLICATE
    assert window.close(second + 1) is Match.UNMATCHED


@WINDOWS
@given(st.integers(1, 5), st.integers(0, 2**33), st.lists(st.integers(0, 12), max_size=60))
def test_stale_generations_are_always_found(make, n_slots, start, steps):
    """Step 0 opens a request; step k answers the k-th last, however old that is."""
    window = make(n_slots, start)
    opened: list[int] = []
    unanswered: set[int] = set()
    for step in steps:
        if step == 0:
            sequence = start + len(opened)
            blocked = sequence - n_slots in unanswered
            request_id = window.open()
            assert (request_id is None) == blocked
            if request_id is not None:
                opened.append(sequence)
                unanswered.add(sequence)
            continue
        sequence = start + len(opened) - step
        match = window.close(sequence % 2**32)
        if sequence in unanswered:
            assert match is Match.OURS
            unanswered.remove(sequence)
        elif sequence in opened:
            is_current = sequence > start + len(opened) - 1 - n_slots
            assert match is (Match.DUPLICATE if is_current else Match.STALE)
        else:
            assert match in {Match.STALE, Match.UNMATCHED}


def test_repeat_gets_the_same_answer():
    window = DuplicateWindow(2, sequenced=True)
    assert window.check(5, MARK) == (Repeat.NEW, None)
    assert window.check(5, MARK) == (Repeat.IN_PROGRESS, None)
    window.answer(5, b"done")
    assert window.check(5, MARK) == (Repeat.ANSWERED, b"done")


def test_same_id_with_other_arguments_is_another_request():
    window = DuplicateWindow(2, sequenced=True)
    window.check(5, MARK)
    window.answer(5, b"done")
    assert window.check(5, fingerprint_of(1, b"b")) == (Repeat.REUSED_ID, None)


def test_old_ids_are_stale_where_ids_count_up():
    window = DuplicateWindow(2, sequenced=True)
    for request_id in (2**32 - 1, 0, 1):
        assert window.check(request_id, MARK) == (Repeat.NEW, None)
    assert window.check(2**32 - 1, MARK) == (Repeat.STALE, None)
    foreign = DuplicateWindow(2, sequenced=False)
    for request_id in (2**32 - 1, 0, 1, 2**32 - 1):
        assert foreign.check(request_id, MARK) == (Repeat.NEW, None)


def test_forgotten_request_can_be_tried_again():
    window = DuplicateWindow(2, sequenced=True)
    window.check(5, MARK)
    window.forget(5)
    assert window.check(5, MARK) == (Repeat.NEW, None)


def test_window_of_nothing_remembers_nothing():
    window = DuplicateWindow(0, sequenced=True)
    assert window.check(5, MARK) == window.check(5, MARK) == (Repeat.NEW, None)
