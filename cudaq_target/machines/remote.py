"""Machines outside of this process: what each of them does, and how a launch reaches it.

A remote machine is an object of the small protocol `RemoteMachine`: it reports its device, and
measures one `Task` at a time and per thread. Everything above (kernels, observables, results,
`evolve`) is the same for all of them. To add one:

1. write its class, in a module of its own, with a function `opener(options) -> RemoteMachine`;
2. add a row to `options.REMOTE_FORMS`: which names are its own, and which options it refuses.

A `Task` offers a program in three forms, and the machine takes the one that suits it: the circuit
of a gate kernel (for a machine that lowers by itself, as a controller does), the lowered program,
and the program as a `pulser.Sequence` (for a service that plays pulses). Who plays a sequence
measures atoms; `Task.from_atoms` turns them into the bits of the task, which for gate kernels are
qubits, wherever routing left them.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np

from cudaq_target.analog.program import AnalogProgram
from cudaq_target.errors import OptionError
from cudaq_target.locks import ForkSafeLock
from cudaq_target.options import remote_form
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import pulser
    from numpy.typing import NDArray

    from cudaq_target.circuit import Circuit
    from cudaq_target.device import PulserDevice
    from cudaq_target.options import Options
    from cudaq_target.program import Program
    from cudaq_target.sites import Sites

Kind: TypeAlias = Literal["gate", "analog"]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A program that a remote machine is to run.

    Attributes:
        kind: "gate" for kernels, "analog" for waveforms.
        name: What the user calls it; for messages.
        n_bits: Bits of a shot: qubits of the kernel, or atoms.
        lowered: Lowers the program here, for `RemoteMachine.device`; asked for once or never.
        circuit: The kernel's gates, or None where there is a lowered program alone.
        layout: Sites that the user chose for a kernel, or None.
        route: How a kernel is to be routed.
    """

    kind: Kind
    name: str
    n_bits: int
    lowered: Callable[[], Program | AnalogProgram] = field(repr=False)
    circuit: Circuit | None = None
    layout: Sites | None = None
    route: str = "swap"

    @staticmethod
    def of(program: Program | AnalogProgram) -> Task:
        """Make a task of a program that is lowered already."""
        if isinstance(program, AnalogProgram):
            return Task("analog", program.kernel, program.timeline.n_atoms, lambda: program)
        return Task("gate", program.kernel, program.stats.n_qubits, lambda: program)

    def sequence(self) -> pulser.Sequence:
        """The task as pulses, with a measurement of all atoms at the end.

        Raises:
            TargetError: The device cannot run it.
        """
        return self.lowered().sequence

    def to_json(self) -> str:
        """`sequence()` in Pulser's abstract representation, as services take it.

        Pulser wrote it, so it is not compared with Pulser's schema again: that takes three times as
        long as all the rest of a launch.

        Raises:
            TargetError: The device cannot run it.
        """
        return str(self.sequence().to_abstract_repr(skip_validation=True))

    def from_atoms(self, bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Turn measured atoms of `sequence()` into shots of the task.

        Args:
            bits: 0 or 1, shape (n_shots, n_atoms), atom 0 first.

        Returns:
            Packed shots, shape (n_shots, ceil(n_bits / 64)).
        """
        return Shots.from_bits(np.ascontiguousarray(bits[:, list(self.columns)])).packed

    @property
    def columns(self) -> tuple[int, ...]:
        """Bit k of a shot is atom `columns[k]` of `sequence()`."""
        program = self.lowered()
        if isinstance(program, AnalogProgram):
            return tuple(range(self.n_bits))
        return tuple(program.timeline.atom_of_qubit)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a remote machine gives back.

    Attributes:
        packed: Shots in order of arrival, shape (n_shots, ceil(n_bits / 64)); bit k is qubit k of
            a kernel, atom k of an analog program.
        job_id: The machine's own name for the run.
        annotations: More that results should say about their origin.
    """

    packed: NDArray[np.uint64]
    job_id: str
    annotations: Mapping[str, object] = field(default_factory=dict)


@runtime_checkable
class SeveralAtOnce(Protocol):
    """A remote machine that takes several tasks with one request."""

    def measure_all(
        self, tasks: Sequence[Task], n_shots: int, *, seeds: Sequence[int]
    ) -> list[Measured]:
        """Run tasks and wait for their shots; see `RemoteMachine.measure`."""
        ...


class RemoteMachine(Protocol):
    """What every machine outside of this process does.

    It may be used from several threads, and in the child of a fork, where what belongs to the
    parent (links, sessions) is left alone and made anew.
    """

    @property
    def default_shots(self) -> int | None:
        """Shots where neither call nor target says how many; None for CUDA-Q's defaults."""

    def device(self, kind: Kind) -> PulserDevice:
        """Report the device; it is asked for before the first task.

        Args:
            kind: Which programs it is for.

        Raises:
            UnsuitableDeviceError: The machine does not run such programs.
            MachineError: The machine does not answer.
        """
        ...

    def measure(self, task: Task, n_shots: int, *, seed: int) -> Measured:
        """Run a task and wait for its shots.

        An exception that comes from outside (Ctrl-C) ends the run on the machine, too.

        Args:
            task: What to run.
            n_shots: Number of shots, at least 1; exactly so many come back.
            seed: Not 0: an emulator draws the same shots for the same seed, task and settings.
                0: the machine's own choice. QPUs ignore it.

        Raises:
            MachineError: Of the kind that says what failed; shots are accounted for.
            TargetError: The device of the machine cannot run the task.
        """
        ...

    def close(self) -> None:
        """Give links back; another call opens them again."""
        ...


_lock = ForkSafeLock()
_opened: dict[Hashable, RemoteMachine] = {}


def machine_for(options: Options) -> RemoteMachine | None:
    """Return the remote machine that the options name, the same object until `close_all`.

    Nothing is sent yet.

    Args:
        options: Settings in force.

    Returns:
        The machine; None where the name is that of a machine in this process.

    Raises:
        OptionError: A key file cannot be used, or what the machine needs is not installed.
    """
    form = remote_form(options.machine)
    if form is None:
        return None
    key = (
        options.machine,
        options.machine_secret,
        options.machine_server_key,
        options.machine_timeout_s,
        options.machine_poll_s,
    )
    with _lock:
        machine = _opened.get(key)
    if machine is not None:
        return machine
    module, _, function = form.opener.partition(":")
    opener = cast("Callable[[Options], RemoteMachine]", getattr(import_module(module), function))
    made = opener(options)
    with _lock:
        return _opened.setdefault(key, made)


def close_all() -> None:
    """Give back all links, and ask machines anew what they are when they are next used.

    Runs under way go on.
    """
    with _lock:
        machines = list(_opened.values())
        _opened.clear()
    for machine in machines:
        machine.close()


def check_device(machine: str, given: PulserDevice | None, reported: PulserDevice) -> None:
    """Refuse a device of the user's that is not the machine's.

    Args:
        machine: Name of the machine.
        given: What `device=` says, or None.
        reported: What the machine has.

    Raises:
        OptionError: They differ.
    """
    if given is None or given == reported:
        return
    if given.to_abstract_repr() == reported.to_abstract_repr():
        return
    other = "another device of that name" if given.name == reported.name else reported.name
    raise OptionError(
        f"device {given.name!r}",
        f"machine {machine!r} has {other}",
        "Leave device= out: a remote machine reports the device that it has",
    )


atexit.register(close_all)
