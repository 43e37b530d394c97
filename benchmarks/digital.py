"""How exact and how fast is the embedded emulator: errors, GHZ against pulser-simulation, size.

Run it with `python -m benchmarks.run digital [--quick] [--json] [--output FILE]`.
"""

from __future__ import annotations

import statistics
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.report import Goal, Row, progress
from benchmarks.timing import Pair, ProbeError, cold_probe, in_turns, probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ERROR_GOAL, QUTIP_GOAL = 1e-9, 1e-6
GHZ_GOAL_RATIO = 300.0
GHZ_QUBITS = 8
OVERHEAD_GOAL_MS = 10.0
# name: (title, limit in s, seconds of the prototype in the project's reference, quiet machine)
LARGE = {
    "ghz-24": ("GHZ-24, compile + run", 4.0, 1.8),
    "random-20": ("random depth-10 n=20, compile + run", 2.5, 0.87),
}


def rows(quick: bool = False) -> Iterator[Row]:
    """Measure everything, one row at a time."""
    # The quick form of `compile` emulates the circuits that "inputs" would, on the same inputs.
    for which in ("corpus", "large", "qutip") if quick else ("corpus", "inputs", "large", "qutip"):
        yield error_row(which, quick)
    if quick:
        yield from overhead_rows(blocks=1)
        return
    # Compiles, where needed, the machine code that the timed processes read from disk.
    with suppress(ProbeError):  # each row says for itself why it could not run
        probe("run_ours", "random-12")
    for n in range(2, GHZ_QUBITS):
        yield from ghz_rows(n, repeats=3)
    yield from ghz_rows(GHZ_QUBITS, repeats=3)
    for name in LARGE:
        yield from large_rows(name, repeats=5, peer_repeats=1)
    yield from overhead_rows(blocks=10)


def error_row(which: str, quick: bool) -> Row:
    """Largest error over a set of kernels; a wrong result fails the run."""
    titles = {
        "corpus": ("state error of lowered kernels, test corpus", "qpp-cpu", ERROR_GOAL),
        "inputs": ("state error of the circuits, random inputs", "Qiskit Statevector", ERROR_GOAL),
        "large": ("state error of a large random circuit", "NumPy", ERROR_GOAL),
        "qutip": ("state error against pulser-simulation", "rtol 1e-10, atol 1e-12", QUTIP_GOAL),
    }
    title, peer, limit = titles[which]
    progress(title)
    goal = Goal(limit)
    try:
        errors = probe("accuracy", which, "quick" if quick else "full")["errors"]
    except ProbeError as error:
        # Correctness that cannot be checked is not a pass.
        return Row(
            name=title,
            value=None,
            unit="1 - F",
            peer=peer,
            reach=str(goal),
            holds=False,
            note=f"could not run: {error}",
            is_correctness=True,
        )
    worst, value = max(errors, key=lambda entry: entry[1])
    return Row(
        name=f"{title}, {f'{len(errors)} cases' if len(errors) > 1 else worst}",
        value=value,
        unit="1 - F",
        peer=peer,
        reach=str(goal),
        holds=goal.met_by(value),
        samples=tuple(error for _, error in errors),
        note=f"Largest of all cases: {worst}.",
        is_correctness=True,
    )


def ghz_rows(n: int, repeats: int) -> Iterator[Row]:
    """Compile and emulate GHZ-n with empty caches; the peer runs the same Sequence."""
    name = f"ghz-{n}"
    progress(f"{name}: local against QutipBackendV2")
    processes: list[float] = []

    def ours() -> float:
        processes.append(float(cold_probe("run_ours", name)["seconds"]))
        return float(cold_probe("ghz_in_process", name)["seconds"])

    def peer_s() -> float:
        return float(probe("run_qutip", name)["seconds"])

    title = f"GHZ-{n}, cold caches, local against pulser-simulation"
    goal = f">= {GHZ_GOAL_RATIO:g} (ratio)" if n == GHZ_QUBITS else None
    try:
        if n == GHZ_QUBITS:  # the peer takes minutes: once is enough
            pair = Pair(tuple(ours() for _ in range(repeats)), (peer_s(),))
        else:
            pair = in_turns(ours, peer_s, repeats)
    except ProbeError as error:
        yield Row(title, None, "ms", reach=goal, note=f"could not run: {error}")
        return
    peer = f"QutipBackendV2, same Sequence: {1000.0 * pair.peer:.0f} ms"
    yield Row(
        name=title,
        value=1000.0 * pair.ours,
        unit="ms",
        peer=peer,
        ratio=pair.ratio,
        reach=goal,
        holds=pair.ratio >= GHZ_GOAL_RATIO if goal else None,
        samples=milliseconds(pair.ours_s),
        note=(
            "Compile, solve all pulses (empty pulse cache), emulate, 1000 shots. Both sides have "
            "run a small program before, which loads machine code and shares nothing cached. The "
            "peer's time is the run alone, its Sequence is given."
        ),
    )
    if n == GHZ_QUBITS:
        process = Pair(tuple(processes), pair.peer_s)
        yield Row(
            name=f"GHZ-{n}, the same in a fresh process",
            value=1000.0 * process.ours,
            unit="ms",
            peer=peer,
            ratio=process.ratio,
            samples=milliseconds(processes),
            note="Adds the loading of Numba's code from disk, on our side only.",
        )


def large_rows(name: str, repeats: int, peer_repeats: int) -> Iterator[Row]:
    """Compile and run a large circuit in fresh processes; the peers run the ideal gates."""
    title, limit_s, prototype_s = LARGE[name]
    progress(title)
    goal = Goal(limit_s)
    try:
        peers = {
            label: [float(probe(run, name)["seconds"]) for _ in range(peer_repeats)]
            for label, run in (("qpp-cpu", "run_qpp"), ("NumPy, no shots", "run_numpy"))
        }
        taken = [cold_probe("run_ours", name) for _ in range(repeats)]
    except ProbeError as error:
        yield Row(title, None, "s", reach=str(goal), note=f"could not run: {error}")
        return
    value = statistics.median(one["seconds"] for one in taken)
    compiling = statistics.median(one["compile_s"] for one in taken)
    for label, peer_s in peers.items():
        median_s = statistics.median(peer_s) if peer_s else None
        yield Row(
            name=title if label == "qpp-cpu" else f"{title}, against {label}",
            value=value,
            unit="s",
            peer=f"{label}, ideal gates: {median_s:.2f} s" if median_s else None,
            ratio=median_s / value if median_s else None,
            reach=str(goal) if label == "qpp-cpu" else None,
            holds=goal.met_by(value) if label == "qpp-cpu" else None,
            samples=tuple(one["seconds"] for one in taken),
            note=(
                f"Fresh process, empty pulse cache, imports not included, 1000 shots; of this "
                f"{compiling:.2f} s compile and load Numba's code. Prototype: {prototype_s} s on "
                "another, quiet machine."
            ),
        )


def overhead_rows(blocks: int) -> Iterator[Row]:
    """What `cudaq.sample` costs on the target beyond emulation."""
    progress("cudaq.sample: 5 qubits, 100 gates")
    goal = Goal(OVERHEAD_GOAL_MS)
    title = "cudaq.sample beyond emulation, 5 qubits, 100 gates"
    try:
        taken = probe("sample_calls", str(blocks))
    except ProbeError as error:
        yield Row(title, None, "ms", reach=str(goal), note=f"could not run: {error}")
        return
    emulation_s, qpp_s = statistics.median(taken["emulation"]), statistics.median(taken["qpp"])
    for label, key in (("second call on", "same"), ("new arguments in each call", "changed")):
        calls: list[float] = taken[key]
        value = 1000.0 * (statistics.median(calls) - emulation_s)
        yield Row(
            name=f"{title}, {label}",
            value=value,
            unit="ms",
            peer=f"qpp-cpu, whole call, same arguments: {1000.0 * qpp_s:.2f} ms",
            ratio=1000.0 * qpp_s / value,
            reach=str(goal),
            holds=goal.met_by(value),
            samples=tuple(1000.0 * (call - emulation_s) for call in calls),
            note=(
                f"Whole call {1000.0 * statistics.median(calls):.2f} ms, of this emulation and "
                f"1000 shots {1000.0 * emulation_s:.2f} ms (medians)."
            ),
        )


def milliseconds(taken_s: Sequence[float]) -> tuple[float, ...]:
    return tuple(1000.0 * one for one in taken_s)
