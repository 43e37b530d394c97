"""A decoder in Python that runs at native speed behind shared memory, in a process of its own.

The server compiles `majority` with Numba; after that no interpreter is between a request and its
answer. The client is this process; it checks each correction and prints how long a call took.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.synchronize import Event

import numpy as np

from cudaq_target.coupler import Histogram, NativeDispatcher, connect, handler, serve


@handler
def majority(syndromes: np.ndarray, corrections: np.ndarray) -> int:
    """Decode one logical bit per byte: it flipped where most of its 8 copies did."""
    if len(syndromes) > len(corrections):
        return -2  # BAD_REQUEST
    for k in range(len(syndromes)):
        n_ones = 0
        for bit in range(8):
            n_ones += (syndromes[k] >> bit) & 1
        corrections[k] = n_ones > 4
    return len(syndromes)


def serve_decoder(endpoint: str, stopped: Event) -> None:
    """Serve until the client is done."""
    dispatcher = NativeDispatcher(window=64)
    majority.add_to(dispatcher, "majority", min_arg_bytes=1)
    with serve(dispatcher, endpoint):
        stopped.wait()


def main(n_calls: int = 20_000) -> Histogram:
    """Start the server, call it, and give the times of the calls (ns)."""
    endpoint = f"shm://decoder-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    server = context.Process(target=serve_decoder, args=(endpoint, stopped), daemon=True)
    server.start()
    rng = np.random.default_rng(1)
    syndromes = rng.integers(0, 256, size=(n_calls, 16), dtype=np.uint8)
    expected = np.unpackbits(syndromes, axis=1).reshape(n_calls, 16, 8).sum(axis=2) > 4
    times = []
    with connect(endpoint, timeout_s=60.0) as link:
        for asked, right in zip(syndromes, expected, strict=True):
            begin = time.perf_counter_ns()
            answer = link.call("majority", asked.tobytes(), 10.0)
            times.append(time.perf_counter_ns() - begin)
            assert answer.status == 0
            assert answer.result == right.tobytes()
    stopped.set()
    server.join()
    histogram = Histogram()
    histogram.record(times)
    p50_us, p99_us = (histogram.percentile(percent) / 1e3 for percent in (50, 99))
    print(f"{n_calls} corrections over {endpoint}: p50 {p50_us:.1f} µs, p99 {p99_us:.1f} µs")
    return histogram


if __name__ == "__main__":
    main()
