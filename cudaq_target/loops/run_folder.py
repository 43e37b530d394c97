"""Folders of running loops in the temporary directory, and what killed loops left of theirs.

Nothing runs in a process that is killed, so its folder stays. Its name says whose it is:
`cudaq-target-HERE-PID-START-RANDOM`, where HERE stands for this boot and this space of process
numbers, and START is when the process began, as numbers are used again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = "cudaq-target-"
_NAME: Final = re.compile(rf"{PREFIX}([0-9a-f]{{6}})-(\d+)-(\d+)-\w+")
_START_FIELD: Final = 22  # of /proc/PID/stat, in ticks since the boot: proc_pid_stat(5)


@contextmanager
def run_folder() -> Iterator[Path]:
    """Make a folder for this process alone, and remove it on the way out.

    Folders of loops that were killed on this machine are removed first.

    Yields:
        The folder, mode 0700.
    """
    remove_abandoned()
    pid = os.getpid()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{_here()}-{pid}-{_started(pid) or 0}-"))
    try:
        yield folder
    finally:
        if os.getpid() == pid:  # a child of a fork does not own it
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path | None = None) -> list[Path]:
    """Remove folders whose processes were killed: of this user, this boot, this process space.

    Args:
        parent: Where to look; the temporary directory by default.

    Returns:
        The folders that were removed.
    """
    removed = []
    for folder in sorted((parent or Path(tempfile.gettempdir())).glob(f"{PREFIX}{_here()}-*")):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _is_abandoned(folder: Path) -> bool:
    found = _NAME.fullmatch(folder.name)
    # Without times of processes, as on macOS, none is known to be gone.
    if found is None or found[1] != _here() or _started(os.getpid()) is None or found[3] == "0":
        return False
    try:
        status = folder.lstat()
    except OSError:  # somebody else removed it
        return False
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return is_ours and _started(int(found[2])) != int(found[3])


@cache
def _here() -> str:
    """Six letters for this boot and space of process numbers; those of others mean nothing here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return "0" * 6
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:6]


def _started(pid: int) -> int | None:
    """When a process began (ticks since the boot); None where none can be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything.
    return int(text.rpartition(")")[2].split()[_START_FIELD - 3])
