"""Controllers for tests: in a process of their own, or behind a server in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cudaq_target.controller import controller
from cudaq_target.coupler.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator


class ControllerProcess:
    """`cudaq-target serve` of the embedded emulator; can be killed and started again."""

    def __init__(self, endpoint: str, *options: str) -> None:
        self.endpoint = endpoint
        self._command = [
            sys.executable, "-m", "cudaq_target", "serve", "--machine", "local",
            "--bind", endpoint, "--json", "--parent", str(os.getpid()), *options,
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.endpoint = json.loads(line)["endpoint"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.process.stdout.close()


@contextmanager
def controller_process(endpoint: str, *options: str) -> Iterator[ControllerProcess]:
    """A controller that ends with the block."""
    process = ControllerProcess(endpoint, *options)
    try:
        yield process
    finally:
        process.end()


class Watched:
    """The embedded emulator behind a server here; says what was measured, fails where told."""

    def __init__(self, *, fail_after: int | None = None, **options) -> None:
        self._inner = controller("local", **options)
        self._fail_after = fail_after
        self.n_loaded = 0
        self.requests: list[tuple[int, int]] = []  # shots and seed
        self.parameters: list[list[float]] = []
        self.n_measured = 0
        self.n_closed = 0
        self.measured = threading.Event()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def load(self, program):
        self.n_loaded += 1
        return self._inner.load(program)

    def begin(self, program, parameters, n_shots, seed):
        self.requests.append((n_shots, seed))
        self.parameters.append(parameters.tolist())
        return _WatchedRun(self, self._inner.begin(program, parameters, n_shots, seed))

    def count(self, n_shots: int) -> None:
        if self._fail_after is not None and self.n_measured >= self._fail_after:
            message = "the laser went out"
            raise OSError(message)
        self.n_measured += n_shots
        self.measured.set()


class _WatchedRun:
    def __init__(self, machine: Watched, inner) -> None:
        self._machine, self._inner = machine, inner
        self.n_qubits = inner.n_qubits

    def measure(self, n_shots):
        rows = self._inner.measure(n_shots)
        self._machine.count(len(rows))
        return rows

    def close(self):
        self._machine.n_closed += 1
        self._inner.close()


@contextmanager
def served(endpoint: str, machine: Watched | None = None, **options) -> Iterator[str]:
    """Serve a machine from this process; yields the endpoint."""
    with serve(machine or Watched(), endpoint, **options) as server:
        yield str(server.endpoint)
