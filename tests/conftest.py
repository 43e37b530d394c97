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
    """A handler of Ctrl-C that is left behind would hang a test that waits for it, files later."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)
    ours = ("cudaq_target", "coupler", "kernels")  # Dask leaves one, too
    left = [it for it in after if it not in before and it.__module__.startswith(ours)]
    assert not left
