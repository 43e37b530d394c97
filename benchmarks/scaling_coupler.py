"""Throughput and latency of calls over payload and number of clients.

Run it with `python -m benchmarks.run scaling-coupler [--quick] [--json] [--output FILE]`.

Each client is a process of its own, in Python; a native echo answers in one further process. Over
ipc all clients share an endpoint. A ring and a UDP port serve one client each, so that the server
opens one per client there. First each client calls one by one, which gives the latency; then it
keeps as many calls in flight as its link takes, which gives the throughput. Every answer is
compared with what was sent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.latency import rounded
from benchmarks.link_peers import PeerError
from benchmarks.link_spec import Spec
from benchmarks.report import ROOT, Measurement, Row, progress
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.report import Section

TRANSPORTS = ("shm", "ipc", "udp")
SIZES = (64, 1024, 16_384, 65_536, 1 << 20)
MAX_DATAGRAM = 16_384  # with its header the slot of a larger one would not fit a datagram
CLIENTS = (1, 2, 4, 8)
_LEAD_NS = 50_000_000
_PREFIX = "scaling-"


def measured(quick: bool = False) -> Measurement:
    """Measure everything."""
    if quick:
        return measured_cells((64, 65_536), (2,), for_s=0.05)
    return measured_cells(SIZES, CLIENTS, for_s=0.5)


def measured_cells(sizes: Sequence[int], counts: Sequence[int], for_s: float) -> Measurement:
    """Measure every transport for these payloads (bytes) and numbers of clients."""
    lines: list[dict[str, Any]] = []
    with ExitStack() as stack:
        clients = [stack.enter_context(process("call")) for _ in range(max(counts))]
        for transport in TRANSPORTS:
            for n_bytes in sizes:
                if transport != "udp" or n_bytes <= MAX_DATAGRAM:
                    lines += cell_lines(transport, n_bytes, clients, counts, for_s)
    return Measurement((*figure_rows(lines), wrong_row(lines)), {"coupler_clients": lines})


Process = subprocess.Popen[str]


@contextmanager
def process(*arguments: str, module: str = "scaling_clients") -> Iterator[Process]:
    """Start an end of a benchmark, by default of this one; the end of its input ends it."""
    started = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        try:
            started.communicate(timeout=5.0)
        except subprocess.TimeoutExpired:
            started.kill()
            started.communicate()


def cell_lines(
    transport: str,
    n_bytes: int,
    clients: Sequence[Process],
    counts: Sequence[int],
    for_s: float,
) -> Iterator[dict[str, Any]]:
    """One transport and size, for each number of clients."""
    spec = Spec(transport, n_bytes)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        places = addresses_of(transport, folder, sum(counts))
        with process("serve", spec.to_json(), *places) as server:
            found = hear(server)["addresses"]
            for n in counts:
                progress(f"{transport}, {n_bytes} B, {n} clients")
                # A port keeps to its client for seconds, so that none is used twice.
                own = found * n if transport == "ipc" else [found.pop() for _ in range(n)]
                yield line_of(spec, list(zip(clients[:n], own, strict=True)), for_s)


def addresses_of(transport: str, folder: str, n_clients: int) -> list[str]:
    """Endpoints that so many clients need."""
    if transport == "ipc":
        return [f"ipc://{folder}/s"]
    if transport == "udp":
        return ["udp://127.0.0.1:0"] * n_clients
    remove_abandoned(_PREFIX)
    own = f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
    return [f"shm://{own}-{k}" for k in range(n_clients)]


def line_of(spec: Spec, taken: Sequence[tuple[Process, str]], for_s: float) -> dict[str, Any]:
    """Latency and throughput of some clients at the same time."""
    task = {"spec": spec.to_json(), "seconds": for_s}
    for client, address in taken:
        tell(client, json.dumps(task | {"address": address}))
    clients = [client for client, _ in taken]
    for client in clients:
        hear(client)
    single, filled = together(clients), together(clients)
    n_calls = sum(one["n"] for one in filled)
    return {
        "transport": spec.transport,
        "bytes": spec.n_bytes,
        "clients": len(taken),
        "calls_per_s": rounded(n_calls / for_s),
        "mb_per_s": rounded(1e-6 * n_calls * spec.n_bytes / for_s),
        "single_calls_per_s": rounded(sum(one["n"] for one in single) / for_s),
        "p50_us": rounded(median(one["p50_us"] for one in single)),
        "p99_us": rounded(max(one["p99_us"] for one in single)),
        "calls": n_calls + sum(one["n"] for one in single),
        "wrong": sum(one["wrong"] for one in (*single, *filled)),
    }


def together(clients: Sequence[Process]) -> list[dict[str, Any]]:
    """Let clients do their next task at the same time; what became of each."""
    begin_ns = time.monotonic_ns() + _LEAD_NS
    for client in clients:
        tell(client, str(begin_ns))
    return [hear(client) for client in clients]


def tell(client: Process, text: str) -> None:
    assert client.stdin is not None
    client.stdin.write(text + "\n")
    client.stdin.flush()


def hear(client: Process) -> dict[str, Any]:
    assert client.stdout is not None
    said = client.stdout.readline()
    if not said:
        raise PeerError("an end of the benchmark died; its reason is on standard error")
    found: dict[str, Any] = json.loads(said)
    return found


def figure_rows(lines: Section) -> Iterator[Row]:
    """Throughput of many small calls and of long ones, by clients."""
    for transport in TRANSPORTS:
        mine = [line for line in lines if line["transport"] == transport]
        for n_bytes in dict.fromkeys((mine[0]["bytes"], mine[-1]["bytes"])):
            of_size = [line for line in mine if line["bytes"] == n_bytes]
            yield _figure(transport, n_bytes, of_size)


def _figure(transport: str, n_bytes: int, lines: Section) -> Row:
    alone, most = lines[0], lines[-1]
    is_long = n_bytes > 1024
    key, unit = ("mb_per_s", "MB/s") if is_long else ("calls_per_s", "calls/s")
    each = ", ".join(f"{line['clients']}: {line[key]:.4g} {unit}" for line in lines)
    waits = ", ".join(f"{line['clients']}: {line['p50_us']:.3g} µs" for line in lines)
    return Row(
        name=f"{transport}, {n_bytes} B, {most['clients']} clients with calls in flight",
        value=most[key],
        unit=unit,
        peer=f"1 client: {alone[key]:.4g} {unit}",
        note=f"Clients, all together: {each}. Median of calls one by one: {waits}.",
    )


def wrong_row(lines: Section) -> Row:
    """Every answer is compared; one that differs or is missing fails the run."""
    n_wrong = sum(line["wrong"] for line in lines)
    n_calls = sum(line["calls"] for line in lines)
    return Row(
        name="answers to several clients, wrong or missing, all cases",
        value=n_wrong,
        unit="answers",
        reach="<= 0",
        holds=n_wrong == 0,
        note=f"Of {n_calls} calls.",
        is_correctness=True,
    )
