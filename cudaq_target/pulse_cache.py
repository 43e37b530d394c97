"""Solved pulses on disk: a small SQLite table shared by all processes of a user.

A cache must never stand between a user and a result: a file that cannot be read or written is
reported once as a warning, and pulses are then solved anew.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import struct
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cudaq_target.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger("cudaq_target.pulse_cache")

DIRECTORY_VARIABLE = "CUDAQ_TARGET_CACHE_DIR"
OFF = "off"
MAX_ROWS = 200_000
_BATCH = 256
# Raise the number whenever a solver changes: stored failures would hide what it now finds.
_FILE_NAME = "pulses-5.sqlite"


class PulseCache:
    """A persistent map from a text key to a tuple of numbers.

    New values are kept in memory and written in batches: variational loops ask for new angles at
    every step and must not wait for the disk each time. Beyond `MAX_ROWS` values the older half
    goes.

    Args:
        path: The database file, made on first use; None keeps nothing on disk.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._owner_pid = os.getpid()
        self._usable = path is not None
        self._unwritten: dict[str, bytes] = {}
        self._lock = ForkSafeLock()

    def get(self, key: str) -> tuple[float, ...] | None:
        """Return the numbers stored under a key (an empty tuple is a value), or None."""
        with self._lock:
            value = self._unwritten.get(key)
            if value is not None:
                return _unpack(value)
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
        """Store numbers under a key, on disk at the latest when the cache is closed."""
        with self._lock:
            if not self._usable:
                return
            self._unwritten[key] = struct.pack(f"<{len(values)}d", *values)
            if len(self._unwritten) >= _BATCH:
                self._write()

    def close(self) -> None:
        """Write what is left and close the file; the next access opens it again."""
        with self._lock:
            self._write()
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _write(self) -> None:
        connection = self._open()
        if connection is None or not self._unwritten:
            return
        try:
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO pulse VALUES (?, ?)", self._unwritten.items()
                )
                _forget_oldest(connection)
        except sqlite3.OperationalError as error:
            # Another process holds the file for longer than the time-out: not worth a complaint.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                self._give_up(error)
        except sqlite3.Error as error:
            self._give_up(error)
        self._unwritten.clear()

    def _open(self) -> sqlite3.Connection | None:
        if self._owner_pid != os.getpid():
            # A connection must neither be used nor closed in the child of a fork.
            self._inherited, self._connection = self._connection, None
            self._owner_pid = os.getpid()
        if self._connection is None and self._usable and self.path is not None:
            try:
                self._connection = self._connect(self.path)
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return self._connection

    def _connect(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
        try:
            # Losing the cache in a power cut is fine, waiting for the disk at every pulse is not.
            # A truncated journal works on network file systems, a write-ahead log does not.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS pulse (key TEXT PRIMARY KEY, value BLOB)"
            )
        except sqlite3.Error:
            connection.close()
            raise
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
        self._unwritten.clear()


def _forget_oldest(connection: sqlite3.Connection) -> None:
    """Delete the older half of a full table; within the transaction that filled it.

    Every insertion takes the next row id, so that row ids are in the order of age and the extremes
    tell the size without a count.
    """
    (newest,) = connection.execute("SELECT max(rowid) FROM pulse").fetchone()
    (oldest,) = connection.execute("SELECT min(rowid) FROM pulse").fetchone()
    if newest - oldest >= MAX_ROWS:
        connection.execute("DELETE FROM pulse WHERE rowid <= ?", (newest - MAX_ROWS // 2,))


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
    if not directory:
        import platformdirs  # noqa: PLC0415

        directory = platformdirs.user_cache_dir("cudaq-target", appauthor=False)
    made = PulseCache(Path(directory) / _FILE_NAME)
    atexit.register(made.close)
    return made


def _unpack(value: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(value) // 8}d", value)
