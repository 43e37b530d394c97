"""A controller in a process of its own, for as long as a loop needs it.

It is started with `cudaq-target serve` and listens on a socket in a directory that nobody else can
read. It ends with the loop, whatever happens to that: it is told to, then killed by its number; and
it watches this process, should this one be killed.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from cudaq_target.errors import TargetError
from cudaq_target.loops.run_folder import run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_READY_S: Final = 120.0  # the first start on a machine compiles
_END_S: Final = 10.0
_BAD_INPUT: Final = 2  # exit code of every command
_LOG_LINES: Final = 8


@dataclass
class ControllerStartError(TargetError):
    """A controller process did not come up.

    Attributes:
        command: What was started.
        reason: What happened.
        log: The last lines of its standard error.
    """

    command: str
    reason: str
    log: str

    def __str__(self) -> str:
        said = f"; it said:\n{self.log}" if self.log else ""
        return f"controller `{self.command}` {self.reason}{said}"


@dataclass
class ControllerOptionsError(ControllerStartError):
    """A controller refuses what it is to be started with."""

    def __str__(self) -> str:
        return self.log.rsplit("cudaq-target: ", 1)[-1].strip()


@contextmanager
def controller_process(
    machine: str = "local",
    *,
    device: str | None = None,
    noise: str | None = None,
    seed: int | None = None,
    cadence_hz: float | None = None,
    ready_s: float = _READY_S,
) -> Iterator[str]:
    """Start a controller, and end it on the way out.

    Args:
        machine: As for `cudaq-target serve`.
        device: As for `cudaq-target serve`.
        noise: As for `cudaq-target serve`.
        seed: Makes the shots reproducible.
        cadence_hz: Shots per second; None for as fast as they can be computed.
        ready_s: How long it may take to come up (s).

    Yields:
        Its endpoint.

    Raises:
        ControllerOptionsError: It refuses its options.
        ControllerStartError: It ended, or said nothing in time.
    """
    options = {
        "--device": device,
        "--noise": noise,
        "--seed": seed,
        "--cadence-hz": cadence_hz,
    }
    given = [word for name, value in options.items() if value is not None for word in (name, value)]
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder())
        words = ["serve", "--machine", machine, "--bind", f"ipc://{folder}/controller"]
        words += ["--json", "--parent", str(os.getpid()), *map(str, given)]
        # Without a name, so that nothing stays should this process be killed.
        log = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            [sys.executable, "-m", "cudaq_target", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C goes to the loop, which stops its run before the controller ends.
            start_new_session=True,
        )
        stack.callback(_end, process)
        yield _endpoint(process, f"cudaq-target {' '.join(words)}", log, ready_s)


def _endpoint(
    process: subprocess.Popen[bytes], command: str, log: IO[bytes], ready_s: float
) -> str:
    """Wait for the line that says where it listens."""
    assert process.stdout is not None
    limit = time.monotonic() + ready_s
    line = b""
    while not line.endswith(b"\n"):
        left_s = limit - time.monotonic()
        if left_s <= 0.0 or not select.select([process.stdout], [], [], left_s)[0]:
            raise ControllerStartError(command, f"was not ready after {ready_s:g} s", _tail(log))
        part = os.read(process.stdout.fileno(), 4096)
        if not part:
            code = process.wait(_END_S)
            if code == _BAD_INPUT and "cudaq-target: " in _tail(log):
                raise ControllerOptionsError(command, "refuses its options", _tail(log))
            raise ControllerStartError(command, f"ended with exit code {code}", _tail(log))
        line += part
    try:
        return str(json.loads(line.splitlines()[0])["endpoint"])
    except (ValueError, KeyError, TypeError) as error:
        raise ControllerStartError(command, f"printed {line!r}", _tail(log)) from error


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and see that it does."""
    with process:  # closes its pipe
        try:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        finally:
            process.kill()  # one that does not listen, or at a second Ctrl-C; else it is gone
