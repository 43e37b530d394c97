"""Where the time of a request goes in a server, and what the loop around a decoder costs.

`stage_records` reads the stamps of a decode server. `sifl_records` closes the loop as a controller
does: rounds leave on time, and the shot lasts until its correction has landed.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.latency import Distribution, rounded
from benchmarks.link_ends import contender
from benchmarks.link_servers import LOOK_UP_BITS
from benchmarks.link_spec import OURS, Spec
from benchmarks.report import progress
from cudaq_target.coupler.decode_server import (
    enqueue_arguments,
    get_corrections_arguments,
    reset_arguments,
)
from cudaq_target.coupler.frame import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.link_ends import LinkCaller, RingCaller

    Caller = RingCaller | LinkCaller

_TIMEOUT_S = 5.0
_YIELD_NS = 10_000  # below, others run on other cores or not at all
PERIODS_NS = (2_000, 10_000, 50_000, 1_000_000)


class WrongCorrectionError(Exception):
    """A decoder answered what it must not."""


def stage_records(quick: bool, transports: tuple[str, ...] = OURS) -> Iterator[dict[str, Any]]:
    """Parse, decode and respond in the Python server, by transport (µs); the round trip beside."""
    n_shots = 200 if quick else 5_000
    bits = np.ones(LOOK_UP_BITS, dtype=np.uint8)
    read = get_corrections_arguments(0, LOOK_UP_BITS, reset=True)
    for transport in transports:
        progress(f"stages, {transport}")
        with contender(Spec(transport, handler="stages")) as end:
            call = end.caller.link.call
            taken_ns = []
            for shot in range(n_shots):
                volume = enqueue_arguments(0, shot << 16, bits)
                begun_ns = perf_counter_ns()
                call("enqueue_syndromes", volume, _TIMEOUT_S)
                taken_ns.append(perf_counter_ns() - begun_ns)
                _check(call("get_corrections", read, _TIMEOUT_S).result, b"\xff")
            stages = end.ask()["stages"]
        found = Distribution.of(np.array(taken_ns))
        whole = {"n": found.n, "mean": found.mean, "p50": found.p50, "p90": found.p90}
        stages["round trip"] = whole | {"p99": found.p99, "max": found.max}
        for stage, figures in stages.items():
            rest = {name: rounded(value) for name, value in figures.items() if name != "n"}
            yield {"transport": transport, "stage": stage, "n": figures["n"]} | rest


def _check(result: bytes, expected: bytes) -> None:
    if result != expected:
        raise WrongCorrectionError(f"correction {result.hex()} instead of {expected.hex()}")


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot of a closed loop (ns).

    Attributes:
        rounds_ns: From the schedule of each round to its reply; the last one is the correction's.
        added_ns: From the scheduled end of the shot to its correction.
    """

    rounds_ns: tuple[int, ...]
    added_ns: int


Messages = tuple[tuple[str, bytes], ...]


def look_up_messages(shot: int) -> tuple[Messages, bytes]:
    """Rounds of a native look-up decoder, each with its own correction; and the last of these."""
    syndromes = [bytes([(37 * shot + k) % 256]) for k in range(LOOK_UP_BITS)]
    return tuple(("look_up", one) for one in syndromes), syndromes[-1]


def decode_messages(shot: int) -> tuple[Messages, bytes]:
    """Rounds of one bit for a decode server, the request for the correction, and the correction."""
    syndrome = (37 * shot) % 256
    bits = [np.array([(syndrome >> k) & 1], dtype=np.uint8) for k in range(LOOK_UP_BITS)]
    rounds = [
        ("enqueue_syndromes", enqueue_arguments(0, (shot << 16) | k, one))
        for k, one in enumerate(bits)
    ]
    read = get_corrections_arguments(0, LOOK_UP_BITS, reset=True)
    return (*rounds, ("get_corrections", read)), bytes([syndrome])


def play_shot(
    caller: Caller, messages: Messages, expected: bytes, period_ns: int, n_rounds: int
) -> Shot:
    """Send rounds on time, then wait for the correction, which is the reply to the last message.

    Raises:
        WrongCorrectionError: Another correction came, or none.
    """
    clock = perf_counter_ns
    start_ns = clock()
    due_ns = [start_ns + min(k, n_rounds) * period_ns for k in range(len(messages))]
    end_ns = start_ns + n_rounds * period_ns
    index: dict[int, int] = {}
    replied_ns = [0] * len(messages)
    sent = n_replies = 0
    last = b""
    give_up_ns = end_ns + int(1e9 * _TIMEOUT_S)
    while n_replies < len(messages):
        if clock() > give_up_ns:
            raise WrongCorrectionError(f"no correction in {_TIMEOUT_S:g} s")
        if sent < len(messages) and clock() >= due_ns[sent]:
            function, payload = messages[sent]
            number = caller.submit(payload, function)
            if number is not None:
                index[number] = sent
                sent += 1
                continue
        outcome = caller.collect(0.0)
        if outcome is not None:
            number, status, last = outcome
            if status != Status.OK:
                raise WrongCorrectionError(f"status {status}")
            replied_ns[index[number]] = clock()
            n_replies += 1
        elif period_ns >= _YIELD_NS:
            os.sched_yield()
    _check(last, expected)
    # A look-up's last round is scheduled one period before the end, and may land before it.
    rounds = tuple(at - due for at, due in zip(replied_ns, due_ns, strict=True))
    return Shot(rounds, max(0, replied_ns[-1] - end_ns))


def sifl_records(quick: bool) -> Iterator[dict[str, Any]]:
    """What a shot of eight rounds waits for its correction, by decoder and round period (µs)."""
    cases: list[tuple[str, Spec, Callable[[int], tuple[Messages, bytes]]]] = [
        ("native look-up", Spec("shm", caller="ring", wait="busy"), look_up_messages),
        ("decode server", Spec("shm", handler="decode", wait="busy"), decode_messages),
        ("decode server", Spec("ipc", handler="decode"), decode_messages),
    ]
    for name, spec, messages_of in cases[: 2 if quick else None]:
        progress(f"closed loop of shots, {name} over {spec.transport}")
        with contender(spec) as end:
            end.wake()
            for period_ns in PERIODS_NS:
                n_shots = 20 if quick else 1_000 if period_ns < 1_000_000 else 200
                shots = _shots(end.caller, messages_of, period_ns, n_shots)
                yield {"decoder": name, "transport": spec.transport} | _sifl(shots, period_ns)


def _shots(
    caller: Caller,
    messages_of: Callable[[int], tuple[Messages, bytes]],
    period_ns: int,
    n_shots: int,
) -> list[Shot]:
    if hasattr(caller, "link"):
        caller.link.call("reset_decoder", reset_arguments(0), _TIMEOUT_S)
    warm_ups = 5
    first = period_ns % 97 * 1000  # counters that no other period uses
    prepared = [messages_of(first + k) for k in range(n_shots + warm_ups)]
    gc.disable()
    try:
        shots = [play_shot(caller, *one, period_ns, LOOK_UP_BITS) for one in prepared]
    finally:
        gc.enable()
    return shots[warm_ups:]


def _sifl(shots: list[Shot], period_ns: int) -> dict[str, Any]:
    added = Distribution.of(np.array([shot.added_ns for shot in shots]))
    rounds = Distribution.of(np.array([one for shot in shots for one in shot.rounds_ns]))
    lengthened = np.ceil([shot.added_ns / period_ns for shot in shots])
    return {
        "period": period_ns / 1e3,
        "shots": len(shots),
        "rounds": LOOK_UP_BITS,
        "round_p50": rounded(rounds.p50),
        "round_p99": rounded(rounds.p99),
        "added_p50": rounded(added.p50),
        "added_p99": rounded(added.p99),
        "added_max": rounded(added.max),
        "added_per_round_mean": rounded(added.mean / LOOK_UP_BITS),
        "rounds_added_mean": rounded(float(lengthened.mean())),
    }
