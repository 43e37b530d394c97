"""Stops with one clear sentence when the package is not installed."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec

import pytest

SET_UP = "pip install -e '.[cu12,cli,draw,emu]' --group test --group lint"


def pytest_configure() -> None:
    """The compiled ring is the part that a source tree without an installation lacks."""
    # A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if find_spec("cudaq_target") is None or find_spec("cudaq_target.coupler") is None:
        raise pytest.UsageError(f"cudaq_target is not installed; run `make test`, or: {SET_UP}")
    if find_spec("hypothesis") is None:
        return  # a bare GPU node, which runs the tests of the device alone
    # No test depends on how fast the machine is, property tests included.
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "any speed",
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("any speed")


@pytest.fixture(autouse=True)
def signals_stay():
    """A test that leaves a handler of Ctrl-C would hang one that waits for it, files later."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before
