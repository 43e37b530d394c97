"""Ground-state energy of H2: shots stream from a controller into a loop that decides what is next.

A controller process stands for the machine. Two loops find the ground state over it with the same
search: one stops each run as soon as its shots say enough and measures where they scatter most, the
other takes the same shots everywhere, as a loop over whole jobs does. See `loops.vqe`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cudaq_target.coupler.interrupts import interruptible
from cudaq_target.coupler.loops.events import EventFile
from cudaq_target.launch.compile import compile as compile_kernel
from cudaq_target.loops.controller_process import controller_process
from cudaq_target.loops.picture import draw_search
from cudaq_target.loops.progress import progress_bar
from cudaq_target.loops.run_folder import run_folder
from cudaq_target.loops.systems import hydrogen
from cudaq_target.loops.vqe import Settings, VqeResult, descent, state_energy, vqe
from cudaq_target.manifest.loop_runs import of_loop
from cudaq_target.manifest.model import check_place, write
from cudaq_target.manifest.runs import Phases
from cudaq_target.watch.report import write_report

if TYPE_CHECKING:
    from cudaq_target.coupler.loops.events import Event, Sink
    from cudaq_target.loops.systems import System
    from cudaq_target.program import Program

# How rare a failure may be.
_N_SIGMAS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What the demonstration found.

    Attributes:
        streamed: The loop that stops early.
        fixed: The same search with fixed shots.
        streamed_path: Shots measured and exact energy above the ground state, where it stood (Ha).
        fixed_path: The same of the other loop.
        program: The pulses at the end.
        seconds: Time that both loops took.
        picture: File with the picture.
        report: File with the report.
    """

    streamed: VqeResult
    fixed: VqeResult
    streamed_path: tuple[tuple[int, float], ...]
    fixed_path: tuple[tuple[int, float], ...]
    program: Program
    seconds: float
    picture: Path
    report: Path

    @property
    def tolerance_ha(self) -> float:
        """Largest error that shot noise explains (Ha)."""
        found = self.streamed
        return _N_SIGMAS * found.estimate.standard_error + found.problem.accuracy

    @property
    def is_within_tolerance(self) -> bool:
        """Whether the loop found the ground state."""
        return abs(self.streamed.error) <= self.tolerance_ha

    def as_data(self) -> dict[str, Any]:
        """Return everything but the pulses as plain data."""
        loops = {"streamed": self.streamed, "fixed": self.fixed}
        paths = {"streamed": self.streamed_path, "fixed": self.fixed_path}
        return {
            "n_qubits": self.streamed.problem.n_qubits,
            "machine": _machine(self.streamed),
            "device": self.program.rules.name,
            "tolerance": self.tolerance_ha,
            "is_within_tolerance": self.is_within_tolerance,
            **{
                name: {**loop.as_data(), "state_error": paths[name][-1][1]}
                for name, loop in loops.items()
            },
            "saved": self.fixed.n_search / self.streamed.n_search,
            "seconds": self.seconds,
            "sequence_ns": self.program.stats.duration_ns,
            "picture": str(self.picture),
            "report": str(self.report),
        }

    def text(self) -> str:
        """Describe the result in a few lines."""
        found, fixed, stats = self.streamed, self.fixed, self.program.stats
        estimate, rtt = found.estimate, found.loop.rtt_ns
        verdict = "within" if self.is_within_tolerance else "OUTSIDE"
        states = (1e3 * path[-1][1] for path in (self.streamed_path, self.fixed_path))
        return "\n".join(
            (
                f"{found.problem.title} on {self.program.rules.name}, machine {_machine(found)} "
                "behind a controller",
                f"  energy    {estimate.value:.5f} ± {estimate.standard_error:.5f} Ha "
                f"({100.0 * estimate.confidence:g} % at every look: {estimate.low:.4f} to "
                f"{estimate.high:.4f})",
                f"  exact     {found.problem.exact:.5f} Ha",
                f"  error     {1e3 * found.error:+.2f} mHa, {verdict} the tolerance of "
                f"{1e3 * self.tolerance_ha:.1f} mHa",
                f"  search    {found.n_search:,} shots streamed, {fixed.n_search:,} fixed, as many "
                f"in each basis: {_saved(fixed.n_search, found.n_search)}",
                "  state     {:.2f} mHa above the ground state streamed, {:.2f} fixed (exact, the "
                "loops do not know it)".format(*states),
                f"  energy to ± {1e3 * estimate.standard_error:.1f} mHa: {found.n_final:,} shots "
                f"streamed, {fixed.n_final:,} fixed: {_saved(fixed.n_final, found.n_final)}",
                f"  round trip p50 {1e-3 * rtt.percentile(50):.0f} µs, p99 "
                f"{1e-3 * rtt.percentile(99):.0f} µs, the machine's time included; "
                f"{found.loop.n_runs} runs, {found.loop.n_discarded} shots behind a stop",
                f"  sequence  {stats.duration_ns / 1e3:.3f} µs, {stats.n_entangling} entangling "
                f"gates, {stats.n_raman_pulses} Raman pulses",
                f"  time      {self.seconds:.1f} s for both loops",
                f"  picture   {self.picture}",
                f"  report    {self.report}",
            )
        )


def _saved(n_fixed: int, n_streamed: int) -> str:
    times = f"{n_fixed / n_streamed:.1f}"
    return "no fewer" if float(times) <= 1.0 else f"{times} times fewer"


def run(
    n_qubits: int = 4,
    n_shots: int | None = None,
    seed: int = 1,
    picture: str | Path = "h2-energy.png",
    report: str | Path = "h2-report.html",
    progress: bool | None = None,
    endpoint: str | None = None,
    final_error_ha: float | None = None,
    events: str | Path | None = None,
    manifest: str | Path | None = None,
) -> Result:
    """Run both loops, and draw them.

    Args:
        n_qubits: 2 or 4.
        n_shots: Of each basis at each point of the fixed loop; None for chemical accuracy.
        seed: Makes the result reproducible.
        picture: File to write.
        report: File to write, HTML.
        progress: Show a bar on standard error; None: only on a terminal.
        endpoint: A controller that runs; None starts one, and ends it.
        final_error_ha: Standard error of the energy at the end (Ha); chemical accuracy by default.
        events: File to append the events of the streamed loop to, for `cudaq-target watch`.
        manifest: File for the manifest of the streamed loop.

    Returns:
        The energy and how it was found.

    Raises:
        OptionError: Another number of qubits, or no rich for a forced progress bar.
        ControllerStartError: The controller did not come up.
        CouplerError: Link or machine failed for good.
    """
    check_place(manifest)
    problem, begin, phases = hydrogen(n_qubits), time.perf_counter(), Phases()
    with interruptible(), ExitStack() as stack:  # Ctrl-C ends the controller, too
        folder = stack.enter_context(run_folder())
        log = folder / "events.jsonl" if events is None else Path(events)
        place = endpoint or stack.enter_context(controller_process("local", seed=seed))
        tell = stack.enter_context(progress_bar("energy of H2", problem, progress))
        with phases.phase("run"):
            streamed = _streamed(problem, seed, final_error_ha, place, log, tell)
        fixed = _fixed(problem, n_shots, seed, streamed, place, tell)
        seconds = time.perf_counter() - begin
        write_report(log, report)
    result = Result(
        streamed=streamed,
        fixed=fixed,
        streamed_path=_path(problem, streamed),
        fixed_path=_path(problem, fixed),
        program=cast("Program", compile_kernel(problem.kernel, *streamed.point)),
        seconds=seconds,
        picture=Path(picture),
        report=Path(report),
    )
    _draw(result)
    if manifest is not None:
        _note(manifest, streamed, phases, events, (n_qubits, endpoint, final_error_ha, seed))
    return result


def _note(
    manifest: str | Path,
    streamed: VqeResult,
    phases: Phases,
    events: str | Path | None,
    asked: tuple[int, str | None, float | None, int],
) -> None:
    """Write the manifest of the streamed loop."""
    named = dict(zip(("qubits", "machine", "error", "seed"), asked, strict=True))
    written = None if events is None else Path(events)
    of_run = {"system": "h2", **named, "machine": named["machine"] or "local"}
    write(of_loop("vqe", of_run, streamed, phases, events=written), manifest)


def _fixed(
    problem: System,
    n_shots: int | None,
    seed: int,
    streamed: VqeResult,
    endpoint: str,
    tell: Sink,
) -> VqeResult:
    """Run the loop with fixed shots, up to the error of the one that streams."""
    same = _same_error(streamed)
    jobs = Settings(seed=seed, fixed_shots=n_shots or problem.fixed_shots, final_shots=same)
    return vqe(problem, jobs, endpoint=endpoint, events=tell)


def _streamed(
    problem: System, seed: int, error_ha: float | None, endpoint: str, log: Path, tell: Sink
) -> VqeResult:
    """Run the loop that stops early; its events go to a file and to the progress bar."""
    settings = Settings(seed=seed, final_error=error_ha)
    with EventFile(log) as write:

        def sink(event: Event) -> None:
            write(event)
            tell(event)

        return vqe(problem, settings, endpoint=endpoint, events=sink)


def _machine(result: VqeResult) -> str:
    return str(result.machine.get("name", "unknown"))


def _same_error(result: VqeResult) -> int:
    """Fixed shots of each basis that give the energy the same standard error."""
    variance = sum(deviation**2 for deviation in result.estimate.deviations)
    return ceil(variance / result.estimate.standard_error**2)


def _path(problem: System, result: VqeResult) -> tuple[tuple[int, float], ...]:
    stood = descent(problem, result.loop.steps)
    return tuple(
        (n_shots, state_energy(problem, point) - problem.exact) for point, n_shots in stood
    )


def _draw(result: Result) -> None:
    found = result.streamed
    energy = f"{found.estimate.value:.5f}".replace("-", "−")
    draw_search(
        result.program,
        result.streamed_path,
        result.fixed_path,
        found.loop.steps[:-1],
        found.bases,
        found.problem.accuracy,
        found.problem.unit,
        result.picture,
        f"energy of H2 (STO-3G): {energy} ± {found.estimate.standard_error:.5f} Ha; search: "
        f"{found.n_search:,} shots streamed, {result.fixed.n_search:,} fixed",
    )
