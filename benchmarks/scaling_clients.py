"""The ends of `scaling_coupler`: a server process with all endpoints that it needs, and clients.

`python -m benchmarks.scaling_clients serve SPEC ADDRESS …` serves a native echo at every address,
says where on a line, and ends with its input. `… call` is a client: it reads whom to call, says
that it is connected, and then, for each of `TASKS`, reads when to begin and says what became of it.
"""

from __future__ import annotations

import json
import sys
import time
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.latency import rounded
from benchmarks.link_ends import open_caller
from benchmarks.link_servers import native_dispatcher
from benchmarks.link_spec import Spec
from cudaq_target.coupler.errors import CallTimeoutError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link_errors import LinkError
from cudaq_target.coupler.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable

_N_PAYLOADS = 5
_PATIENCE_S = 5.0


def serve_all(text: str, *addresses: str) -> None:
    """Serve at every address until the input ends."""
    options = Spec.from_json(text).options()
    servers = [serve(native_dispatcher(), address, options=options) for address in addresses]
    _say({"addresses": [str(server.endpoint) for server in servers]})
    sys.stdin.read()
    for server in servers:
        server.close()


def call_on_demand() -> None:
    """Do all tasks with one server after the other."""
    for line in sys.stdin:
        task = json.loads(line)
        spec = Spec.from_json(task["spec"])
        caller: Any = open_caller(task["address"], spec)
        try:
            _say({"ready": True})
            for do in TASKS.values():
                begin_ns = int(sys.stdin.readline())
                _say(do(caller, spec.n_bytes, begin_ns, task["seconds"]))
        finally:
            caller.close()


def one_by_one(caller: Any, n_bytes: int, begin_ns: int, for_s: float) -> dict[str, Any]:  # noqa: ANN401
    """The next call starts when the last answer is here."""
    payloads = payloads_of(n_bytes)
    taken_ns: list[int] = []
    n_wrong = n_missing = 0
    call = caller.call
    wait_until(begin_ns)
    end_ns = begin_ns + int(1e9 * for_s)
    start = stop = time.monotonic_ns()
    while stop < end_ns:
        payload = payloads[len(taken_ns) % _N_PAYLOADS]
        start = time.monotonic_ns()
        try:
            answer = call(payload)
        except (LinkError, CallTimeoutError):
            n_missing += 1
            stop = time.monotonic_ns()
            continue
        stop = time.monotonic_ns()
        n_wrong += answer != payload
        taken_ns.append(stop - start)
    p50, p99 = np.percentile(taken_ns, (50, 99), method="inverted_cdf") if taken_ns else (0, 0)
    return {
        "n": len(taken_ns),
        "wrong": n_wrong + n_missing,
        "p50_us": rounded(1e-3 * float(p50)),
        "p99_us": rounded(1e-3 * float(p99)),
    }


def in_flight(caller: Any, n_bytes: int, begin_ns: int, for_s: float) -> dict[str, Any]:  # noqa: ANN401
    """As many calls at once as the link takes; those that end in time count, all are compared."""
    payloads = payloads_of(n_bytes)
    sent: dict[int, bytes] = {}
    n_sent = n_timely = n_wrong = 0
    wait_until(begin_ns)
    end_ns = begin_ns + int(1e9 * for_s)
    heard_ns = now_ns = time.monotonic_ns()
    while now_ns < end_ns or sent:
        while now_ns < end_ns:
            payload = payloads[n_sent % _N_PAYLOADS]
            number = caller.submit(payload)
            if number is None:
                break
            sent[number] = payload
            n_sent += 1
        outcome = caller.collect(0.01)
        now_ns = time.monotonic_ns()
        while outcome is not None:
            number, status, answer = outcome
            n_wrong += status != Status.OK or answer != sent.pop(number, None)
            n_timely += now_ns < end_ns
            heard_ns = now_ns
            outcome = caller.collect(0.0)
        if now_ns - heard_ns > 1e9 * _PATIENCE_S:
            break
    return {"n": n_timely, "wrong": n_wrong + len(sent)}


TASKS: dict[str, Callable[[Any, int, int, float], dict[str, Any]]] = {
    "one by one": one_by_one,
    "in flight": in_flight,
}


def payloads_of(n_bytes: int) -> list[bytes]:
    """Random payloads, no two the same in any two clients' processes at the same time."""
    rng = np.random.default_rng((perf_counter_ns(), n_bytes))
    return [rng.bytes(n_bytes) for _ in range(_N_PAYLOADS)]


def wait_until(moment_ns: int) -> None:
    """Sleep until a moment of the clock that all processes share (ns)."""
    time.sleep(max(0.0, 1e-9 * (moment_ns - time.monotonic_ns())))


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve_all(*sys.argv[2:])
    else:
        call_on_demand()
