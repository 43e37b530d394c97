"""Analog programs that tell Rabi frequency and detuning: pulses on atoms far apart."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, pi, sin
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE, analog_rules
from cudaq_target.errors import OptionError
from cudaq_target.kernels.estimation import Experiment

if TYPE_CHECKING:
    from cudaq_target.analog.rules import AnalogRules

_RADIUS_UM: Final = 34.0  # where the device sets no limit
_SHARE_OF_RADIUS: Final = 0.9
_LARGEST_PHASE_RAD: Final = 0.1  # of two excited neighbours, over the longest pulse
_N_SHORT: Final = 20
_N_LONG: Final = 12
_N_WAITS: Final = 8


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Experiments, and the programs that do them.

    Attributes:
        experiments: What each one is, to the posterior.
        texts: Analog programs, as a controller loads them.
        n_atoms: Measured atoms of each.
        rabi_rad_per_us: Rabi frequency that they ask for (rad/µs).
    """

    experiments: tuple[Experiment, ...]
    texts: tuple[str, ...]
    n_atoms: int
    rabi_rad_per_us: float


def probe_set(
    n_atoms: int = 4,
    device: object = DEFAULT_ANALOG_DEVICE,
    *,
    rabi_rad_per_us: float | None = None,
    longest_us: float = 5.8,
    with_detuning: bool = True,
) -> ProbeSet:
    """Make probes: square pulses of many durations, and pairs of π/2 pulses of many distances.

    Durations are denser than an eighth of a fringe at the long end, so that there is always a long
    pulse in the middle of a flank, and get few below. Between two pulses of finite length the phase
    of the detuning grows for 2 / Ω longer than the pause, which the experiments count in.

    Args:
        n_atoms: On a circle as wide as the device allows; each shot gives as many bits.
        device: As for `cudaq_target.compile`.
        rabi_rad_per_us: Rabi frequency of the pulses; by default 0.95 of the device's largest, so
            that a drift downwards can be made up for. The next one whose π/2 pulse ends on the
            clock is taken.
        longest_us: Longest program (µs). The longer, the fewer shots; what decoheres should stay
            below.
        with_detuning: Make the pairs of pulses, too.

    Raises:
        OptionError: The atoms would feel one another, or a number makes no sense.
        TargetError: The device refuses a probe.
    """
    rules = analog_rules(device)
    largest = rules.drive.max_amplitude_rad_per_us
    wanted = 0.95 * min(largest, 4.0 * pi) if rabi_rad_per_us is None else rabi_rad_per_us
    if not (0.0 < wanted <= largest and n_atoms >= 1 and longest_us > 0.0):
        raise OptionError(
            "probes",
            f"{n_atoms} atoms, {wanted} rad/µs, {longest_us} µs",
            f"Give at least 1 atom, up to {largest:g} rad/µs on {rules.name}, and a duration",
        )
    clock_ns = rules.drive.clock_ns
    quarter_ns = ceil(1e3 * 0.5 * pi / wanted / clock_ns) * clock_ns
    rabi = 1e3 * 0.5 * pi / quarter_ns
    longest_ns = int(1e3 * longest_us) // clock_ns * clock_ns
    sites = _circle(n_atoms, rules, longest_ns)
    found = [
        _rabi(sites, rules, rabi, ns) for ns in _durations_ns(quarter_ns, longest_ns, clock_ns)
    ]
    if with_detuning:
        shortest_ns = max(2 * rules.drive.phase_jump_ns + 2 * clock_ns, 4 * quarter_ns)
        waits = np.geomspace(shortest_ns, longest_ns - 2 * quarter_ns, _N_WAITS) // clock_ns
        found += [
            _ramsey(sites, rules, rabi, quarter_ns, ns, phase)
            for ns in (clock_ns * np.unique(waits.astype(int))).tolist()
            for phase in (0.5 * pi, 1.5 * pi)
        ]
    experiments, texts = zip(*found, strict=True)
    return ProbeSet(experiments, texts, n_atoms, rabi)


def _durations_ns(quarter_ns: int, longest_ns: int, clock_ns: int) -> list[int]:
    long = longest_ns - 0.5 * quarter_ns * np.arange(_N_LONG)
    short = np.geomspace(0.5 * quarter_ns, max(long[-1], quarter_ns), _N_SHORT + 1)[:-1]
    clocks = np.unique((np.concatenate([short, long]) // clock_ns).astype(int))
    shortest = max(16 // clock_ns, 1)
    found: list[int] = (clock_ns * clocks[clocks >= shortest]).tolist()
    return found


def _circle(n_atoms: int, rules: AnalogRules, longest_ns: int) -> list[tuple[float, float]]:
    if n_atoms == 1:
        return [(0.0, 0.0)]
    radius = _SHARE_OF_RADIUS * (rules.max_radius_um or _RADIUS_UM / _SHARE_OF_RADIUS)
    distance = 2.0 * radius * sin(pi / n_atoms)
    phase = rules.c6_rad_per_us_um6 / distance**6 * 1e-3 * longest_ns
    if phase > _LARGEST_PHASE_RAD:
        raise OptionError(
            f"probes of {n_atoms} atoms",
            f"they are {distance:.1f} µm apart on {rules.name} and turn one another by "
            f"{phase:.2g} rad in {1e-3 * longest_ns:g} µs, more than {_LARGEST_PHASE_RAD:g}",
            "Use fewer atoms, or a smaller `longest_us`",
        )
    angles = [2.0 * pi * k / n_atoms for k in range(n_atoms)]
    return [(radius * cos(angle), radius * sin(angle)) for angle in angles]


def _rabi(
    sites: list[tuple[float, float]], rules: AnalogRules, rabi: float, duration_ns: int
) -> tuple[Experiment, str]:
    spec = AnalogSpec.of(
        sites, Waveform.constant(duration_ns, rabi, "amplitude"), name=f"rabi {duration_ns} ns"
    )
    return Experiment("rabi", 1e-3 * duration_ns), build(spec, rules).to_json()


def _ramsey(
    sites: list[tuple[float, float]],
    rules: AnalogRules,
    rabi: float,
    quarter_ns: int,
    wait_ns: int,
    phase_rad: float,
) -> tuple[Experiment, str]:
    second_ns, end_ns = quarter_ns + wait_ns, 2 * quarter_ns + wait_ns
    times = [0, quarter_ns, second_ns, end_ns]
    spec = AnalogSpec.of(
        sites,
        Waveform(times, [rabi, 0.0, rabi, rabi], "step", "amplitude"),
        0.0,
        Waveform([0, second_ns, end_ns], [0.0, phase_rad, phase_rad], "step", "phase"),
        name=f"ramsey {wait_ns} ns",
    )
    experiment = Experiment("ramsey", 1e-3 * wait_ns + 2.0 / rabi, phase_rad)
    return experiment, build(spec, rules).to_json()
