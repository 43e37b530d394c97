"""Gates to pulses: Raman rotations, Rydberg π pulses and exact CPhase target pulses.

A CPhase block is: π pulse on the control, target pulse, π pulse on the control. Between the two π
pulses any number of targets may be served (fan-out). With α = arg a the phase of the target pulse
when the control is dark, the block is followed by virtual rotations

    Rz(target_i, α_i + θ_i)  for each target,      Rz(control, π + Σ θ_i),

and equals the product of the CPhase(θ_i) up to the global phase π/2 + Σ α_i / 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.device import NO_LIMIT_NS
from cudaq_target.errors import DeviceLimitError, PulseNotFoundError
from cudaq_target.pulse_cache import default_cache
from cudaq_target.timeline import Pulse
from cudaq_target.units import TWO_PI, wrap_rad

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.device import BeamRules, DeviceRules

# In turns of the largest Rabi frequency (2π/Ω_max): every θ is feasible from 1.2 turns on where
# the blockade is strong, and from φ/V + 0.58 turns on where it is weak (scan over 4 to 12 µm).
_FLOOR_TURNS = 1.2
_EDGE_TURNS = 0.58
_MAX_TRIES = 64
_TINY = 1e-300
_MAX_EXTRA_TURNS = 64
# Stands for an infinite time; integers and doubles still count single ns there.
_NEVER_NS = 1 << 50
# The mean Rabi frequency must not miss the channel's smallest by rounding.
_MEAN_MARGIN = 1e-9
# V of the nearest neighbours that are worth a try, in units of the largest Rabi frequency, and how
# many lengths are tried there.
_STRONG_RABIS = 25.0
_N_TRIES_NEAREST = 4
_N_DIGITS_INTERACTION = 9
_N_DIGITS_THETA = 12


@dataclass(frozen=True, slots=True, eq=False)
class TargetPulse:
    """The pulse on the target atom of an exact CPhase(θ), and the virtual rotations it needs.

    Attributes:
        pulse: The drive of the target atom.
        theta_rad: The phase θ of the CPhase (rad).
        phase_free_rad: α = arg a_hg, picked up by g of the target when the control is in h (rad).
        phase_blocked_rad: arg b = α + θ (mod 2π), the same with the control in r (rad).
        dphase_dlnv_rad: Sensitivity d(arg b)/d(ln V) to the interaction (rad).
        dreturn_dlnv: Sensitivity |d r₁/d(ln V)| of the amplitude left in r.
        infidelity: Predicted 1 - F (process fidelity) of the gate for 10 % spread of V and 1 %
            spread of Ω, π pulses taken as perfect; exact without spread.
    """

    pulse: Pulse
    theta_rad: float
    phase_free_rad: float
    phase_blocked_rad: float
    dphase_dlnv_rad: float
    dreturn_dlnv: float
    infidelity: float

    @property
    def duration_ns(self) -> int:
        """Length T of the pulse (ns)."""
        return self.pulse.duration_ns

    @property
    def target_shift_rad(self) -> float:
        """Rz angle α + θ for the target after the block (rad)."""
        return self.phase_free_rad + self.theta_rad

    @property
    def global_phase_rad(self) -> float:
        """This target's share α/2 of the block's global phase (rad)."""
        return 0.5 * self.phase_free_rad


def raman_pulse(rules: DeviceRules, theta_rad: float, phase_rad: float) -> Pulse:
    """Return a resonant Raman pulse of a given area: exp(-iθ/2 (cosφ X - sinφ Y)).

    Args:
        rules: The device.
        theta_rad: Area θ in (0, π] (rad).
        phase_rad: Laser phase φ (rad), frames included; Ry(θ) has φ = -π/2.

    Returns:
        The shortest such pulse on the device's clock; one piece.

    Raises:
        DeviceLimitError: The beam is too slow for it.

    >>> from cudaq_target.device import resolve
    >>> raman_pulse(resolve("DigitalAnalogDevice"), math.pi, 0.0).duration_ns
    52
    """
    phase_rad %= TWO_PI
    if phase_rad == TWO_PI:  # what % makes of a tiny negative angle
        phase_rad = 0.0
    return _resonant_pulse(rules.raman, theta_rad, phase_rad, rules.name)


def pi_pulse(rules: DeviceRules) -> Pulse:
    """Return the resonant Rydberg π pulse that excites or returns a control atom.

    Raises:
        DeviceLimitError: The beam is too slow for it.

    >>> from cudaq_target.device import resolve
    >>> pi_pulse(resolve("DigitalAnalogDevice")).duration_ns
    52
    """
    return _resonant_pulse(rules.rydberg, math.pi, 0.0, rules.name)


def gate_time_ns(rules: DeviceRules, interaction_rad_per_us: float, theta_rad: float) -> int:
    """Predict the length T of the target pulse of CPhase(θ), without solving it.

    T(θ) differs from T(-θ): a positive interaction makes negative phase at a rate of at most V,
    so with φ = (-θ) mod 2π at least φ/V and the two edges are needed. Where the sign is free
    (X on the control before and after), ask for both.

    Args:
        rules: The device.
        interaction_rad_per_us: Pair interaction V > 0 (rad/µs).
        theta_rad: Phase θ (rad).

    Returns:
        T (ns): the time that the channel's retarget rule leaves free where that is enough, else
        the shortest length for which a solution is expected.

    >>> from cudaq_target.device import resolve
    >>> gate_time_ns(resolve("DigitalAnalogDevice"), 350.0, math.pi)
    220
    """
    times_ns = gate_times_ns(rules, np.array([interaction_rad_per_us]), theta_rad)
    return int(times_ns[0])


def gate_times_ns(
    rules: DeviceRules,
    interaction_rad_per_us: NDArray[np.float64],
    theta_rad: float | NDArray[np.float64],
) -> NDArray[np.int64]:
    """Predict T for many gates at once; see `gate_time_ns`.

    Args:
        rules: The device.
        interaction_rad_per_us: Pair interactions V (rad/µs), any shape.
        theta_rad: Phase θ (rad): one for all, or the same shape.

    Returns:
        T (ns), same shape; never longer for a larger V. It may exceed `max_duration_ns`: how far
        tells a router what a move would gain.
    """
    turned = TWO_PI - np.mod(theta_rad, TWO_PI)
    return _times_ns(rules.rydberg, interaction_rad_per_us, np.maximum(turned, _TINY))


def _times_ns(
    beam: BeamRules,
    interaction_rad_per_us: NDArray[np.float64],
    phi_rad: float | NDArray[np.float64],
) -> NDArray[np.int64]:
    """Predict T (ns) where the interaction has to make the phase -φ."""
    turn_ns = 1e3 * TWO_PI / beam.max_rabi_rad_per_us
    with np.errstate(divide="ignore", over="ignore"):
        phase_ns = 1e3 * phi_rad / np.abs(interaction_rad_per_us)
    weak_ns = phase_ns + _EDGE_TURNS * turn_ns
    weakness = beam.min_average_rabi_rad_per_us / beam.max_rabi_rad_per_us
    if 0.0 < weakness < 1.0:
        # Each edge turns twice more for every turn that the mean Rabi frequency lacks.
        lacking = (weakness * weak_ns / turn_ns - 1.0) / (1.0 - weakness)
        weak_ns = weak_ns + np.maximum(np.ceil(0.5 * lacking), 0.0) * 2.0 * turn_ns
    floor_ns = max(_FLOOR_TURNS * turn_ns, 3 * beam.min_duration_ns)
    needed_ns = np.clip(weak_ns, floor_ns, _NEVER_NS)
    on_clock_ns = np.ceil(needed_ns / beam.clock_ns).astype(np.int64) * beam.clock_ns
    return np.maximum(on_clock_ns, free_time_ns(beam))


def free_time_ns(beam: BeamRules) -> int:
    """Return the longest pulse that costs nothing under the retarget rule (ns), 0 without a rule.

    Two target instructions are at least `min_retarget_ns` apart whatever happens between them.
    """
    free_ns = min(beam.min_retarget_ns - beam.fixed_retarget_ns, beam.max_duration_ns)
    return max(0, free_ns // beam.clock_ns * beam.clock_ns)


def least_mean(beam: BeamRules) -> float:
    """Return the smallest mean Rabi frequency to use (rad/µs): not missed by rounding."""
    return beam.min_average_rabi_rad_per_us * (1.0 + _MEAN_MARGIN)


def cphase_pulse(
    rules: DeviceRules, interaction_rad_per_us: float, theta_rad: float
) -> TargetPulse:
    """Return the target pulse of an exact CPhase(θ), from the cache or solved.

    The interaction is rounded to 1e-9 rad/µs and θ to 1e-12 rad. Where the predicted length has no
    solution, the next lengths on the clock are tried.

    Args:
        rules: The device.
        interaction_rad_per_us: Pair interaction V of the placed atoms (rad/µs).
        theta_rad: Phase θ (rad), any branch.

    Returns:
        The most robust pulse found; the same object for the same request.

    Raises:
        DeviceLimitError: The needed pulse is longer than the channel's longest pulse.
        PulseNotFoundError: No length in the tried range has a solution.
    """
    beam = rules.rydberg
    interaction = round(float(interaction_rad_per_us), _N_DIGITS_INTERACTION)
    theta = round(wrap_rad(float(theta_rad)), _N_DIGITS_THETA)
    lengths_ns = _lengths_ns(beam, interaction, theta) if interaction > 0.0 else []
    if not lengths_ns:
        first_ns = gate_time_ns(rules, interaction, theta) if interaction > 0.0 else _NEVER_NS
        raise DeviceLimitError(
            subject=(
                f"CPhase({theta:.4f} rad) at interaction {interaction:.3g} rad/µs"
                + (f" needs a pulse of about {first_ns} ns" if first_ns < _NEVER_NS else "")
            ),
            limit=f"pulses of at most {beam.max_duration_ns} ns",
            device=rules.name,
            remedy=_remedy(rules, theta),
        )
    for duration_ns in lengths_ns:
        found = _solved(beam, interaction, theta, duration_ns)
        if found is not None:
            return found
    raise PulseNotFoundError(
        interaction_rad_per_us=interaction,
        theta_rad=theta,
        longest_ns=lengths_ns[-1],
        device=rules.name,
        remedy=_remedy(rules, theta),
    )


def _lengths_ns(
    beam: BeamRules, interaction_rad_per_us: float, theta_rad: float, n_tries: int = _MAX_TRIES
) -> list[int]:
    """Return the lengths to try (ns), none beyond the longest pulse.

    A drive that must not be weak makes some phase at least; a smaller one is then reached a whole
    turn later.
    """
    phi_rad = _phi_rad(theta_rad)
    phis_rad = [phi_rad] if beam.min_average_rabi_rad_per_us == 0.0 else [phi_rad, phi_rad + TWO_PI]
    lengths_ns: list[int] = []
    for phase_rad in phis_rad:
        first_ns = int(_times_ns(beam, np.array([interaction_rad_per_us]), phase_rad)[0])
        lengths_ns += (first_ns + k * beam.clock_ns for k in range(n_tries))
    return [length_ns for length_ns in lengths_ns if length_ns <= beam.max_duration_ns]


def _remedy(rules: DeviceRules, theta_rad: float) -> str:
    """Say what would make a CPhase possible that is not.

    Tried on the nearest neighbours that the device allows; without a smallest distance, on atoms
    with an interaction far above the Rabi frequency.
    """
    beam = rules.rydberg
    strongest = _STRONG_RABIS * beam.max_rabi_rad_per_us
    nearest_um = max(
        rules.min_distance_um, float((rules.c6_rad_per_us_um6 / strongest) ** (1.0 / 6.0))
    )
    interaction = round(rules.c6_rad_per_us_um6 / nearest_um**6, _N_DIGITS_INTERACTION)
    lengths_ns = _lengths_ns(beam, interaction, theta_rad, _N_TRIES_NEAREST)
    if not any(_solved(beam, interaction, theta_rad, length_ns) for length_ns in lengths_ns):
        return (
            f"This beam is too slow: atoms {nearest_um:.1f} µm apart would fail as well "
            f"({_limits(beam)}). Use another device (Pasqal(device=...))"
        )
    return (
        f"Place the atoms closer (Pasqal(layout=...)): {nearest_um:.1f} µm would do. If "
        "route='direct' was chosen, the default route='swap' moves qubits together as well"
    )


@lru_cache(maxsize=1 << 14)
def _solved(
    beam: BeamRules, interaction_rad_per_us: float, theta_rad: float, duration_ns: int
) -> TargetPulse | None:
    key = (
        f"cphase {interaction_rad_per_us:.9f} {theta_rad:.12f} {duration_ns} {beam.clock_ns} "
        f"{beam.min_duration_ns} {beam.max_rabi_rad_per_us!r} {beam.max_detuning_rad_per_us!r} "
        f"{beam.min_average_rabi_rad_per_us!r}"
    )
    cache = default_cache()
    values = cache.get(key)
    if values is None:
        values = _solve(beam, interaction_rad_per_us, theta_rad, duration_ns)
        cache.put(key, values)
    if not values:
        return None
    edge_ns, rabi_edge, rabi_middle, detuning_edge, detuning_middle = values[:5]
    pulse = Pulse(
        durations_ns=np.array([edge_ns, duration_ns - 2 * edge_ns, edge_ns], dtype=np.int64),
        rabi_rad_per_us=np.array([rabi_edge, rabi_middle, rabi_edge]),
        detuning_rad_per_us=np.array([detuning_edge, detuning_middle, detuning_edge]),
        phase_rad=0.0,
    )
    return TargetPulse(pulse, theta_rad, *values[5:])


def _solve(
    beam: BeamRules, interaction_rad_per_us: float, theta_rad: float, duration_ns: int
) -> tuple[float, ...]:
    """Solve one pulse; the empty tuple says that this length has no solution."""
    from cudaq_target.solver import solve  # noqa: PLC0415 - imports Numba

    found = solve(interaction_rad_per_us, theta_rad, duration_ns, beam)
    if found is None:
        return ()
    return (
        float(found.edge_ns),
        *found.rabi_rad_per_us,
        *found.detuning_rad_per_us,
        found.phase_free_rad,
        found.phase_blocked_rad,
        found.dphase_dlnv_rad,
        found.dreturn_dlnv,
        found.infidelity,
    )


def _phi_rad(theta_rad: float) -> float:
    """Return φ = (-θ) mod 2π in (0, 2π] (rad)."""
    return max(TWO_PI - theta_rad % TWO_PI, _TINY)  # not 0 where % rounds up to 2π


def _limits(beam: BeamRules) -> str:
    """Name the limits of a beam that make pulses impossible."""
    text = (
        f"Rabi frequency at most {beam.max_rabi_rad_per_us / TWO_PI:.3g} MHz, detuning at most "
        f"{beam.max_detuning_rad_per_us / TWO_PI:.3g} MHz"
    )
    if beam.max_duration_ns < NO_LIMIT_NS:
        text += f", length at most {beam.max_duration_ns} ns"
    if beam.min_average_rabi_rad_per_us > 0.0:
        text += f", mean Rabi frequency {beam.min_average_rabi_rad_per_us / TWO_PI:.3g} MHz or more"
    return text


def _resonant_pulse(beam: BeamRules, area_rad: float, phase_rad: float, device: str) -> Pulse:
    """Return the shortest square pulse of an area, or of that area and some double turns.

    Two turns more are the same rotation exactly; they lift the mean Rabi frequency of a weak pulse
    above the channel's smallest.
    """
    for n_double_turns in range(_MAX_EXTRA_TURNS):
        total_rad = area_rad + 2.0 * TWO_PI * n_double_turns
        duration_ns = _shortest_ns(beam, total_rad)
        if duration_ns > beam.max_duration_ns:
            break
        pulse = _square_pulse(beam.max_rabi_rad_per_us, duration_ns, total_rad, phase_rad)
        if pulse.rabi_rad_per_us[0] >= least_mean(beam):
            return pulse
    raise DeviceLimitError(
        subject=f"a resonant pulse of area {area_rad:.4g} rad on channel {beam.channel}",
        limit=_limits(beam),
        device=device,
        remedy="This beam is too slow; use another device (Pasqal(device=...))",
    )


def _shortest_ns(beam: BeamRules, area_rad: float) -> int:
    """Return the shortest length on the clock in which the beam reaches an area (ns)."""
    needed_ns = max(beam.min_duration_ns, 1e3 * area_rad / beam.max_rabi_rad_per_us)
    # A π pulse at exactly the largest Rabi frequency must not be pushed to the next tick by the
    # last bit of a division.
    return math.ceil(needed_ns / beam.clock_ns - 1e-12) * beam.clock_ns


@lru_cache(maxsize=1 << 14)
def _square_pulse(
    max_rabi_rad_per_us: float, duration_ns: int, area_rad: float, phase_rad: float
) -> Pulse:
    return Pulse(
        durations_ns=np.array([duration_ns], dtype=np.int64),
        rabi_rad_per_us=np.array([min(area_rad / (duration_ns * 1e-3), max_rabi_rad_per_us)]),
        detuning_rad_per_us=np.zeros(1),
        phase_rad=phase_rad,
    )
