"""Runs of programs with their manifests."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.analog.program import AnalogProgram
from cudaq_target.coupler.loops.events import command
from cudaq_target.launch.remote import program_shots
from cudaq_target.machines.here import measured_here
from cudaq_target.manifest import facts
from cudaq_target.manifest.model import About, Manifest, Result
from cudaq_target.options import Options, remote_form
from cudaq_target.program_file import counted
from cudaq_target.target import Pasqal, Session

if TYPE_CHECKING:
    from cudaq_target.program import Program
    from cudaq_target.shots import Shots

# Keys, and places of this computer.
WITHHELD: Final = ("machine_secret", "machine_server_key", "cache_dir")
_ISO: Final = "%Y-%m-%dT%H:%M:%SZ"
_GATE, _ANALOG = "cudaq-target program", "cudaq-target analog program"


@dataclass(slots=True)
class Phases:
    """Takes the time of the phases of a run.

    Attributes:
        created_at: When the run began, ISO 8601, UTC.
        seconds: Of each phase so far (s), and of all of them: `total`.
    """

    created_at: str = field(default_factory=lambda: datetime.now(UTC).strftime(_ISO))
    seconds: dict[str, float | None] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the time of what is done inside."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begin
            self.seconds[name] = (self.seconds.get(name) or 0.0) + took
            self.seconds["total"] = (self.seconds.get("total") or 0.0) + took


def run(
    program: Program | AnalogProgram,
    n_shots: int,
    machine: str | None = None,
    *,
    about: About | None = None,
    **settings: Any,  # noqa: ANN401 - options of several types
) -> tuple[Shots, Manifest]:
    """Run a program and write down how; see the example of this package.

    Args:
        program: From `cudaq_target.compile`, from a file, or an analog one.
        n_shots: Number of shots.
        machine: As for `Pasqal`.
        about: What no program knows.
        **settings: Other options of `Pasqal`. Without a seed one is drawn, and written down.

    Returns:
        Bit k of a shot is kernel qubit k, or atom k; and the manifest.

    Raises:
        TargetError: The machine cannot run the program, or an option is not allowed.
    """
    session = seeded(Session(Pasqal(machine=machine, **settings)))
    phases = Phases()
    with phases.phase("run"):
        shots, name = measured(program, session, n_shots)
    counts = counted(program, shots)
    found = of_program(program, counts, session, n_shots, phases, machine=name, about=about)
    return shots, found


def measured(program: Program | AnalogProgram, session: Session, n_shots: int) -> tuple[Shots, str]:
    """Run a program on a session's machine; returns the shots, and the machine that ran it."""
    options = session.options
    if remote_form(options.machine) is not None:
        return program_shots(session, program, n_shots), options.machine
    return measured_here(program, n_shots, options, session.generator())


def seeded(session: Session) -> Session:
    """Return a session with a seed: the same one, or a new one with a drawn seed."""
    if session.options.seed is not None:
        return session
    drawn = int(np.random.default_rng().integers(1 << 53))
    return Session(dataclasses.replace(session.target, seed=drawn))


def of_program(
    program: Program | AnalogProgram,
    counts: dict[str, int],
    session: Session,
    n_shots: int,
    phases: Phases,
    *,
    machine: str | None = None,
    arguments: list[Any] | None = None,
    about: About | None = None,
) -> Manifest:
    """Make the manifest of a program that has run.

    Args:
        program: What ran.
        counts: What came out; qubit or atom 0 leftmost.
        session: What it ran in.
        n_shots: Shots that were asked for.
        phases: Its times.
        machine: What ran it, where the session leaves the choice.
        arguments: Of the kernel.
        about: What no program knows.
    """
    options = session.options
    kept, withheld = options_as_data(options)
    name = machine or options.machine
    analog = isinstance(program, AnalogProgram)
    return Manifest(
        kind="analog" if analog else "gate",
        name=program.kernel,
        created_at=phases.created_at,
        command=command(),
        source=_source(program),
        arguments=arguments,
        program=_program(program),
        n_shots=n_shots,
        seed=options.seed,
        options=kept,
        withheld=withheld,
        machine={"name": name, "is_emulator": facts.is_emulator(name)},
        device=facts.device_facts(program.rules.pulser_device),
        versions=facts.versions(),
        host=facts.host(),
        job=facts.job(),
        seconds={"machine": None, **phases.seconds},
        estimate=program.estimate(n_shots).as_data(),
        result=Result(
            quantity="counts",
            method=f"{n_shots} shots",
            counts=dict(sorted(counts.items())),
            n_used=sum(counts.values()),
        ),
        about=about or About(),
    )


def options_as_data(options: Options) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write options as plain data.

    Returns:
        The options in force, and the names of those that were given and are left out.
    """
    content: dict[str, Any] = {}
    for entry in dataclasses.fields(options):
        value = getattr(options, entry.name)
        if entry.name in WITHHELD:
            continue
        if entry.name == "device" and value is not None:
            value = value.name
        elif entry.name == "layout" and value is not None:
            value = [list(site) for site in value.coordinates_um]
        elif entry.name == "noise" and value is not None:
            value = json.loads(value.to_abstract_repr())
        content[entry.name] = value
    given = tuple(name for name in WITHHELD if getattr(options, name) is not None)
    return content, given


def _program(program: Program | AnalogProgram) -> dict[str, Any]:
    text = program.to_json()
    analog = isinstance(program, AnalogProgram)
    stats = program.stats
    return {
        "format": _ANALOG if analog else _GATE,
        "text": text,
        "sha256": facts.sha256(text),
        "n_qubits": getattr(stats, "n_qubits", stats.n_atoms),
        "n_atoms": stats.n_atoms,
        "duration_ns": stats.duration_ns,
    }


def _source(program: Program | AnalogProgram) -> dict[str, Any] | None:
    """Where the kernel's first gate or measurement was written."""
    if isinstance(program, AnalogProgram):
        return None
    circuit = program.circuit
    places = [entry.source for entry in circuit.gates]
    places += [entry.source for entry in circuit.measurements]
    if not places:
        return {"kernel": circuit.kernel, "file": None, "line": None}
    file = None if places[0].file is None else Path(places[0].file).name
    return {"kernel": circuit.kernel, "file": file, "line": places[0].line}
