"""How long a question and its answer take on this machine, over each local transport.

Run it: `python examples/latency_on_your_node.py [calls] [core of the server] [core of the caller]`.
The server is a process of its own that answers in machine code, so that what is measured is the
link and not a handler. Half of what a caller sees is the machine: shared cores, power saving and
virtual machines make the tails, and pinning to cores of one's own takes most of them away.
`cudaq-target bench rtt` measures the same with more care, beside other libraries.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Event

from cudaq_target.coupler import Histogram, NativeDispatcher, connect, handler, serve

PERCENTS = 50.0, 90.0, 99.0, 99.9
WARM_UP = 200
PAYLOAD = bytes(range(64))


@handler
def echo(arguments, result):  # noqa: ANN001, ANN201 - Numba compiles it for bytes
    """Answer with what was sent."""
    for k in range(len(arguments)):
        result[k] = arguments[k]
    return len(arguments)


def pin(core: int | None) -> None:
    """Keep this process on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def serve_echo(endpoints: list[str], core: int | None, stopped: Event) -> None:
    """Answer on every endpoint until the caller is done."""
    pin(core)
    with ExitStack() as servers:
        for endpoint in endpoints:
            dispatcher = NativeDispatcher(window=64)
            echo.add_to(dispatcher, "echo")
            servers.enter_context(serve(dispatcher, endpoint))
        stopped.wait()


@contextmanager
def echo_process(endpoints: list[str], core: int | None) -> Iterator[None]:
    """Serve from a process of its own; the ones that nobody calls sleep."""
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    server = context.Process(target=serve_echo, args=(endpoints, core, stopped), daemon=True)
    server.start()
    try:
        yield
    finally:
        stopped.set()
        server.join()


def round_trips(endpoint: str, n_calls: int) -> Histogram:
    """Ask one question at a time, and give the times (ns)."""
    times_ns = []
    with connect(endpoint, timeout_s=60.0) as link:
        for _ in range(WARM_UP + n_calls):
            begin = time.perf_counter_ns()
            answer = link.call("echo", PAYLOAD, 10.0)
            times_ns.append(time.perf_counter_ns() - begin)
            assert answer.result == PAYLOAD
    histogram = Histogram()
    histogram.record(times_ns[WARM_UP:])
    return histogram


def main(
    n_calls: int = 20_000, server_core: int | None = None, caller_core: int | None = None
) -> dict[str, Histogram]:
    """Measure each transport, and print percentiles."""
    n_cores = len(os.sched_getaffinity(0))
    pin(caller_core)
    pinned = "not pinned" if server_core is None else f"pinned to {server_core}, {caller_core}"
    print(f"{n_calls} round trips of {len(PAYLOAD)} bytes, {n_cores} cores usable, {pinned}")
    print(f"{'µs':>8} " + " ".join(f"{f'p{percent:g}':>8}" for percent in PERCENTS) + "      max")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        endpoints = {"shm": f"shm://latency-{os.getpid()}", "ipc": f"ipc://{folder}/latency"}
        with echo_process(list(endpoints.values()), server_core):
            for name, endpoint in endpoints.items():
                found = results[name] = round_trips(endpoint, n_calls)
                figures = [*map(found.percentile, PERCENTS), found.maximum or 0]
                print(f"{name:>8} " + " ".join(f"{1e-3 * figure:8.1f}" for figure in figures))
    return results


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
