"""`cudaq.evolve` and `cudaq.evolve_async` on this target.

A call gives counts, as CUDA-Q's own target `pasqal` does, unless it asks for observables or for
intermediate results; then it gives what the emulator knows, as CUDA-Q's target `dynamics` does.
Beside Hamiltonians it takes programs that were compiled before, members of an ansatz for example.
"""

from __future__ import annotations

import uuid
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import cudaq
import numpy as np

from cudaq_target import telemetry
from cudaq_target.analog.program import AnalogProgram
from cudaq_target.emulator.analog.shots import sample_packed
from cudaq_target.emulator.memory import require_bytes, state_bytes
from cudaq_target.errors import OptionError
from cudaq_target.kernels.backends import on_host
from cudaq_target.launch import future
from cudaq_target.launch.analog import lowered
from cudaq_target.launch.arguments import shots_or, shots_or_exact
from cudaq_target.launch.evolve_results import PasqalEvolveResult, observed
from cudaq_target.launch.initial_states import are_several, read_state
from cudaq_target.launch.observables import read_observables
from cudaq_target.launch.remote import default_shots, is_remote, measured, refuse_evolution
from cudaq_target.launch.results import sample_result
from cudaq_target.launch.rydberg import analog_spec, read_schedule
from cudaq_target.launch.state import qubit_0_least_significant
from cudaq_target.machines.analog import for_analog
from cudaq_target.machines.remote import Task
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from cudaq_target.launch.future import Future
    from cudaq_target.launch.observables import Observables
    from cudaq_target.launch.results import PasqalSampleResult
    from cudaq_target.machines.analog import Choice
    from cudaq_target.target import Session

    Result: TypeAlias = PasqalSampleResult | PasqalEvolveResult

DEFAULT_SHOTS = 100
# A random number, its sorted copy, index and place of each shot, and its bits three times over.
_SHOT_BYTES = 40


def evolve(
    session: Session,
    hamiltonian: Any,  # noqa: ANN401 - a Hamiltonian or a list of them
    dimensions: Mapping[int, int] | None = None,
    schedule: Any = None,  # noqa: ANN401 - a class of CUDA-Q's without types
    initial_state: Any = None,  # noqa: ANN401 - a state or a list of them
    collapse_operators: Sequence[object] = (),
    observables: Sequence[Any] = (),
    store_intermediate_results: Any = None,  # noqa: ANN401 - an enum of CUDA-Q's or a bool
    integrator: object = None,
    shots_count: int | None = None,
    max_batch_size: int | None = None,
) -> Result | list[Result]:
    """Run analog programs.

    Args:
        session: The target in force.
        hamiltonian: A `cudaq.RydbergHamiltonian`, an `AnalogProgram`, or a list of them.
        dimensions: Refused: every atom has two levels.
        schedule: A `cudaq.Schedule` of times (s); it is not used up. A program has times of its own
            and needs none, unless intermediate results are wanted at more moments than its ends.
        initial_state: What `initial_states.read_state` reads, or a list of that, one for each
            Hamiltonian or several for one; by default all atoms in g.
        collapse_operators: Refused: noise is a property of the target.
        observables: Operators on the atoms; atom k is degree k.
        store_intermediate_results: A `cudaq.IntermediateResultSave`: values (and states) at every
            step of the schedule.
        integrator: Refused: the machine has its own.
        shots_count: Number of shots; with observables exact values where it is left out.
        max_batch_size: Refused: programs run one after the other.

    Returns:
        Counts, atom 0 leftmost, or a result with values and states; a list of them for lists.

    Raises:
        TargetError: The program cannot run on the device, or an option is not allowed.
    """
    _refuse(dimensions, collapse_operators, integrator, max_batch_size)
    call = partial(
        _prepare, session, schedule, observables,
        _kept(store_intermediate_results), shots_count,
    )  # fmt: skip
    pairs, several = _pairs(hamiltonian, initial_state)
    # All are checked before the first one runs.
    results = [work() for work in [call(each, state) for each, state in pairs]]
    return results if several else results[0]


def evolve_async(
    session: Session,
    hamiltonian: Any,  # noqa: ANN401 - a Hamiltonian or a list of them
    dimensions: Mapping[int, int] | None = None,
    schedule: Any = None,  # noqa: ANN401 - a class of CUDA-Q's without types
    initial_state: Any = None,  # noqa: ANN401 - a state or a list of them
    collapse_operators: Sequence[object] = (),
    observables: Sequence[Any] = (),
    store_intermediate_results: Any = None,  # noqa: ANN401 - an enum of CUDA-Q's or a bool
    integrator: object = None,
    shots_count: int | None = None,
) -> Future[Result] | list[Future[Result]]:
    """Run analog programs in the background; see `evolve`. Errors surface at `get`."""

    def prepare(each: object, state: object) -> Callable[[], Result]:
        _refuse(dimensions, collapse_operators, integrator, None)
        kept = _kept(store_intermediate_results)
        return _prepare(session, schedule, observables, kept, shots_count, each, state)

    pairs, several = _pairs(hamiltonian, initial_state)
    futures = [future.start(partial(prepare, each, state)) for each, state in pairs]
    return futures if several else futures[0]


def _prepare(
    session: Session,
    schedule: object,
    observables: Sequence[Any],
    kept: cudaq.IntermediateResultSave,
    shots_count: int | None,
    hamiltonian: object,
    initial_state: object,
) -> Callable[[], Result]:
    if isinstance(hamiltonian, AnalogProgram):
        program, times_ns = hamiltonian, _times_of(hamiltonian, schedule)
    else:
        steps = read_schedule(schedule)
        program, times_ns = lowered(session, analog_spec(hamiltonian, steps)), steps.times_ns
    evolution = Evolution(
        session,
        program,
        times_ns,
        read_state(initial_state, program.timeline.n_atoms),
        session.generator(),
    )
    nothing_kept = kept is cudaq.IntermediateResultSave.NONE
    if initial_state is not None:
        refuse_evolution(session, "initial_state")
    if not nothing_kept:
        refuse_evolution(session, "store_intermediate_results")
    if not observables and nothing_kept:
        default = default_shots(session, DEFAULT_SHOTS)
        n_shots = shots_or(shots_count, session.options.shots, default)
        return partial(evolution.counted, n_shots)
    operators = read_observables(observables, program.timeline.n_atoms)
    given = shots_or_exact(shots_count)
    if given is None and not session.options.is_noisy and not is_remote(session):
        return partial(evolution.exact, operators, kept)
    operators.require_diagonal()
    n_shots = shots_or(given, session.options.shots, default_shots(session, DEFAULT_SHOTS))
    if session.options.is_noisy and not nothing_kept:
        raise OptionError(
            "store_intermediate_results",
            "a noisy program is measured once, at its end",
            "Evolve over a shorter schedule for each moment, or leave the noise out",
        )
    return partial(evolution.estimated, operators, kept, n_shots)


@dataclass(frozen=True, slots=True, eq=False)
class Evolution:
    """One program, checked and ready to run.

    Attributes:
        session: The target in force.
        program: What the device plays.
        times_ns: Times of the schedule (ns), shape (k,), from 0.
        initial_state: Amplitudes, atom 0 most significant, or None for all atoms in g.
        rng: Source of randomness.
    """

    session: Session
    program: AnalogProgram
    times_ns: NDArray[np.float64]
    initial_state: NDArray[np.complex128] | None
    rng: np.random.Generator

    def counted(self, n_shots: int) -> PasqalSampleResult:
        """Measure all atoms at the end."""
        shots, annotations = self._measured(n_shots)
        return sample_result(shots, annotations=annotations)

    def exact(
        self, observables: Observables, kept: cudaq.IntermediateResultSave
    ) -> PasqalEvolveResult:
        """Compute exact values and states."""
        moments = self._moments(kept)
        last = len(moments) - 1
        everything = kept is cudaq.IntermediateResultSave.ALL
        n_states = len(moments) if everything else 1
        n_atoms = self.program.timeline.n_atoms
        require_bytes(state_bytes(n_atoms, copies=n_states + 3.0), n_atoms)
        states: dict[int, cudaq.State] = {}

        def measure(index: int, state: NDArray[np.complex128]) -> dict[str, float]:
            if everything or index == last:
                in_order = qubit_0_least_significant(on_host(state))
                states[index] = cudaq.State.from_data(in_order)
            return observables.exact(state)

        values, annotations = self._followed(moments, measure)
        table = [observed(observables, row, annotations) for row in values]
        kept_states = [states[index] for index in sorted(states)]
        return PasqalEvolveResult(kept_states, table if observables.operators else [], annotations)

    def estimated(
        self, observables: Observables, kept: cudaq.IntermediateResultSave, n_shots: int
    ) -> PasqalEvolveResult:
        """Estimate values from shots, fresh ones at every moment."""
        if kept is cudaq.IntermediateResultSave.NONE:
            shots, annotations = self._measured(n_shots)
            values = [observables.sampled(shots)]
        else:
            values, annotations = self._followed(
                self._moments(kept),
                lambda _, state: observables.sampled(_drawn(state, n_shots, self.rng)),
            )
        table = [observed(observables, row, annotations) for row in values]
        return PasqalEvolveResult([], table, annotations)

    def _moments(self, kept: cudaq.IntermediateResultSave) -> list[float]:
        times: list[float] = np.minimum(self.times_ns, self.program.timeline.duration_ns).tolist()
        times[-1] = float(np.ceil(times[-1]))  # the last sample is played to its end
        if self.session.options.modulation:
            times[-1] = float(self.program.modulated.duration_ns)  # the light goes off slowly
        return times[-1:] if kept is cudaq.IntermediateResultSave.NONE else times

    def _measured(self, n_shots: int) -> tuple[Shots, dict[str, object]]:
        options = self.session.options
        n_atoms = self.program.timeline.n_atoms
        require_bytes(n_shots * (_SHOT_BYTES + 3 * n_atoms), n_atoms, n_shots=n_shots)
        none = Shots.from_bits(np.zeros((0, n_atoms), dtype=np.uint8))
        if is_remote(self.session):
            annotations = self._annotations() | {"machine": options.machine}
            if n_shots == 0:
                return none, annotations
            found = measured(self.session, Task.of(self.program), n_shots, self.rng)
            annotations |= {"job_id": found.job_id, **found.annotations}
            return Shots(found.packed, n_atoms), annotations
        choice = self._choice()
        annotations = self._annotations() | choice.annotations()
        if n_shots == 0:
            return none, annotations
        name = self.program.kernel
        with telemetry.task(options.machine, name, n_shots), telemetry.phase("run"):
            packed = choice.machine.sample_analog(
                self.program,
                n_shots,
                noise=options.noise if options.is_noisy else None,
                rng=self.rng,
                threads=options.threads,
                modulation=options.modulation,
                initial_state=self.initial_state,
            )
        return Shots(packed, n_atoms), annotations

    def _followed(
        self,
        moments: list[float],
        measure: Callable[[int, NDArray[np.complex128]], dict[str, float]],
    ) -> tuple[list[dict[str, float]], dict[str, object]]:
        options = self.session.options
        choice = self._choice()
        values = choice.machine.evolve_analog(
            self.program,
            save_at_ns=moments,
            measure=measure,
            threads=options.threads,
            modulation=options.modulation,
            initial_state=self.initial_state,
        )
        return list(values), self._annotations() | choice.annotations()

    def _choice(self) -> Choice:
        options = self.session.options
        noise = options.noise if options.is_noisy else None
        return for_analog(options.machine, self.program, noise)

    def _annotations(self) -> dict[str, object]:
        return {"job_id": str(uuid.uuid4()), "device": self.program.rules.name}


def _times_of(program: AnalogProgram, schedule: object) -> NDArray[np.float64]:
    """Return the moments of a program at which to look (ns): its ends, or those of a schedule."""
    end_ns = program.timeline.duration_ns
    if schedule is None:
        return np.array([0.0, end_ns])
    times_ns = read_schedule(schedule).times_ns
    if not program.spec.duration_ns - 1.0 < times_ns[-1] <= end_ns:
        raise OptionError(
            "schedule",
            f"it ends at {times_ns[-1]:g} ns, the program at {end_ns} ns",
            "Leave it out, since a program has times of its own, or let it end with the program",
        )
    return times_ns


def _drawn(state: NDArray[np.complex128], n_shots: int, rng: np.random.Generator) -> Shots:
    """Measure a state, atom 0 most significant."""
    return Shots(sample_packed(state, n_shots, rng), state.size.bit_length() - 1)


def _pairs(hamiltonian: Any, initial_state: Any) -> tuple[list[tuple[Any, Any]], bool]:  # noqa: ANN401
    """Pair Hamiltonians with initial states, and say whether there is a list of either."""
    hamiltonians = list(hamiltonian) if isinstance(hamiltonian, list | tuple) else [hamiltonian]
    states = list(initial_state) if are_several(initial_state) else [initial_state]
    several = len(hamiltonians) != 1 or isinstance(hamiltonian, list | tuple)
    for name, each in (("hamiltonian", hamiltonians), ("initial_state", states)):
        if not each:
            raise OptionError(name, "the list is empty", "Give at least one")
    if are_several(initial_state):
        if several and len(states) != len(hamiltonians):
            raise OptionError(
                "initial_state",
                f"{len(states)} states for {len(hamiltonians)} Hamiltonians",
                "Give one state for each Hamiltonian, or a single one for all",
            )
        if not several:
            hamiltonians *= len(states)
        return list(zip(hamiltonians, states, strict=True)), True
    return [(each, initial_state) for each in hamiltonians], several


def _kept(given: Any) -> cudaq.IntermediateResultSave:  # noqa: ANN401
    if given is None:
        return cudaq.IntermediateResultSave.NONE
    if isinstance(given, bool):
        warnings.warn(
            "store_intermediate_results as a bool is deprecated by CUDA-Q; "
            "give a cudaq.IntermediateResultSave",
            DeprecationWarning,
            stacklevel=4,
        )
        save = cudaq.IntermediateResultSave
        return save.ALL if given else save.NONE
    if not isinstance(given, cudaq.IntermediateResultSave):
        raise OptionError(
            "store_intermediate_results",
            f"{given!r} says not what to keep",
            "Give cudaq.IntermediateResultSave.NONE, .ALL or .EXPECTATION_VALUE",
        )
    return given


def _refuse(
    dimensions: object, collapse_operators: object, integrator: object, max_batch_size: object
) -> None:
    if dimensions:
        raise OptionError("dimensions", "every atom has the levels g and r", "Leave dimensions out")
    if collapse_operators:
        raise OptionError(
            "collapse_operators",
            "noise belongs to the atoms and lasers of the target",
            "Give it once: cudaq.set_target(Pasqal(noise=pulser.NoiseModel("
            "relaxation_rate=..., dephasing_rate=...)))",
        )
    if integrator is not None:
        raise OptionError(
            "integrator",
            "each machine of this target has its own, which controls its error",
            "Leave it out, or choose a machine: cudaq.set_target(Pasqal(machine='qutip'))",
        )
    if max_batch_size is not None:
        raise OptionError("max_batch_size", "programs run one after the other here", "Leave it out")
