"""Processes of the contenders of `whole_call`, and their turns against one cloud on loopback."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.report import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cudaq_target.fakes import FakeCloud
    from cudaq_target.fakes.service import Exchange

N_SHOTS = 1000
# A longer silence between two requests of a call is a pause that the client chose: on loopback
# nothing else takes as long, and the shortest pause of any contender is 20 ms.
PAUSE_NS = 15_000_000
_ANSWER_S = 120.0
_END_S = 10.0


class ContenderError(Exception):
    """A contender refused, or could not run; carries its words."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Who runs where.

    Attributes:
        label: Name in the rows.
        end: Which of `whole_call_ends.ENDS`.
        machine: What this end is asked for.
        is_slow: It waits for seconds, so that one call per turn must do.
    """

    label: str
    end: str
    machine: str = ""
    is_slow: bool = False


@dataclass(slots=True)
class Taken:
    """What the calls of a contender took and gave.

    Attributes:
        whole_ms: Time of each call (ms).
        waited_ms: Pauses between its requests (ms).
        n_requests: Requests that the cloud counted in each.
        counts: All shots.
        sent: Programs as they arrived in the cloud: whether it is AHS, and the text.
    """

    whole_ms: list[float] = field(default_factory=list)
    waited_ms: list[float] = field(default_factory=list)
    n_requests: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    sent: set[tuple[bool, str]] = field(default_factory=set)

    @property
    def ms(self) -> float:
        return statistics.median(self.whole_ms)

    @property
    def beyond_ms(self) -> tuple[float, ...]:
        """Each call without its pauses (ms)."""
        pairs = zip(self.whole_ms, self.waited_ms, strict=True)
        return tuple(whole - waited for whole, waited in pairs)

    @property
    def requests(self) -> float:
        return statistics.median(self.n_requests)

    def add(self, spans_ns: Sequence[tuple[int, int]], requests: Sequence[Exchange]) -> None:
        """Add calls, and what the cloud saw of them."""
        for begin_ns, end_ns in spans_ns:
            arrivals_ns = sorted(
                one.arrival_ns for one in requests if begin_ns <= one.arrival_ns <= end_ns
            )
            pauses_ns = [b - a for a, b in pairwise(arrivals_ns) if b - a >= PAUSE_NS]
            self.whole_ms.append(1e-6 * (end_ns - begin_ns))
            self.waited_ms.append(1e-6 * sum(pauses_ns))
            self.n_requests.append(len(arrivals_ns))


class Ends:
    """Contenders that were started, by name."""

    def __init__(self, cloud: FakeCloud, started: Mapping[str, subprocess.Popen[str]]) -> None:
        self.cloud = cloud
        self._started = started
        self._is_ready: dict[str, dict[str, Any]] = {}

    def ask(
        self, who: Contender, what: str, *, repeats: int = 1, warm_ups: int = 0
    ) -> tuple[list[tuple[int, int]], Counter[str]]:
        """Let a contender call.

        Args:
            who: The contender.
            what: "pulse", "sweep" or "gates".
            repeats: Calls that count.
            warm_ups: Calls before them.

        Returns:
            Begin and end of each call (`time.monotonic_ns`), and all counts.

        Raises:
            ContenderError: It refused, or could not run.
        """
        process = self._started[who.end]
        if who.end not in self._is_ready:
            self._is_ready[who.end] = _read(process)
        if "error" in self._is_ready[who.end]:
            raise ContenderError(self._is_ready[who.end]["error"])
        request = {
            "machine": who.machine, "what": what, "n_shots": N_SHOTS,
            "warm_ups": warm_ups, "repeats": repeats,
        }  # fmt: skip
        _tell(process, json.dumps(request) + "\n")
        answer = _read(process)
        if "error" in answer:
            raise ContenderError(answer["error"])
        return [(begin, end) for begin, end in answer["spans_ns"]], Counter(answer["counts"])

    def take(
        self, who: Contender, what: str, into: Taken, *, repeats: int = 1, warm_ups: int = 0
    ) -> None:
        """Let a contender call, and add what came of it; see `ask`."""
        n_requests, n_jobs = len(self.cloud.requests), len(self.cloud.jobs)
        spans_ns, counts = self.ask(who, what, repeats=repeats, warm_ups=warm_ups)
        into.add(spans_ns, self.cloud.requests[n_requests:])
        orders = (job.order for job in self.cloud.jobs[n_jobs:])
        into.sent.update((order.is_ahs, order.text) for order in orders)
        into.counts.update(counts)


def _read(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read an answer; a contender that says nothing is ended, and has answered that."""
    assert process.stdout is not None
    limit = threading.Timer(_ANSWER_S, process.kill)
    limit.start()
    try:
        line = process.stdout.readline()
    finally:
        limit.cancel()
    if not line:
        return {"error": f"the process ended, or said nothing within {_ANSWER_S:g} s"}
    found: dict[str, Any] = json.loads(line)
    return found


@contextmanager
def ends(names: Sequence[str], places: Sequence[str] = ()) -> Iterator[Ends]:
    """Start the cloud here, each contender in a process, and a controller at its places."""
    from cudaq_target.fakes import FakeCloud  # noqa: PLC0415

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="whole-call-"))
        # They load while the cloud does.
        started = {
            name: stack.enter_context(_process(folder, name)) for name in dict.fromkeys(names)
        }
        server = stack.enter_context(_process(folder, "controller", *places)) if places else None
        cloud = stack.enter_context(FakeCloud(seed=1))
        account = json.dumps(_account(cloud)) + "\n"
        for process in started.values():
            _tell(process, account)
        if server is not None and "error" in (said := _read(server)):
            raise ContenderError(f"controller: {said['error']}")
        # Before the cloud is gone, which they take leave of.
        stack.callback(_end, [*started.values(), *([] if server is None else [server])])
        yield Ends(cloud, started)


@contextmanager
def _process(folder: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.whole_call_ends", *arguments],
        cwd=ROOT,
        env=_surroundings(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        _end([process])


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Let processes end side by side; those that do not are killed."""
    for process in processes:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
    for process in processes:
        assert process.stdout is not None
        try:
            process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    """Write a line; what became of a process that has ended is seen where its answer is read."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()


def _surroundings(folder: str) -> dict[str, str]:
    """The environment without settings of anybody else."""
    foreign = ("CUDAQ_TARGET_", "PASQAL_", "QRMI_", "SLURM_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) or name == "CUDAQ_TARGET_CACHE_DIR"
    }
    return kept | {
        "PASQAL_CONFIG_ROOT": os.devnull,
        "XDG_STATE_HOME": folder,
        "RUST_LOG": "error",  # QRMI warns of a configuration that is not there
        # Whatever would leave this machine goes nowhere.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def _account(cloud: FakeCloud) -> dict[str, str]:
    return cloud.qrmi_environment("EMU_FREE") | {
        "PASQAL_BASE_URL": cloud.url,
        "PASQAL_AUTH_ENDPOINT": cloud.token_url,
        "PASQAL_PROJECT_ID": cloud.project_id,
        "PASQAL_USERNAME": cloud.account.username,
        "PASQAL_PASSWORD": cloud.account.password,
    }


@contextmanager
def places(schemes: Sequence[str]) -> Iterator[dict[str, str]]:
    """Give endpoints that nobody else has, by scheme."""
    with tempfile.TemporaryDirectory(prefix="whole-") as folder:
        unique = f"whole-call-{os.getpid()}-{time.monotonic_ns()}"
        known = {"shm": f"shm://{unique}", "ipc": f"ipc://{folder}/s"}
        yield {scheme: known[scheme] for scheme in schemes}
