"""Closed loops: the next request starts when the last answer is here; contenders take turns."""

from __future__ import annotations

import gc
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import timing
from benchmarks.latency import Counts, Samples
from benchmarks.link_ends import Contender, PeerError, contender
from benchmarks.link_spec import OURS, on_core
from benchmarks.report import progress
from cudaq_target.coupler import _bench
from cudaq_target.coupler.errors import CallTimeoutError
from cudaq_target.coupler.link_errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.link_spec import Spec

    Block = Callable[[int], tuple[NDArray[np.int64], Counts]]

_N_PAYLOADS = 61
_PAYLOADS_BYTES = 1 << 23
_WARM_UPS = 200


@dataclass(frozen=True, slots=True)
class Effort:
    """Repetitions, and round trips per repetition at 64 B.

    Attributes:
        blocks: Repetitions of each case; contenders take turns in them.
        native: Round trips of one where both ends are native.
        fast: From Python through shared memory.
        sockets: Through sockets.
    """

    blocks: int
    native: int
    fast: int
    sockets: int

    def rounds(self, spec: Spec) -> int:
        """Round trips of one repetition; fewer of long payloads, and of the slowest peer."""
        fast, sockets = _SHARES[spec.n_bytes]
        slow = 0.3 if spec.transport == "zenoh" else 1.0
        wanted = self.fast * fast if spec.is_fast else self.sockets * sockets * slow
        return max(10, int(wanted))

    def shorter(self, times: int) -> Effort:
        """The same with fewer round trips through sockets."""
        return replace(self, sockets=max(10, self.sockets // times))

    def native_rounds(self, n_bytes: int) -> int:
        return max(10, int(self.native * _SHARES[n_bytes][0]))


_SHARES = {64: (1.0, 1.0), 1024: (1.0, 0.2), 65_536: (1.0, 0.1), 1 << 20: (0.02, 0.01)}
FULL = Effort(blocks=20, native=10_000, fast=5_000, sockets=5_000)
QUICK = Effort(blocks=2, native=500, fast=200, sockets=50)


@dataclass(slots=True)
class Measured:
    """What a group gave.

    Attributes:
        samples: By contender.
        failures: Why a contender could not run.
    """

    samples: dict[Spec | str, Samples] = field(default_factory=dict)
    failures: dict[Spec, str] = field(default_factory=dict)


def against(
    specs: Sequence[Spec],
    effort: Effort,
    more: dict[str, tuple[Block, int]] | None = None,
    *,
    client_core: int = -1,
) -> Measured:
    """Start contenders, and time them in turns.

    Args:
        specs: Contenders; a peer that cannot run is left out.
        effort: How often.
        more: Further blocks by name, with their round trips per repetition.
        client_core: Where the callers run; below 0 the system chooses.
    """
    names = dict.fromkeys(f"{spec.transport} {spec.handler}" for spec in specs)
    progress(f"{', '.join(names)}, {specs[0].n_bytes} B")
    found = Measured()
    with ExitStack() as stack:
        stack.enter_context(on_core(client_core))
        blocks: dict[Spec | str, tuple[Block, int]] = dict(more or {})
        for spec in specs:
            try:
                end = stack.enter_context(contender(spec))
            except (ImportError, OSError, PeerError) as error:
                if spec.transport in OURS:
                    raise
                found.failures[spec] = str(error)
                continue
            size = spec.n_bytes
            blocks[spec] = (
                (lambda n, end=end, size=size: round_trips(end, n, size)),
                effort.rounds(spec),
            )
        found.samples = turns(blocks, effort.blocks)
    return found


def turns(blocks: dict[Spec | str, tuple[Block, int]], n_blocks: int) -> dict[Spec | str, Samples]:
    """Time blocks of round trips in turns."""
    samples = {name: Samples() for name in blocks}

    def taken(name: Spec | str) -> None:
        block, n_rounds = blocks[name]
        samples[name].take(*block(n_rounds))

    timing.turns({name: partial(taken, name) for name in blocks}, n_blocks)
    return samples


def payloads_of(n_bytes: int) -> list[bytes]:
    """Random payloads, several so that no answer fits twice."""
    rng = np.random.default_rng(n_bytes)
    return [rng.bytes(n_bytes) for _ in range(max(5, min(_N_PAYLOADS, _PAYLOADS_BYTES // n_bytes)))]


def round_trips(end: Contender, n_rounds: int, n_bytes: int) -> tuple[NDArray[np.int64], Counts]:
    """Time calls one by one; answers are compared outside of the times.

    Returns:
        Times of the answered calls (ns), shape (n_answered,), and what became of all.
    """
    payloads = payloads_of(n_bytes)
    call, clock, n_payloads = end.call, perf_counter_ns, len(payloads)
    taken_ns: list[int] = []
    n_wrong = n_missing = 0
    before = end.caller.counts()
    end.wake()
    gc.disable()
    try:
        for k in range(-min(_WARM_UPS, n_rounds), n_rounds):
            payload = payloads[k % n_payloads]
            start = clock()
            try:
                answer = call(payload)
            except (LinkError, CallTimeoutError):
                n_missing += 1
                continue
            stop = clock()
            n_wrong += answer != payload
            if k >= 0:
                taken_ns.append(stop - start)
    finally:
        gc.enable()
        end.rest()
    counts = difference(end.caller.counts(), before)
    counts.submitted, counts.completed = n_rounds, len(taken_ns)
    counts.matched = len(taken_ns) - n_wrong
    counts.payload_errors = n_wrong
    counts.deadline_misses = max(counts.deadline_misses, n_missing)
    return np.array(taken_ns, dtype=np.int64), counts


def difference(after: Counts, before: Counts) -> Counts:
    """What happened between two looks."""
    old = asdict(before)
    return Counts(**{name: value - old[name] for name, value in asdict(after).items()})


def native_block(
    n_bytes: int, wait: str | None, client_core: int = -1, server_core: int = -1
) -> Block:
    """Both ends in machine code.

    Args:
        n_bytes: Payload each way (bytes).
        wait: Of the slot ring; None for two flags and two buffers, the floor.
        client_core: Of the timing side; below 0 the system chooses.
        server_core: Of the answering side.
    """
    cores = {"client_core": client_core, "server_core": server_core}

    def run(n_rounds: int) -> tuple[NDArray[np.int64], Counts]:
        if wait is None:
            times_ns, n_wrong = _bench.ping_pong(n_rounds, n_bytes, **cores)
        else:
            times_ns, n_wrong = _bench.rpc(n_rounds, n_bytes, wait=wait, **cores)
        n_right = n_rounds - n_wrong
        return times_ns, Counts(n_rounds, n_rounds, n_right, payload_errors=n_wrong)

    return run
