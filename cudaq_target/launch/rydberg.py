"""CUDA-Q's `RydbergHamiltonian` and `Schedule` as an analog specification.

CUDA-Q's numbers are in m, s and rad/s, and its signs are those of the AHS schema: the drive is
Ω/2 (e^{iφ}|g><r| + h.c.), so that its phase counts against the one of `analog.model`. Between the
steps of a schedule, amplitude and detunings are straight lines; a phase holds until the next step.
"""

from __future__ import annotations

import cmath
import copy
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cudaq
import numpy as np

from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.errors import OptionError, RegisterError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

_NS_PER_S = 1e9
_UM_PER_M = 1e6
_RAD_PER_US = 1e-6  # in rad/s
# Decimal seconds and metres are no binary ones: 5e-6 m is to be 5 µm, 3e-6 s to be 3000 ns.
_TIME_DIGITS = 6
_PLACE_DIGITS = 9


class RydbergHamiltonian(cudaq.RydbergHamiltonian):  # type: ignore[misc]
    """CUDA-Q's Hamiltonian of Rydberg atoms, with the local detuning that its constructor refuses.

    Args:
        atom_sites: (x, y) of each trap (m).
        amplitude: Rabi frequency Ω(t) (rad/s), a `cudaq.ScalarOperator`.
        phase: Laser phase φ(t) (rad), a `cudaq.ScalarOperator`.
        delta_global: Detuning Δ(t) (rad/s), a `cudaq.ScalarOperator`.
        atom_filling: 1 for a trap with an atom, 0 for an empty one; all filled when left out.
        delta_local: Detuning Δ_local(t) (rad/s), a `cudaq.ScalarOperator`, and the share of it that
            each site feels, in [0, 1].

    Raises:
        RegisterError: `atom_filling` has another length than `atom_sites`.
    """

    def __init__(
        self,
        atom_sites: Iterable[tuple[float, float]],
        amplitude: cudaq.ScalarOperator,
        phase: cudaq.ScalarOperator,
        delta_global: cudaq.ScalarOperator,
        atom_filling: Iterable[int] = (),
        delta_local: tuple[cudaq.ScalarOperator, Iterable[float]] | None = None,
    ) -> None:
        sites, filling = list(atom_sites), list(atom_filling)
        if filling and len(filling) != len(sites):
            raise RegisterError(
                f"atom_filling has {len(filling)} entries for {len(sites)} sites",
                "Give 1 (an atom) or 0 (an empty trap) per site, or leave it out",
            )
        super().__init__(sites, amplitude, phase, delta_global, filling)
        self.delta_local = delta_local


@dataclass(frozen=True, slots=True)
class Steps:
    """What a schedule says, read without using it up.

    Attributes:
        times_ns: Time of each step (ns), shape (k,), from 0.
        parameters: Value of each of the schedule's parameters at each step.
    """

    times_ns: NDArray[np.float64]
    parameters: tuple[Mapping[str, complex], ...]


def read_schedule(schedule: Any) -> Steps:  # noqa: ANN401 - a class of CUDA-Q's without types
    """Read a schedule from its first step to its last, wherever it stands.

    Args:
        schedule: A `cudaq.Schedule`, whose steps are times (s). It stays as it is.

    Returns:
        Times and parameters.

    Raises:
        OptionError: It is no schedule.
        WaveformError: It is empty, or its steps are no increasing times from 0.
    """
    if not isinstance(schedule, cudaq.Schedule):
        raise OptionError(
            "schedule",
            f"{type(schedule).__name__} is no schedule",
            'Give cudaq.Schedule(times_in_seconds, ["t"])',
        )
    fresh = copy.copy(schedule)
    fresh.reset()
    seconds: list[float] = []
    parameters = []
    for index in range(len(fresh)):
        try:
            values = next(fresh, None)
        except TypeError:
            _seconds(fresh.current_step, index)  # says more where the step is at fault
            raise
        seconds.append(_seconds(fresh.current_step, index))
        parameters.append(values or {})
    return Steps(_times_ns(seconds), tuple(parameters))


def analog_spec(hamiltonian: Any, steps: Steps) -> AnalogSpec:  # noqa: ANN401
    """Write a Hamiltonian over the steps of a schedule as an analog specification.

    Args:
        hamiltonian: A `cudaq.RydbergHamiltonian`; one of ours may have a local detuning.
        steps: The schedule.

    Returns:
        Atoms are the filled sites, in order.

    Raises:
        OptionError: It is no such Hamiltonian, or holds something else than scalar operators.
        RegisterError: The sites are no positions of atoms.
        WaveformError: An operator depends on something that the schedule does not give, or its
            value is not real or not finite.
    """
    if not isinstance(hamiltonian, cudaq.RydbergHamiltonian):
        raise OptionError(
            "hamiltonian",
            f"{type(hamiltonian).__name__} does not act on Rydberg atoms",
            "Give a cudaq.RydbergHamiltonian or an AnalogProgram, or use "
            "cudaq.set_target('dynamics')",
        )
    filling = np.array([bool(filled) for filled in _filling(hamiltonian)])
    return AnalogSpec(
        name="evolve",
        sites_um=_sites_um(hamiltonian.atom_sites),
        filling=filling,
        amplitude=_waveform("amplitude", hamiltonian.amplitude, steps),
        detuning=_waveform("delta_global", hamiltonian.delta_global, steps),
        phase=_phase(hamiltonian.phase, steps),
        local=_local(hamiltonian.delta_local, steps, filling),
    )


def _filling(hamiltonian: Any) -> list[int]:  # noqa: ANN401
    filling = list(hamiltonian.atom_filling)
    wrong = [site for site, filled in enumerate(filling) if filled not in (0, 1)]
    if wrong:
        raise RegisterError(
            f"atom_filling of site {wrong[0]} is {filling[wrong[0]]!r}",
            "Give 1 (an atom) or 0 (an empty trap) per site",
            (wrong[0],),
        )
    return filling


def _sites_um(sites: Any) -> NDArray[np.float64]:  # noqa: ANN401 - pairs of whatever is a number
    try:
        metres = np.array([tuple(site) for site in sites], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RegisterError(
            "atom_sites are no table of numbers", "Give one finite (x, y) in m per site"
        ) from error
    return np.round(metres * _UM_PER_M, _PLACE_DIGITS)


def _waveform(name: str, operator: Any, steps: Steps) -> Waveform:  # noqa: ANN401
    return Waveform(steps.times_ns, _RAD_PER_US * _values(name, operator, steps), "linear", name)


def _phase(operator: Any, steps: Steps) -> Waveform:  # noqa: ANN401
    # Not -values, which would make -0.0 of no phase.
    return Waveform(steps.times_ns, 0.0 - _values("phase", operator, steps), "step", "phase")


def _local(
    given: Any,  # noqa: ANN401 - whatever the user set
    steps: Steps,
    filling: NDArray[np.bool_],
) -> LocalDetuning | None:
    if given is None:
        return None
    try:
        operator, weights = given
        shares = np.array(list(weights), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(
            "delta_local",
            "it is no pair of an operator and a list of numbers",
            "Give (cudaq.ScalarOperator(...), [share of each site, 0 to 1])",
        ) from error
    if shares.shape != filling.shape:
        raise WaveformError(
            "delta_local",
            f"{shares.size} weights for {filling.size} sites",
            "Give one weight per site, empty ones included",
        )
    return LocalDetuning(_waveform("delta_local", operator, steps), shares[filling])


def _values(name: str, operator: Any, steps: Steps) -> NDArray[np.float64]:  # noqa: ANN401
    """Evaluate an operator at every step; None is 0."""
    if operator is None:
        return np.zeros(len(steps.times_ns))
    if not isinstance(operator, cudaq.ScalarOperator):
        raise OptionError(
            name,
            f"{type(operator).__name__} is no operator of time",
            "Give cudaq.ScalarOperator(lambda t: ...) or cudaq.ScalarOperator.const(...)",
        )
    wanted = list(operator.parameters)
    known = list(steps.parameters[0])
    for parameter in wanted:
        if parameter not in known:
            raise WaveformError(
                name,
                f"its operator depends on {parameter!r}, which the schedule does not give",
                f"Name the parameters alike; the schedule has: {', '.join(known) or 'none'}",
            )
    return np.array(
        [
            _value(name, operator, {key: values[key] for key in wanted}, float(time_ns))
            for time_ns, values in zip(steps.times_ns, steps.parameters, strict=True)
        ]
    )


def _value(
    name: str,
    operator: Any,  # noqa: ANN401 - a class of CUDA-Q's without types
    parameters: Mapping[str, complex],
    time_ns: float,
) -> float:
    try:
        value = complex(operator.evaluate(**parameters))
    except RuntimeError as error:  # CUDA-Q could not take what the user's function returned
        raise WaveformError(
            name,
            f"its operator gives no number ({error})",
            "Let the function return a real number",
            time_ns,
        ) from error
    if not cmath.isfinite(value):
        raise WaveformError(
            name, f"its value is {value:g}", "Let the function return finite numbers", time_ns
        )
    if value.imag:
        raise WaveformError(
            name,
            f"its value {value:g} is complex",
            "Give the argument of a complex amplitude as the phase",
            time_ns,
        )
    return value.real


def _seconds(step: Any, index: int) -> float:  # noqa: ANN401 - a step may be anything
    try:
        value = complex(step)
    except (TypeError, ValueError) as error:
        raise WaveformError(
            "schedule",
            f"step {index} is {step!r}, which is no time",
            "Let the steps be times in s; get_value may turn them into other parameters",
        ) from error
    if not cmath.isfinite(value) or value.imag:
        raise WaveformError(
            "schedule", f"step {index} is {step!r}", "Let the steps be finite, real times in s"
        )
    return value.real


def _times_ns(seconds: list[float]) -> NDArray[np.float64]:
    if len(seconds) < 2:
        raise WaveformError(
            "schedule",
            f"{len(seconds) or 'no'} step{'s' * (not seconds)}, which is no span of time",
            "Give at least two times in s, the first of them 0",
        )
    if seconds[0] != 0.0:
        raise WaveformError(
            "schedule",
            f"it starts at {seconds[0]:g} s",
            "Let the first step be 0 s",
            time_ns=seconds[0] * _NS_PER_S,
        )
    for index, (earlier, later) in enumerate(itertools.pairwise(seconds), start=1):
        if later <= earlier:
            raise WaveformError(
                "schedule",
                f"step {index} ({later:g} s) is not after step {index - 1} ({earlier:g} s)",
                "Give increasing times",
                time_ns=later * _NS_PER_S,
            )
    return np.round(np.array(seconds) * _NS_PER_S, _TIME_DIGITS)
