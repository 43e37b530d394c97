"""Launches on machines outside of this process: devices, shots, and what they cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target import telemetry
from cudaq_target.coupler.interrupts import interruptible
from cudaq_target.errors import OptionError, Source, UnsupportedKernelError
from cudaq_target.machines.jobs import JobMachine
from cudaq_target.machines.remote import SeveralAtOnce, Task, check_device, machine_for
from cudaq_target.options import remote_form
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.device import PulserDevice
    from cudaq_target.machines.remote import Kind, Measured
    from cudaq_target.program import Program
    from cudaq_target.target import Session

_MOST_SEED = 1 << 63


def is_remote(session: Session) -> bool:
    """Whether the session's machine is outside of this process."""
    return remote_form(session.options.machine) is not None


def device_of(session: Session, kind: Kind) -> PulserDevice | None:
    """Return the device for a kind of program.

    Args:
        session: The target in force.
        kind: Kind of the program.

    Returns:
        That of the remote machine, else that of the user; None for the default.

    Raises:
        OptionError: The user's device is not that of the remote machine.
        MachineError: The machine does not answer.
    """
    options = session.options
    machine = machine_for(options)
    given: PulserDevice | None = options.device
    if machine is None:
        return given
    reported = machine.device(kind)
    check_device(options.machine, given, reported)
    return reported


def measured(session: Session, task: Task, n_shots: int, rng: np.random.Generator) -> Measured:
    """Run a task on the session's remote machine.

    Args:
        session: The target in force.
        task: What to run.
        n_shots: Number of shots, at least 1.
        rng: Where the seed of the request comes from, if the user gave one to the target.

    Raises:
        MachineError: Of the kind that says what failed.
    """
    machine = machine_for(session.options)
    assert machine is not None, "callers ask `is_remote` first"
    with interruptible(), telemetry.task(session.options.machine, task.name, n_shots):
        return machine.measure(task, n_shots, seed=_seed(session, rng))


def measured_all(
    session: Session, tasks: Sequence[Task], n_shots: int, rng: np.random.Generator
) -> list[Measured]:
    """Run tasks on the session's remote machine, together where it takes several at once.

    Args:
        session: The target in force.
        tasks: What to run.
        n_shots: Number of shots of each, at least 1.
        rng: As for `measured`.

    Raises:
        MachineError: Of the kind that says what failed.
    """
    machine = machine_for(session.options)
    if len(tasks) < 2 or not isinstance(machine, SeveralAtOnce):
        return [measured(session, task, n_shots, rng) for task in tasks]
    seeds = [_seed(session, rng) for _ in tasks]
    name, n_tasks = tasks[0].name, len(tasks)
    with (
        interruptible(),
        telemetry.task(session.options.machine, name, n_shots, n_tasks=n_tasks),
    ):
        return machine.measure_all(tasks, n_shots, seeds=seeds)


def program_shots(session: Session, program: Program | AnalogProgram, n_shots: int) -> Shots:
    """Run a lowered program on the session's remote machine.

    Args:
        session: The target in force.
        program: The program, lowered for the machine's device.
        n_shots: Number of shots.

    Returns:
        Bit k is kernel qubit k, or atom k.

    Raises:
        OptionError: The program was lowered for another device.
        MachineError: Of the kind that says what failed.
    """
    task = Task.of(program)
    machine = machine_for(session.options)
    assert machine is not None, "callers ask `is_remote` first"
    reported = machine.device(task.kind)
    # Services look at the sequence themselves: their emulators run those for any device.
    if not isinstance(machine, JobMachine):
        check_device(session.options.machine, program.rules.pulser_device, reported)
    if n_shots == 0:
        return Shots(np.zeros((0, -(-task.n_bits // 64)), dtype=np.uint64), task.n_bits)
    return Shots(measured(session, task, n_shots, session.generator()).packed, task.n_bits)


def _seed(session: Session, rng: np.random.Generator) -> int:
    return int(rng.integers(1, _MOST_SEED)) if session.is_seeded else 0


def default_shots(session: Session, default: int) -> int:
    """Return the number of shots where nobody says one: the machine's own, or CUDA-Q's default."""
    machine = machine_for(session.options)
    own = None if machine is None else machine.default_shots
    return default if own is None else own


def refuse_state(session: Session, kernel: str) -> None:
    """Refuse what needs a state of a machine that gives shots.

    Raises:
        UnsupportedKernelError: The machine is remote.
    """
    if is_remote(session):
        raise UnsupportedKernelError(
            Source(kernel),
            "`get_state`",
            f"machine {session.options.machine!r} gives shots, no states",
            "Use cudaq.sample, or cudaq.set_target('pasqal', machine='local')",
        )


def refuse_evolution(session: Session, option: str) -> None:
    """Refuse an option of `evolve` that needs the state of an emulator.

    Raises:
        OptionError: The machine is remote.
    """
    if is_remote(session):
        raise OptionError(
            option,
            f"machine {session.options.machine!r} starts with all atoms in g and measures them "
            "once, at the end",
            "Leave it out, or use cudaq.set_target('pasqal', machine='local')",
        )
