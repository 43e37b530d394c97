"""Ctrl-C reaches Python where another library has taken it, and that library gets it back."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

import pytest

from cudaq_target.coupler.interrupts import interruptible, told_to_end

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)


def wait_for_it() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        time.sleep(0.001)


@pytest.fixture
def taken():
    """A C handler in the place of Python's, which counts."""
    libc = ctypes.CDLL(None)
    before = ctypes.create_string_buffer(512)
    libc.sigaction(int(signal.SIGINT), None, before)
    calls = []
    handler = HANDLER(calls.append)
    libc.signal(int(signal.SIGINT), handler)
    yield calls
    libc.sigaction(int(signal.SIGINT), before, None)


def test_python_gets_the_signal_inside_and_the_library_outside(taken):
    with pytest.raises(KeyboardInterrupt), interruptible():
        wait_for_it()
    assert taken == []
    os.kill(os.getpid(), signal.SIGINT)
    assert taken == [signal.SIGINT]


def test_the_handler_of_the_program_is_the_one_that_is_called():
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        assert seen == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_the_program_ignores_reaches_no_library(taken):
    libc = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(512)
    libc.sigaction(int(signal.SIGINT), None, action)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc.sigaction(int(signal.SIGINT), action, None)  # behind Python's back, as CUDA-Q does
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
        assert taken == []
        os.kill(os.getpid(), signal.SIGINT)
        assert taken == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone():
    done = []

    def work() -> None:
        with interruptible():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_is_told_to_end_and_the_handlers_come_back(number):
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with told_to_end() as told:
        assert not told.is_set()
        os.kill(os.getpid(), number)
        assert told.wait(30)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
