"""Row 30: many messages between two processes; counters equal, memory flat, no drift.

The long form makes 10^8 calls, answered natively over shared memory and driven from Python; it
wants a machine of its own, as it compares the latency at its end with that at its beginning.
"""

from __future__ import annotations

import logging
import statistics
import time

import pytest

from cudaq_target.coupler.frame import function_id
from cudaq_target.coupler.shm import Client
from tests.coupler.ends import rss_bytes
from tests.coupler.test_shm_processes import kill, name, start_server  # noqa: F401 - a fixture

_LOG = logging.getLogger(__name__)
INCREMENT = function_id("rpc_increment")
N_BLOCKS = 20
N_WARM_UP = 2
LIMIT_NS = 60 * 10**9


PAYLOADS = [number.to_bytes(8, "little") for number in range(500)]
CALLS = [(one, (0, bytes((byte + 1) & 255 for byte in one))) for one in PAYLOADS]


def block(client: Client, n_calls: int) -> float:
    """Make calls and check each answer; the median time of every five-hundredth (ns)."""
    call, times = client.call, []
    for _ in range(n_calls // len(CALLS)):
        for payload, expected in CALLS[1:]:
            assert call(INCREMENT, payload, LIMIT_NS) == expected
        payload, expected = CALLS[0]
        begin_ns = time.perf_counter_ns()
        answer = call(INCREMENT, payload, LIMIT_NS)
        times.append(time.perf_counter_ns() - begin_ns)
        assert answer == expected
    return statistics.median(times)


@pytest.mark.parametrize("n_calls", [200_000, pytest.param(100_000_000, marks=pytest.mark.soak)])
def test_row_30_soak(name: str, n_calls: int) -> None:  # noqa: F811
    process, ring = start_server(name)
    client = Client(ring)
    n_per_block = n_calls // N_BLOCKS
    medians, sizes = [], []
    for _ in range(N_BLOCKS):
        medians.append(block(client, n_per_block))
        sizes.append((rss_bytes(), rss_bytes(process.pid)))
    counters = client.counters()
    client.close()
    kill(process)
    assert counters["sent"] == counters["received"] == n_calls
    assert all(counters[key] == 0 for key in counters if key not in {"sent", "received"})
    for before, after in zip(sizes[N_WARM_UP], sizes[-1], strict=True):
        assert after - before < 1 << 20
    early, late = statistics.median(medians[:5]), statistics.median(medians[-5:])
    _LOG.info("%d calls, p50 %d ns at first, %d ns at last", n_calls, early, late)
    if n_calls >= 10**8:
        assert late < 1.1 * early
