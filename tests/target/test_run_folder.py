"""Folders of loops: removed at the end, and after a loop was killed by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cudaq_target.loops import run_folder as folders

KILLED = """
import os, signal, sys
from cudaq_target.loops.run_folder import run_folder
with run_folder() as folder:
    (folder / "controller").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_goes_with_its_block(place: Path) -> None:
    with folders.run_folder() as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(f"{folder.name}/controller") < 60  # sockets have short paths
        with folders.run_folder():  # the owner of the first one lives
            assert folder.is_dir()
    assert not list(place.iterdir())


def test_the_folder_of_a_killed_loop_goes_at_the_next_start(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(place)},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        left = Path(process.stdout.readline().strip())
        assert folders.remove_abandoned() == []
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert left.is_dir()
        with folders.run_folder():
            assert not left.exists()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_what_is_not_ours_stays(place: Path) -> None:
    """Another boot or container, no owner, a reused number of a process, links, plain files."""
    with folders.run_folder() as mine:
        here, pid, started = mine.name.removeprefix(folders.PREFIX).split("-")[:3]
        other = "abcdef" if here != "abcdef" else "fedcba"
        kept = [f"{other}-1-1-x", "without-owner", f"{here}-{pid}-0-x", f"{here}-1-2-3-x", "x"]
        for name in kept:
            (place / f"{folders.PREFIX}{name}").mkdir()
        elsewhere = place / "elsewhere"
        elsewhere.mkdir()
        (place / f"{folders.PREFIX}{here}-{pid}-7-link").symlink_to(elsewhere)
        (place / f"{folders.PREFIX}{here}-{pid}-7-file").touch()
        reused = place / f"{folders.PREFIX}{here}-{pid}-{int(started) + 1}-x"
        reused.mkdir()
        before = set(place.iterdir())
        assert folders.remove_abandoned() == [reused]
        assert set(place.iterdir()) == before - {reused}
