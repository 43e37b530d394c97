"""Fixtures for pytest: stand-ins that are fresh for every test.

pytest finds them by itself where this package is installed; `-p no:cudaq-target-fakes` leaves them
out. Nothing of a stand-in is loaded before a test asks for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cudaq_target.fakes.cloud import FakeCloud
    from cudaq_target.fakes.qpu import FakeQpu
    from cudaq_target.fakes.warden import FakeWarden

_SEED = 7


@pytest.fixture
def fake_cloud() -> Iterator[FakeCloud]:
    """Pasqal Cloud on a free port of 127.0.0.1, with the embedded emulator and a fixed seed."""
    from cudaq_target.fakes.cloud import FakeCloud  # noqa: PLC0415 - for tests that use it alone

    with FakeCloud(seed=_SEED) as cloud:
        yield cloud


@pytest.fixture
def fake_qpu() -> Iterator[FakeQpu]:
    """A QPU on a free port of 127.0.0.1, with the embedded emulator and a fixed seed."""
    from cudaq_target.fakes.qpu import FakeQpu  # noqa: PLC0415

    with FakeQpu(seed=_SEED) as qpu:
        yield qpu


@pytest.fixture
def fake_warden(fake_qpu: FakeQpu) -> Iterator[FakeWarden]:
    """A Warden-compatible service in front of `fake_qpu`.

    Credentials are MUNGE's where a daemon runs, else those of the stand-in's own libmunge
    (`FakeWarden.munge`).
    """
    from cudaq_target.fakes.warden import FakeWarden  # noqa: PLC0415

    with FakeWarden(qpu_url=fake_qpu.url) as warden:
        yield warden
