"""A decode server in a process of its own, for as long as the process that started it wants it.

`DecoderProcess` starts it; `python -m cudaq_target.coupler.loops.decoder_process` is what runs: one
line of JSON with the settings on its standard input, one with the endpoint on its output, and when
the input ends, one with the counters. It ends with whoever started it, and ignores Ctrl-C, which
the whole terminal gets.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from cudaq_target.coupler.closing import Closing, closed_on_failure
from cudaq_target.coupler.errors import CouplerError, MemoryExperimentError
from cudaq_target.coupler.loops.pacing import take

if TYPE_CHECKING:
    from cudaq_target.coupler.native_server import NativeServer
    from cudaq_target.coupler.server import Server

_END_S: Final = 10.0


@dataclass
class DecoderProcessError(CouplerError):
    """The process of a decode server did not start, or ended early.

    Attributes:
        reason: What it said last, or how it ended.
    """

    reason: str

    def __str__(self) -> str:
        return f"the process of the decode server ended: {self.reason}"


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """What a decode server in a process of its own serves, and how.

    Attributes:
        config: Decoders, as `decoder_config.read_decoders` takes them.
        endpoint: Where.
        is_native: Whether its calls run as machine code; PyMatching's cannot.
        wait: How it waits on shared memory: "busy", "yield", "adaptive" or "block".
        core: The only core that it runs on; None for any.
        priority: Real-time priority, 1 to 99; None for none.
    """

    config: str
    endpoint: str
    is_native: bool = True
    wait: str = "adaptive"
    core: int | None = None
    priority: int | None = None


class DecoderProcess(Closing):
    """Starts a decode server; a context manager that ends it."""

    def __init__(self, settings: DecoderSettings) -> None:
        """Start it, and wait until it serves.

        Args:
            settings: What it serves.

        Raises:
            MemoryExperimentError: It cannot have the core or the priority.
            DecoderProcessError: It ended instead; the reason names its own.
        """
        self.settings = settings
        self.counters: dict[str, int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with closed_on_failure(self._end_by_force):
            self._input.write(json.dumps(asdict(settings)) + "\n")
            self._input.flush()
            self.endpoint = str(self._answer()["endpoint"])

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            DecoderProcessError: It has ended.
        """
        if not self.is_running:
            raise DecoderProcessError(f"exit code {self._process.returncode}")

    def close(self) -> None:
        """End it and keep its counters; one that is stuck is killed, and leaves no name behind."""
        if self._process.returncode is not None and self._input.closed:
            return
        try:
            text, _ = self._process.communicate(timeout=_END_S)
            self.counters = json.loads(text.splitlines()[-1]) if text.strip() else {}
        except (subprocess.TimeoutExpired, BrokenPipeError):
            pass
        finally:
            self._end_by_force()

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {}
        if "endpoint" not in found:
            code = self._process.wait(_END_S)
            if "argument" in found:
                raise MemoryExperimentError(**found["argument"])
            raise DecoderProcessError(str(found.get("error", f"exit code {code}")))
        return found

    def _end_by_force(self) -> None:
        if self.is_running:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # the process is gone; the pipe is closed all the same
                    continue
        if self.settings.endpoint.startswith("shm://"):
            from cudaq_target.coupler.transports.shared_memory import (  # noqa: PLC0415
                remove_abandoned,
            )

            remove_abandoned(self.settings.endpoint.removeprefix("shm://"))


def main() -> int:
    """Serve until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        settings = DecoderSettings(**json.loads(sys.stdin.readline()))
        take(settings.core, settings.priority)
        server = _served(settings)
    except MemoryExperimentError as error:
        _say({"argument": asdict(error)})
        return 1
    except (CouplerError, OSError, ValueError, TypeError) as error:
        _say({"error": f"{type(error).__name__}: {error}"})
        return 1
    with server:
        _say({"endpoint": str(server.endpoint)})
        sys.stdin.read()
    _say(server.counters())
    return 0


def _served(settings: DecoderSettings) -> NativeServer | Server:
    from cudaq_target.coupler.decoder_config import read_decoders  # noqa: PLC0415 - loads Numba
    from cudaq_target.coupler.server import serve  # noqa: PLC0415
    from cudaq_target.coupler.transports.interface import TransportOptions  # noqa: PLC0415

    decoders = read_decoders(settings.config)
    options = TransportOptions(wait=settings.wait)
    if not settings.is_native:
        from cudaq_target.coupler.decode_server import DecodeServer  # noqa: PLC0415

        return serve(DecodeServer(decoders).functions(), settings.endpoint, options=options)
    from cudaq_target.coupler.native_decode import NativeDecoders  # noqa: PLC0415
    from cudaq_target.coupler.shm import Dispatcher  # noqa: PLC0415

    dispatcher = Dispatcher(window=options.n_slots)
    NativeDecoders(decoders).add_to(dispatcher)
    return serve(dispatcher, settings.endpoint, options=options)


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
