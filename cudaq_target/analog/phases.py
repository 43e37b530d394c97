"""Laser phases as devices take them: one per pulse, and time without drive between two of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from cudaq_target.analog.model import Waveform
from cudaq_target.analog.timeline import PulseSpan
from cudaq_target.errors import AnalogLimitError
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.analog.rules import AnalogRules

_NS_PER_US = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class PulsePlan:
    """Samples cut into pulses.

    Attributes:
        spans: Pulses and delays, which fill all the time.
        detuning: The detuning to play (rad/µs), shape (duration_ns,).
        shift_ns: Largest shift of a step of the phase (ns).
    """

    spans: tuple[PulseSpan, ...]
    detuning: NDArray[np.float64]
    shift_ns: float


def is_smooth(phase: Waveform) -> bool:
    """Whether a phase varies without steps, so that it is played as a detuning."""
    return phase.kind == "linear" and not phase.is_constant


def slope(phase: Waveform) -> Waveform:
    """Return -dφ/dt of a smooth phase, the detuning that it is played as (rad/µs)."""
    slopes = -np.diff(phase.values) / np.diff(phase.times_ns) * _NS_PER_US
    return Waveform(phase.times_ns, np.append(slopes, slopes[-1]), "step", "slope of the phase")


def plan(
    rules: AnalogRules,
    phase: Waveform,
    amplitude: NDArray[np.float64],
    detuning: NDArray[np.float64],
) -> PulsePlan:
    """Cut samples into pulses of one phase each.

    Steps go to the nearest clock edge. Where the device needs time for a change of the phase, the
    drive must be off around it; the pulses end where it goes off, and a delay is between them.

    Args:
        rules: The device.
        phase: The phase (rad); of a smooth one only the first value counts.
        amplitude: Samples (rad/µs), shape (duration_ns,).
        detuning: Samples (rad/µs), shape (duration_ns,).

    Returns:
        The pulses and delays.

    Raises:
        AnalogLimitError: Two steps are too close, or there is too little time without drive.
    """
    end_ns = len(amplitude)
    first = float(phase.values[0]) % TWO_PI
    steps, shift_ns = clocked_steps(rules, phase, end_ns)
    found = [PulseSpan(0, end_ns, first)]
    for time_ns, phase_rad in steps:
        last = found.pop()
        if rules.drive.phase_jump_ns == 0:
            found += [
                PulseSpan(last.start_ns, time_ns, last.phase_rad),
                PulseSpan(time_ns, end_ns, phase_rad),
            ]
        else:
            found += _with_gap(rules, last, time_ns, phase_rad, amplitude, detuning)
    _check_lengths(rules, found)
    return PulsePlan(tuple(found), detuning, shift_ns)


def phase_samples(
    rules: AnalogRules,
    pulses: tuple[PulseSpan, ...],
    amplitude: NDArray[np.float64],
    detuning: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sample the phase as Pulser does.

    A new phase counts from the phase jump time before its pulse, the first one from the start. A
    pulse without drive at one detuning is a delay, whose phase is ignored.

    Args:
        rules: The device.
        pulses: Pulses and delays.
        amplitude: Samples (rad/µs), shape (duration_ns,).
        detuning: Samples (rad/µs), shape (duration_ns,).

    Returns:
        Samples (rad), shape (duration_ns,).
    """
    samples = np.zeros(len(amplitude))
    played_until_ns: int | None = None
    for span in pulses:
        part = slice(span.start_ns, span.end_ns)
        still = not amplitude[part].any() and (detuning[part] == detuning[span.start_ns]).all()
        if span.phase_rad is None or still:
            continue
        since_ns = 0
        if played_until_ns is not None:
            since_ns = max(span.start_ns - rules.drive.phase_jump_ns, played_until_ns)
        samples[since_ns:] = span.phase_rad
        played_until_ns = span.end_ns
    return samples


def clocked_steps(
    rules: AnalogRules, phase: Waveform, end_ns: int
) -> tuple[list[tuple[int, float]], float]:
    """Return clocked times (ns) and phases (rad) of all steps, and the largest shift (ns).

    Raises:
        AnalogLimitError: Two steps fall on one clock edge, or one on an end.
    """
    if phase.kind == "linear":
        return [], 0.0
    found: list[tuple[int, float]] = []
    shift_ns = 0.0
    held = float(phase.values[0]) % TWO_PI
    inner = zip(phase.times_ns[1:-1].tolist(), phase.values[1:-1].tolist(), strict=True)
    for time_ns, value in inner:
        if value % TWO_PI == held:
            continue
        held = value % TWO_PI
        clocked_ns = round(time_ns / rules.clock_ns) * rules.clock_ns
        if not 0 < clocked_ns < end_ns or (found and clocked_ns <= found[-1][0]):
            _refuse_close(rules, time_ns)
        found.append((clocked_ns, held))
        shift_ns = max(shift_ns, abs(clocked_ns - time_ns))
    return found, shift_ns


def _with_gap(
    rules: AnalogRules,
    last: PulseSpan,
    step_ns: int,
    phase_rad: float,
    amplitude: NDArray[np.float64],
    detuning: NDArray[np.float64],
) -> list[PulseSpan]:
    """End one pulse where the drive goes off before a step, start the next where it comes back."""
    clock_ns = rules.clock_ns
    before = np.flatnonzero(amplitude[last.start_ns : step_ns])
    after = np.flatnonzero(amplitude[step_ns:])
    if not before.size:
        # No drive with the old phase: the new one may have been there from the start.
        return [PulseSpan(last.start_ns, len(amplitude), phase_rad)]
    if not after.size:
        return [last]
    off_ns = last.start_ns + int(before[-1]) + 1
    off_ns = max(-(-off_ns // clock_ns) * clock_ns, last.start_ns + _shortest_ns(rules))
    on_ns = (step_ns + int(after[0])) // clock_ns * clock_ns
    needed_ns = _jump_ns(rules, amplitude[last.start_ns : off_ns], detuning[last.start_ns : off_ns])
    if on_ns - off_ns < needed_ns:
        raise AnalogLimitError(
            subject=f"phase step at {step_ns} ns with {max(on_ns - off_ns, 0)} ns without drive",
            limit=f"steps after {needed_ns} ns without drive",
            device=rules.name,
            remedy=(
                f"Keep the amplitude at 0 from {off_ns} to {off_ns + needed_ns} ns, let the phase "
                "vary linearly, which is played as a detuning, or use a device without modulation"
            ),
            time_ns=float(step_ns),
            value=float(max(on_ns - off_ns, 0)),
            nearest=float(needed_ns),
        )
    gap = detuning[off_ns:on_ns]
    if (gap != gap[0]).any():
        raise AnalogLimitError(
            subject=f"detuning that varies from {off_ns} to {on_ns} ns, around a phase step",
            limit="a constant detuning there",
            device=rules.name,
            remedy=f"Hold it at one value, for instance {gap.mean():.6g} rad/µs",
            time_ns=float(off_ns),
            value=float(np.ptp(gap)),
            nearest=0.0,
        )
    return [
        PulseSpan(last.start_ns, off_ns, last.phase_rad),
        PulseSpan(off_ns, on_ns, None),
        PulseSpan(on_ns, len(amplitude), phase_rad),
    ]


def _jump_ns(
    rules: AnalogRules, amplitude: NDArray[np.float64], detuning: NDArray[np.float64]
) -> int:
    """Return the time that Pulser wants between these samples and a pulse of another phase (ns)."""
    from pulser import Pulse  # noqa: PLC0415
    from pulser.waveforms import CustomWaveform  # noqa: PLC0415

    channel: Any = rules.pulser_device.channels[rules.drive.channel]
    last = Pulse(CustomWaveform(amplitude), CustomWaveform(detuning), 0.0)
    fall_ns = int(last.fall_time(channel))
    jump_ns = max(rules.drive.phase_jump_ns + fall_ns, rules.drive.min_duration_ns)
    return math.ceil(jump_ns / rules.clock_ns) * rules.clock_ns


def _shortest_ns(rules: AnalogRules) -> int:
    return math.ceil(rules.drive.min_duration_ns / rules.clock_ns) * rules.clock_ns


def _check_lengths(rules: AnalogRules, found: list[PulseSpan]) -> None:
    for span in found:
        if span.end_ns - span.start_ns < rules.drive.min_duration_ns:
            _refuse_close(rules, span.start_ns)


def _refuse_close(rules: AnalogRules, time_ns: float) -> NoReturn:
    shortest_ns = _shortest_ns(rules)
    raise AnalogLimitError(
        subject=f"phase step at {time_ns:g} ns",
        limit=f"pulses of one phase of at least {shortest_ns} ns, in steps of {rules.clock_ns} ns",
        device=rules.name,
        remedy=f"Keep steps {shortest_ns} ns apart and from both ends",
        time_ns=float(time_ns),
        nearest=float(shortest_ns),
    )
