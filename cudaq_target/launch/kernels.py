"""From a CUDA-Q kernel and its arguments to a program, with what was done before kept.

A variational loop launches the same kernel hundreds of times. What depends on the kernel alone is
read once; what depends on the arguments too is kept for the session, by value of the arguments.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from cudaq.kernel.kernel_builder import PyKernel
from cudaq.kernel.kernel_decorator import PyKernelDecorator
from cudaq.runtime import utils as broadcast_rules

from cudaq_target import machines, quake, telemetry
from cudaq_target.compiler import Plans
from cudaq_target.device import resolve
from cudaq_target.emulator.memory import require_bytes
from cudaq_target.errors import OptionError
from cudaq_target.interpret.values import Amplitudes, Closure
from cudaq_target.launch.remote import device_of, is_remote, measured_all
from cudaq_target.machines.remote import Task
from cudaq_target.program import compile_circuit
from cudaq_target.shots import Shots
from cudaq_target.trace import evaluate_returns, trace

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from cudaq_target.circuit import Circuit, Gate
    from cudaq_target.device import DeviceRules
    from cudaq_target.interpret.form import KernelForm
    from cudaq_target.program import Program
    from cudaq_target.target import Session

_MAX_KEPT = 64
_NUMBERS = (float, int, bool)
# A random number, its sorted copy, index and place of each shot, and its bits three times over.
_SHOT_BYTES = 40


@dataclass(frozen=True, slots=True)
class Sampled:
    """Shots of all qubits of a kernel, with their origin.

    Attributes:
        shots: The shots, bit k is kernel qubit k.
        job_id: The run, as its machine calls it.
        annotations: More that results say about their origin.
    """

    shots: Shots
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    annotations: Mapping[str, object] = field(default_factory=dict)


class BoundKernel:
    """A kernel with its arguments, traced and ready to be lowered and run in a session.

    Attributes:
        form: The kernel as plain data.
        arguments: What it is called with, captured variables last.
        circuit: Its gates and measurements.
    """

    def __init__(self, form: KernelForm, arguments: Sequence[object], session: Session) -> None:
        self.form = form
        self.arguments = tuple(arguments)
        self.circuit: Circuit = trace(form, _copied(self.arguments))
        self._session = session
        self._programs: dict[Hashable, Program] = {}

    def program(self, appended: tuple[Gate, ...] = ()) -> Program:
        """Lower the circuit for the session's device.

        Args:
            appended: Gates to run after the kernel's own, on its qubits.
        """
        key = tuple((gate.name, gate.targets, gate.adjoint) for gate in appended)
        program = self._programs.get(key)
        if program is None:
            circuit = dataclasses.replace(self.circuit, gates=(*self.circuit.gates, *appended))
            program = compile_for(self._session, circuit, plans_of(self._session, self.form))
            self._programs[key] = program
        return program

    def sample(
        self, n_shots: int, rng: np.random.Generator, appended: tuple[Gate, ...] = ()
    ) -> Sampled:
        """Run on the session's machine and measure every qubit.

        Args:
            n_shots: Number of shots.
            rng: Source of randomness.
            appended: Gates to run after the kernel's own.

        Raises:
            MemoryLimitError: The state or the shots would not fit into memory.
            MachineError: The machine is remote, and of the kind that says what failed.
        """
        return self.sample_all(n_shots, rng, [appended])[0]

    def sample_all(
        self, n_shots: int, rng: np.random.Generator, endings: Sequence[tuple[Gate, ...]]
    ) -> list[Sampled]:
        """Run once for each ending; see `sample`. A remote machine may take all at once.

        Args:
            n_shots: Number of shots of each run.
            rng: Source of randomness.
            endings: Gates to run after the kernel's own, for each run.
        """
        n_qubits = self.circuit.n_qubits
        if n_qubits == 0 or n_shots == 0:
            none = np.zeros((n_shots, n_qubits), dtype=np.uint8)
            return [Sampled(Shots.from_bits(none)) for _ in endings]
        require_bytes(n_shots * (_SHOT_BYTES + 3 * n_qubits), n_qubits, n_shots=n_shots)
        if is_remote(self._session):
            tasks = [self._task(appended) for appended in endings]
            return [
                Sampled(Shots(found.packed, n_qubits), found.job_id, found.annotations)
                for found in measured_all(self._session, tasks, n_shots, rng)
            ]
        return [self._sampled_here(n_shots, rng, appended) for appended in endings]

    def _sampled_here(
        self, n_shots: int, rng: np.random.Generator, appended: tuple[Gate, ...]
    ) -> Sampled:
        options = self._session.options
        with telemetry.task(options.machine, self.circuit.kernel, n_shots):
            timeline = self.program(appended).timeline
            with telemetry.phase("run"):
                bits = machines.get(options.machine).sample(
                    timeline, n_shots, noise=options.noise, rng=rng, threads=options.threads
                )
        return Sampled(Shots.from_bits(bits))

    def state(self) -> NDArray[np.complex128]:
        """Emulate and return the state, shape (2^n_qubits,), qubit 0 most significant."""
        options = self._session.options
        machine = machines.get(options.machine)
        return machine.state(self.program().timeline, threads=options.threads)

    def returned(self, bits: Sequence[int]) -> Any:  # noqa: ANN401 - whatever the kernel returns
        """Compute what the kernel returns.

        Args:
            bits: Outcome of each measurement, in program order.
        """
        return evaluate_returns(self.form, _copied(self.arguments), bits)

    def annotations(self, *runs: Sampled) -> dict[str, object]:
        """Return what a result of this kernel says about its origin.

        Args:
            *runs: What it was made from; none for exact values.
        """
        origin: dict[str, object] = {
            "job_id": "+".join(run.job_id for run in runs) or str(uuid.uuid4()),
            "machine": self._session.options.machine,
            "device": rules_of(self._session).name,
        }
        for run in runs:
            origin |= run.annotations
        return origin

    def _task(self, appended: tuple[Gate, ...]) -> Task:
        """The kernel as a task for a remote machine, which may lower it by itself."""
        rules_of(self._session)  # refuses a device that is not that of the machine
        circuit = dataclasses.replace(self.circuit, gates=(*self.circuit.gates, *appended))
        options = self._session.options
        return Task(
            "gate",
            circuit.kernel,
            circuit.n_qubits,
            lambda: self.program(appended),
            circuit,
            options.layout,
            options.route,
        )


def bind(session: Session, kernel: object, arguments: Sequence[object]) -> BoundKernel:
    """Apply arguments to a kernel.

    Args:
        session: The target in force.
        kernel: A decorated or built kernel.
        arguments: One value for each formal argument.

    Returns:
        The traced kernel, the same object as before for equal arguments.

    Raises:
        OptionError: The object is no kernel.
        UnsupportedKernelError: The arguments do not fit, or the kernel uses something that this
            machine cannot do.
    """
    known = checked(kernel)
    form = quake.read(known)
    values = quake.arguments(known, tuple(arguments))
    key = _key(values)
    if key is None:
        return BoundKernel(form, values, session)
    place = (id(form), key)
    entries = session.kept.kernels
    with session.lock:
        bound = entries.get(place)
    if bound is None:
        bound = BoundKernel(form, values, session)
    with session.lock:
        bound = entries.setdefault(place, bound)
        entries.move_to_end(place)
        while len(entries) > _MAX_KEPT:
            entries.popitem(last=False)
    return bound


def checked(kernel: Any) -> Any:  # noqa: ANN401 - either kind of kernel
    """Return a kernel as it is.

    Raises:
        OptionError: The object is no kernel.
    """
    if isinstance(kernel, PyKernelDecorator | PyKernel):
        return kernel
    raise OptionError(
        f"kernel {kernel!r}",
        "this is no kernel",
        "Decorate the function with @cudaq.kernel, or build it with cudaq.make_kernel",
    )


def returns_value(kernel: Any) -> bool:  # noqa: ANN401 - either kind of kernel
    """Whether a kernel returns a value; built kernels never do."""
    return getattr(checked(kernel), "return_type", None) is not None


def name_of(kernel: Any) -> str:  # noqa: ANN401 - either kind of kernel
    """Return the kernel's name as the user wrote it."""
    return "kernel" if isinstance(kernel, PyKernel) else str(kernel.name)


def compile_for(session: Session, circuit: Circuit, plans: Plans | None = None) -> Program:
    """Lower a circuit with the session's settings, and with plans made for the same kernel."""
    options = session.options
    rules = rules_of(session)
    with telemetry.phase("compile"):
        return compile_circuit(
            circuit,
            rules,
            layout=options.layout,
            route=options.route,
            cache_dir=options.cache_dir,
            plans=plans,
        )


def plans_of(session: Session, form: KernelForm) -> Plans:
    """Return the plans that launches of one kernel share in a session."""
    books = session.kept.plans
    with session.lock:
        _, plans = books.setdefault(id(form), (form, Plans()))
        books.move_to_end(id(form))
        while len(books) > _MAX_KEPT:
            books.popitem(last=False)
        return plans


def rules_of(session: Session) -> DeviceRules:
    """Return the rules of the session's device, read once."""
    rules = session.kept.rules
    if rules is None:
        device = device_of(session, "gate")
        rules = session.kept.rules = resolve() if device is None else resolve(device)
    return rules


def argument_sets(kernel: object, arguments: Sequence[object]) -> list[tuple[object, ...]] | None:
    """Apply CUDA-Q's own rules of broadcasting.

    Args:
        kernel: A decorated or built kernel.
        arguments: What the launch was given.

    Returns:
        One tuple of arguments per call, or None where this is a single call.
    """
    if not getattr(broadcast_rules, "__isBroadcast")(kernel, *arguments):
        return None
    sets: list[tuple[object, ...]]
    sets = getattr(broadcast_rules, "__createArgumentSet")(*arguments)
    return sets


def _copied(value: Any) -> Any:  # noqa: ANN401 - any argument
    """Copy the memory in an argument, which a kernel may write to."""
    if isinstance(value, list):
        return value.copy() if _are_numbers(value) else [_copied(part) for part in value]
    if isinstance(value, tuple):
        return tuple(_copied(part) for part in value)
    if isinstance(value, Closure):
        return dataclasses.replace(value, captured=_copied(value.captured))
    return value


def _are_numbers(values: list[object]) -> bool:
    """Whether all parts are plain numbers of one type, as a list of angles has them."""
    kind = type(values[0]) if values else None
    return kind in _NUMBERS and all(type(value) is kind for value in values)


def _key(value: object) -> Hashable | None:
    """Return a value that is equal for equal arguments; None where that cannot be said cheaply.

    Objects named by their id are held by the bound kernel that is kept under the key.
    """
    if isinstance(value, bool | int | float | complex | str):
        return (type(value), value)
    if isinstance(value, list) and _are_numbers(value):
        return (list, type(value[0]), *value)
    if isinstance(value, Amplitudes):
        return value.values.tobytes()
    if isinstance(value, Closure):
        captured = _key(value.captured)
        return None if captured is None else (id(value.form), value.symbol, captured)
    if isinstance(value, list | tuple):
        keys = [_key(part) for part in value]
        return None if any(key is None for key in keys) else tuple(keys)
    return None
