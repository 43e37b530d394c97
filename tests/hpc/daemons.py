"""Daemons that tests start: each by its number, each stopped, nothing of them left behind."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

LIMIT_S = 60.0
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_CLONE_NEWNET = 0x40000000
# A change of user forgets it, so that it comes after.
_WATCHED = ("--pdeathsig", "TERM")
_RUN_MUNGE = Path("/run/munge")


def need(*programs: str) -> None:
    """Skip the test by name where root or a program is missing."""
    if os.geteuid() != 0:
        pytest.skip("schedulers are started by root")
    for program in programs:
        if shutil.which(program, path=SEARCH_PATH) is None:
            pytest.skip(f"{program} is not installed; as root: python3 .ci/install_hpc.py")


def until(fulfilled: Callable[[], T], what: str, limit_s: float = LIMIT_S) -> T:
    """Look again and again; returns what is true at last."""
    end_s = time.monotonic() + limit_s
    while True:
        result = fulfilled()
        if result:
            return result
        assert time.monotonic() < end_s, f"{what}: not within {limit_s:g} s"
        time.sleep(0.05)


def call(*command: str | Path, **options: object) -> str:
    """Run a command to its end; a failure shows what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return str(done.stdout)


def as_user(name: str) -> list[str]:
    """Words before a command that make it this user's."""
    user = pwd.getpwnam(name)
    ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}")
    return ["setpriv", *ids, "--clear-groups", *_WATCHED]


@contextmanager
def shared_directory() -> Iterator[Path]:
    """A directory that all users of this machine reach, as pytest's own are not."""
    directory = Path(tempfile.mkdtemp(prefix="cudaq-target-hpc-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    patience_s: float = 20.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in the foreground of its own session, ended at the end, or when this process is."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            ["setpriv", *_WATCHED, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process, patience_s)


def end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """End a daemon, by force when it does not listen."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_by_number(pid: int) -> None:
    """End a process that is no child of ours, and wait until it has."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        end_s = time.monotonic() + 20.0
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end_s:
            time.sleep(0.02)


def end_all_with(variable: str) -> None:
    """End what still runs with `NAME=VALUE` in its environment: jobs of a cluster."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_theirs = variable.encode() in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        if is_theirs and int(folder.name) != os.getpid():
            end_by_number(int(folder.name))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def munge_daemon() -> Iterator[None]:
    """MUNGE's daemon at its usual socket, where there is none yet."""
    need("munged", "setpriv")
    with _alone():
        if _succeeds("munge", "-n"):
            yield
        else:
            with _own_munge_daemon():
                yield


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for other test runs of this machine: there is one socket of MUNGE."""
    descriptor = os.open("/run", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _own_munge_daemon() -> Iterator[None]:
    is_ours = not _RUN_MUNGE.exists()
    with shared_directory() as directory:
        key = directory / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        _RUN_MUNGE.mkdir(exist_ok=True)
        for path in (directory, key, _RUN_MUNGE):
            shutil.chown(path, "munge", "munge")
        files = [f"--{name}-file={directory / name}" for name in ("key", "pid", "log", "seed")]
        # --force: the key's folder is below one that everybody may write.
        command = [*as_user("munge"), "munged", "--foreground", "--force", *files]
        try:
            with running(command, directory / "out", {"PATH": SEARCH_PATH}):
                until(lambda: _succeeds("munge", "-n"), "munged answers")
                yield
        finally:
            if is_ours:
                shutil.rmtree(_RUN_MUNGE)


@contextmanager
def network_namespace(name: str, host: str) -> Iterator[Path]:
    """A namespace with a loopback device alone, in which 127.0.0.1 is called `host`.

    glibc takes a machine whose only addresses are 127/8 for one without network: hence a second.
    """
    files, names = Path("/etc/netns") / name, Path("/run/netns")
    is_ours, is_first = not files.parent.exists(), not names.exists()
    files.mkdir(parents=True)
    try:
        (files / "hosts").write_text(f"127.0.0.1 {host} localhost\n")
        call("ip", "netns", "add", name)
        try:
            call("ip", "-n", name, "link", "set", "lo", "up")
            call("ip", "-n", name, "address", "add", "10.255.0.1/32", "dev", "lo")
            yield names / name
        finally:
            call("ip", "netns", "delete", name)
            if is_first:  # `ip` makes it a mount of its own
                call("umount", names)
                names.rmdir()
    finally:
        shutil.rmtree(files.parent if is_ours else files)


def inside(namespace: Path, work: Callable[[], T]) -> T:
    """Do something in a thread within a network namespace; sockets and threads of it stay there."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter(namespace)
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(namespace: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
