"""A controller of a loop's own: up, used, and gone, whatever happens to the loop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cudaq_target.coupler import ControlClient, connect
from cudaq_target.loops.controller_process import ControllerStartError, controller_process

LOOP = """
import os, sys, time
from cudaq_target.loops.controller_process import controller_process
with controller_process() as endpoint:
    print(endpoint, flush=True)
    time.sleep(120)
"""


def folder_of(endpoint: str) -> Path:
    return Path(endpoint.removeprefix("ipc://")).parent


def wait_until_gone(path: Path) -> bool:
    """Whether nobody listens there any more, within a minute."""
    for _ in range(600):
        if not path.exists():
            return True
        time.sleep(0.1)
    return False


def children() -> set[int]:
    """Numbers of this process's children."""
    listed = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for one in listed.glob("*/children") for pid in one.read_text().split()}


def use_and_fail(before: set[int], used: list[Path]) -> None:
    with controller_process(seed=1) as endpoint:
        used.append(folder_of(endpoint))
        with connect(endpoint) as link:
            assert '"local"' in ControlClient(link.caller()).specs()
        assert children() - before
        raise ZeroDivisionError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_it_serves_and_leaves_nothing_also_when_the_loop_fails() -> None:
    before = children()
    used: list[Path] = []
    with pytest.raises(ZeroDivisionError):
        use_and_fail(before, used)
    assert children() <= before
    assert not used[0].exists()


def test_a_controller_that_cannot_start_says_why() -> None:
    fails = pytest.raises(ControllerStartError, match=r"^machine 'abacus': no such machine")
    with fails as failure, controller_process(machine="abacus"):
        pass
    assert "abacus" in failure.value.log
    assert "serve --machine abacus" in failure.value.command


def test_one_that_says_nothing_is_ended() -> None:
    fails = pytest.raises(ControllerStartError, match=r"not ready after 0\.001 s")
    with fails, controller_process(ready_s=0.001):
        pass


def test_it_ends_with_a_process_that_is_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        assert process.stdout is not None
        socket = Path(process.stdout.readline().strip().removeprefix("ipc://"))
        assert socket.exists()
        process.kill()
        process.wait(60)
        assert wait_until_gone(socket)
        assert wait_until_gone(socket.parent)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
