"""Jobs that a process of their own runs, on machines that keep none themselves.

Beside the record lie, for as long as the process lives, the program (`.program`) and a file that
the process holds locked (`.lock`); `.cancel` asks it to end. So nobody needs to know its number,
and a process that died is noticed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from cudaq_target.cloud.pace import Pace
from cudaq_target.machines import job_records

if TYPE_CHECKING:
    from pathlib import Path

    from cudaq_target.machines.job_records import JobRecord

_END_S: Final = 30.0
_LOCK_HANDLE: Final = 3
_started: list[int] = []


def start(path: Path, program: str) -> None:
    """Start the process of a job.

    Args:
        path: Its record, which is written already.
        program: The program, as `to_json` writes it.
    """
    _reap()
    handle = os.open(program_path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(program)
    # The lock belongs to the open file, which the process inherits: there is no moment without it.
    lock = os.open(lock_path(path), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _started.append(
            _spawned([sys.executable, "-m", "cudaq_target.job_worker", str(path)], lock)
        )
    finally:
        os.close(lock)


def is_one(path: Path) -> bool:
    """Whether a record is that of a job with a process."""
    return lock_path(path).exists()


def seen(record: JobRecord, path: Path) -> JobRecord:
    """Return what is known of a job by now.

    Args:
        record: What was known.
        path: Where its process writes.
    """
    is_alive = _is_alive(path)
    _reap()
    now, _ = job_records.read(path)
    if now.has_ended or is_alive:
        return now
    return record.seen("ERROR", "the process that took its shots is gone")


def cancel(record: JobRecord, path: Path) -> JobRecord:
    """Ask the process of a job to end, and wait until it has.

    Args:
        record: What was known.
        path: Where its process writes.
    """
    cancel_path(path).touch(mode=0o600)
    pace = Pace()
    while _is_alive(path) and pace.waited_s < _END_S:
        time.sleep(0.02)
    return seen(record, path)


def program_path(path: Path) -> Path:
    """Return where the program of a job lies."""
    return path.with_suffix(".program")


def lock_path(path: Path) -> Path:
    """Return the file that the process of a job holds locked."""
    return path.with_suffix(".lock")


def cancel_path(path: Path) -> Path:
    """Return the file that asks the process of a job to end."""
    return path.with_suffix(".cancel")


def clear(path: Path) -> None:
    """Remove what a process needed; the record stays."""
    for each in (program_path(path), cancel_path(path)):
        with contextlib.suppress(FileNotFoundError):
            each.unlink()


def _spawned(command: list[str], lock: int) -> int:
    """Start a process that may outlive this one, with the lock as its own."""
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    return os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[*nothing, (os.POSIX_SPAWN_DUP2, lock, _LOCK_HANDLE)],
        setsid=True,
    )


def _reap() -> None:
    """Forget processes that have ended; the system keeps them until somebody asks."""
    for number in list(_started):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(number, os.WNOHANG) == (0, 0):
                continue
        _started.remove(number)


def _is_alive(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), lock_path(path).open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
