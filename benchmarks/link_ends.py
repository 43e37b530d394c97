"""Contenders: a server in a process of its own, and the caller that reaches it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks import link_peers
from benchmarks.latency import Counts
from benchmarks.link_peers import PeerError
from benchmarks.link_spec import OURS, Spec
from benchmarks.report import ROOT
from cudaq_target.coupler.frame import Status, function_id
from cudaq_target.coupler.link import Answer, connect
from cudaq_target.coupler.link_errors import LinkBusyError
from cudaq_target.coupler.security import client_security, make_keys
from cudaq_target.coupler.shm import Client, SlotRing
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Echo = Callable[[bytes], bytes]

__all__ = ["Contender", "LinkCaller", "PeerError", "RingCaller", "contender"]

_ECHO = function_id("echo")


class Caller(Protocol):
    """Reaches a server."""

    call: Echo

    def counts(self) -> Counts:
        """What went wrong since the start."""

    def close(self) -> object:
        """End it."""


class RingCaller:
    """`shm.Client`, the shortest way from Python."""

    def __init__(self, address: str, spec: Spec) -> None:
        self.client = Client(SlotRing.attach(address.removeprefix("shm://")), wait=spec.wait)
        call = self.client.call
        self.call: Echo = lambda payload: call(_ECHO, payload)[1]

    def submit(self, payload: bytes, function: str | int = _ECHO) -> int | None:
        """Send a request; None where there is no room."""
        wanted = function_id(function) if isinstance(function, str) else function
        return self.client.send(wanted, payload)

    def collect(self, timeout_s: float) -> tuple[int, int, bytes] | None:
        """Number, status and result of the oldest request; None where no answer came."""
        return self.client.receive(int(1e9 * timeout_s))

    def counts(self) -> Counts:
        found = self.client.counters()
        return Counts(
            header_errors=found.get("bad_frames", 0),
            duplicates=found.get("stale", 0) + found.get("late_results", 0),
            backpressure_stalls=found.get("backpressure_stalls", 0),
        )

    def close(self) -> None:
        self.client.close()


class LinkCaller:
    """`connect`, over any transport."""

    def __init__(self, address: str, spec: Spec, keys: str | None = None) -> None:
        security = None
        if keys is not None:
            security = client_security(Path(keys, "client.key_secret"), Path(keys, "server.key"))
        self.link = connect(address, options=spec.options(), security=security)
        call = self.link.call
        self.call: Echo = lambda payload: call("echo", payload).result

    def submit(self, payload: bytes, function: str | int = "echo") -> int | None:
        """Send a request; None where there is no room."""
        try:
            return self.link.submit(function, payload)
        except LinkBusyError:
            return None

    def collect(self, timeout_s: float) -> tuple[int, int, bytes] | None:
        """Number, status and result of a request; None where nothing came."""
        outcome = self.link.collect(timeout_s)
        if outcome is None:
            return None
        if isinstance(outcome, Answer):
            return outcome.request_id, outcome.status, outcome.result
        return outcome.request_id, int(Status.DEADLINE), b""

    def counts(self) -> Counts:
        found = self.link.counters
        return Counts(
            header_errors=found.truncated + found.bad_magic + found.bad_length,
            duplicates=found.duplicates + found.stale + found.unmatched,
            deadline_misses=found.deadline_misses,
            backpressure_stalls=found.backpressure_stalls,
        )

    def close(self) -> None:
        self.link.close()


class PeerCaller:
    """A peer, whose protocol has no counters."""

    def __init__(self, address: str, spec: Spec) -> None:
        self.call, self.close = link_peers.CALLERS[spec.transport](address, spec.n_bytes)

    def counts(self) -> Counts:
        return Counts()


class Contender:
    """A server process with its caller; a server that polls is stopped while others are timed."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        caller: Any,  # noqa: ANN401 - of ours, with `submit`, or a peer's
        *,
        polls: bool,
    ) -> None:
        self._process = process
        self._polls = polls
        self.caller = caller
        self.call: Echo = caller.call
        self.rest()

    def wake(self) -> None:
        if self._polls:
            self._process.send_signal(signal.SIGCONT)

    def rest(self) -> None:
        if self._polls:
            self._process.send_signal(signal.SIGSTOP)

    def ask(self) -> dict[str, Any]:
        """What the server has counted."""
        self.wake()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.rest()
        return found


def open_caller(address: str, spec: Spec, keys: str | None = None) -> Caller:
    """Reach a server.

    Args:
        address: Where it listens.
        spec: Of the contender.
        keys: Folder of the keys, where the link is encrypted.
    """
    if spec.transport not in OURS:
        return PeerCaller(address, spec)
    if spec.caller == "ring":
        return RingCaller(address, spec)
    return LinkCaller(address, spec, keys)


@contextmanager
def contender(spec: Spec) -> Iterator[Contender]:
    """Start a server and connect to it.

    Raises:
        PeerError: Its package is missing, or its server did not start.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rtt-"))
        keys = _keys(folder) if spec.is_encrypted else None
        arguments = [spec.to_json(), _address(spec, folder), *([keys] if keys else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.link_servers", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(_end, process)
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise PeerError(f"{spec.transport}: {_last_words(process)}")
        caller = open_caller(json.loads(said)["address"], spec, keys)
        stack.callback(caller.close)
        yield Contender(process, caller, polls=spec.polls)


def _end(process: subprocess.Popen[str]) -> None:
    """The end of its input ends a server."""
    process.send_signal(signal.SIGCONT)
    try:
        process.communicate(timeout=5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _last_words(process: subprocess.Popen[str]) -> str:
    try:
        lines = process.communicate(timeout=5.0)[1].strip().splitlines()
    except subprocess.TimeoutExpired:
        return "it says nothing"
    return lines[-1] if lines else f"exit code {process.returncode}"


def _address(spec: Spec, folder: str) -> str:
    if spec.transport == "shm":
        remove_abandoned("rtt-")
        return f"shm://rtt-{os.getpid()}-{time.monotonic_ns()}"
    if spec.transport in {"tcp", "udp"}:
        return f"{spec.transport}://127.0.0.1:0"
    if spec.transport == "ipc":
        return f"ipc://{folder}/s"
    return link_peers.address_of(spec.transport, folder)


def _keys(folder: str) -> str:
    for name in ("server", "client"):
        make_keys(Path(folder), name)
    return folder
