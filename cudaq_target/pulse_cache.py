"""Solved pulses on disk: a small SQLite table shared by all processes of a user.

A cache must never stand between a user and a result: a file that cannot be read or written is
reported once as a warning, and pulses are then solved anew.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger("cudaq_target.pulse_cache")

DIRECTORY_VARIABLE = "CUDAQ_TARGET_CACHE_DIR"
OFF = "off"
MAX_ROWS = 200_000
# Raise the number whenever a solver changes: stored failures would hide what it now finds.
_FILE_NAME = "pulses-2.sqlite"


class PulseCache:
    """A persistent map from a text key to a tuple of numbers.

    Args:
        path: The database file, made on first use; None keeps nothing on disk.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._owner_pid = 0
        self._usable = path is not None
        self._full = False
        self._lock = threading.Lock()

    def get(self, key: str) -> tuple[float, ...] | None:
        """Return the numbers stored under a key (an empty tuple is a value), or None."""
        with self._lock:
            connection = self._open()
            if connection is None:
                return None
            try:
                row = connection.execute("SELECT value FROM pulse WHERE key = ?", (key,)).fetchone()
                return None if row is None else _unpack(row[0])
            except (sqlite3.Error, struct.error, TypeError) as error:
                self._give_up(error)
                return None

    def put(self, key: str, values: tuple[float, ...]) -> None:
        """Store numbers under a key."""
        with self._lock:
            connection = self._open()
            if connection is None or self._full:
                return
            try:
                connection.execute(
                    "INSERT OR REPLACE INTO pulse VALUES (?, ?)",
                    (key, struct.pack(f"<{len(values)}d", *values)),
                )
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        with self._lock:
            if self._connection is not None and self._owner_pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        if not self._usable or self.path is None:
            return None
        # SQLite connections must not cross a fork.
        if self._connection is None or self._owner_pid != os.getpid():
            try:
                self._connection = self._connect(self.path)
                self._owner_pid = os.getpid()
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return self._connection

    def _connect(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=1.0, isolation_level=None, check_same_thread=False
        )
        try:
            # Losing the cache in a power cut is fine, waiting for the disk at every pulse is not.
            # A truncated journal works on network file systems, a write-ahead log does not.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS pulse (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"
            )
            (n_rows,) = connection.execute("SELECT count(*) FROM pulse").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        self._full = n_rows >= MAX_ROWS
        return connection

    def _give_up(self, error: Exception) -> None:
        _LOG.warning(
            "pulse cache %s is not usable (%s); pulses are solved anew. Delete the file, or set "
            "%s to a writable directory or to %r.",
            self.path,
            error,
            DIRECTORY_VARIABLE,
            OFF,
        )
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._usable = False


def default_cache() -> PulseCache:
    """Return the process's cache.

    It lives in the user's cache directory, or in the directory named by `CUDAQ_TARGET_CACHE_DIR`;
    the value `off` keeps nothing on disk.
    """
    return _cache_in(_directory.get() or os.environ.get(DIRECTORY_VARIABLE, ""))


@contextmanager
def located(directory: str | None) -> Iterator[None]:
    """Use another cache for a while, in this thread.

    Args:
        directory: Its directory, `off`, or None to change nothing.
    """
    token = _directory.set(directory or _directory.get())
    try:
        yield
    finally:
        _directory.reset(token)


_directory: ContextVar[str | None] = ContextVar("directory", default=None)


@cache
def _cache_in(directory: str) -> PulseCache:
    if directory == OFF:
        return PulseCache(None)
    if directory:
        return PulseCache(Path(directory) / _FILE_NAME)
    import platformdirs  # noqa: PLC0415

    return PulseCache(Path(platformdirs.user_cache_dir("cudaq-target", False)) / _FILE_NAME)


def _unpack(value: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(value) // 8}d", value)
