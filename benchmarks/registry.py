"""All benchmarks by name: what each measures, and which modules give its rows.

A benchmark has a record of its own, `results/NAME.json`. A group is a name for several of them that
run one after the other; `all` is the group of every benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: As in `python -m benchmarks.run NAME`.
        modules: Of `benchmarks`, in the order in which they run; each has `rows(quick)` or
            `measured(quick)`.
        measures: One line that says what.
        quick_s: What its quick form may take on two quiet cores (s); informs, fails nothing.
    """

    name: str
    modules: tuple[str, ...]
    measures: str
    quick_s: float


BENCHMARKS = (
    Benchmark("compile", ("compile",), "gates, durations and times of compiled circuits", 10),
    Benchmark("digital", ("digital",), "errors and times of emulated gate kernels", 12),
    Benchmark("gates", ("gates",), "errors of single gates beside the textbook's", 3),
    Benchmark("analog", ("analog",), "errors and times of emulated analog programs", 8),
    Benchmark("kernels", ("shots",), "kernels on packed shots against NumPy and a copy", 8),
    Benchmark("rtt", ("rtt",), "round trips over every transport, closed and open loops", 15),
    Benchmark("throughput", ("throughput",), "frames one way and calls in flight", 8),
    Benchmark("stream", ("stream",), "shot frames from a controller to a host", 8),
    Benchmark("gpu", ("gpu",), "kernels, dispatcher and emulators on a GPU", 1),
    Benchmark("loop-vqe", ("loop_vqe",), "shots of variational loops until the energy is right", 5),
    Benchmark("loop-drift", ("loop_drift",), "probe shots that keep a drifting machine known", 5),
    Benchmark("loop-memory", ("loop_memory",), "deadlines of decoding rounds on a cadence", 5),
    Benchmark("loop-latency", ("loop_latency",), "frame to decision, overhead of a step", 5),
    Benchmark("loop-target", ("loop_target",), "cudaq.sample over the coupler", 5),
    Benchmark("hpc", ("hpc_cloud", "hpc_qrmi"), "clients of cloud and QRMI beyond the machine", 8),
    Benchmark("whole-call", ("whole_call",), "a whole cudaq.sample against the stock target", 6),
    Benchmark("scaling-emulator", ("scaling_emulator",), "time and memory over qubits, depth", 3),
    Benchmark("scaling-compile", ("scaling_compile",), "compile time over gates", 3),
    Benchmark("scaling-coupler", ("scaling_coupler",), "throughput over payload and clients", 3),
    Benchmark("scaling-loop", ("scaling_loop",), "overhead of a loop over qubits", 3),
)

BY_NAME = {one.name: one for one in BENCHMARKS}


def _beginning(prefix: str) -> tuple[str, ...]:
    return tuple(name for name in BY_NAME if name.startswith(prefix))


GROUPS = {"loop": _beginning("loop-"), "scaling": _beginning("scaling-"), "all": tuple(BY_NAME)}
NAMES = (*BY_NAME, *GROUPS)


def listing() -> str:
    """All names, with what each measures."""
    width = max(map(len, NAMES))
    lines = [f"{one.name.ljust(width)}  {one.measures}" for one in BENCHMARKS]
    for name, members in GROUPS.items():
        what = "every benchmark" if name == "all" else ", ".join(members)
        lines.append(f"{name.ljust(width)}  {what}")
    return "\n".join(lines)
