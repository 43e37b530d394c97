"""Square pulses in the mode of the electro-optic modulator (EOM).

The modulator is faster than the channel's own bandwidth, but knows one amplitude, one detuning
while it is on, and few detunings while it is off. What the latter adds to the phase of the atoms is
taken off the pulses that follow, so the program stays what was asked for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.analog.phases import PulsePlan, clocked_steps
from cudaq_target.analog.timeline import PulseSpan
from cudaq_target.errors import AnalogLimitError
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    import pulser
    from numpy.typing import NDArray

    from cudaq_target.analog.model import Waveform
    from cudaq_target.analog.rules import AnalogRules
    from cudaq_target.analog.timeline import AnalogTimeline

_ROUNDING = 1e-9
_NS_PER_US = 1e3


def plan(
    rules: AnalogRules,
    phase: Waveform,
    amplitude: NDArray[np.float64],
    detuning: NDArray[np.float64],
) -> PulsePlan:
    """Cut samples into pulses of the modulator.

    Args:
        rules: The device.
        phase: The phase (rad); of a smooth one only the first value counts.
        amplitude: Samples (rad/µs), shape (duration_ns,): 0 or one value.
        detuning: Samples (rad/µs), shape (duration_ns,): one value wherever the amplitude is not 0.

    Returns:
        Pulses and delays, and the detuning with the modulator's value in the delays.

    Raises:
        AnalogLimitError: The device has no modulator, or the samples are no square pulses on its
            clock.
    """
    if not rules.drive.has_eom:
        raise AnalogLimitError(
            subject="EOM mode",
            limit="pulses of its own bandwidth alone, as it has no electro-optic modulator",
            device=rules.name,
            remedy="Leave eom out, or use a device with one: AnalogDevice",
        )
    on = amplitude > 0.0
    if not on.any():
        return PulsePlan((PulseSpan(0, len(on), None),), np.zeros(len(on)), 0.0)
    steps, shift_ns = clocked_steps(rules, phase, len(on))
    runs = _runs(on, [time_ns for time_ns, _ in steps])
    _check_square(rules, runs, amplitude, detuning, on)
    detuning_on = float(detuning[on][0])
    off = detuning[~on]
    wanted_off = float(off.mean()) if off.size else detuning_on
    value_off = detuning_off(rules, float(amplitude.max()), detuning_on, wanted_off)
    played = np.where(on, detuning_on, value_off)
    # Where the drive is off, r turns faster by this (rad); later pulses follow it.
    drift = np.concatenate([[0.0], np.cumsum(played - detuning)]) / _NS_PER_US
    spans = []
    for start_ns, end_ns in runs:
        if not on[start_ns]:
            spans.append(PulseSpan(start_ns, end_ns, None))
            continue
        asked = [value for time_ns, value in [(0, phase.values[0]), *steps] if time_ns <= start_ns]
        spans.append(PulseSpan(start_ns, end_ns, float(asked[-1] + drift[start_ns]) % TWO_PI))
    return PulsePlan(tuple(spans), played, shift_ns)


def detuning_off(rules: AnalogRules, amplitude: float, detuning_on: float, wanted: float) -> float:
    """Return the detuning while the modulator is off that is nearest to a wanted one (rad/µs)."""
    config: Any = rules.pulser_device.channels[rules.drive.channel].eom_config
    return float(config.calculate_detuning_off(amplitude, detuning_on, wanted))


def play(sequence: pulser.Sequence, timeline: AnalogTimeline) -> None:
    """Add the pulses of a timeline to a sequence whose channel is declared."""
    channel = timeline.device.drive.channel
    on = timeline.amplitude > 0.0
    if on.any():
        still = timeline.detuning[~on]
        detuning_on = float(timeline.detuning[on][0])
        sequence.enable_eom_mode(
            channel,
            amp_on=float(timeline.amplitude.max()),
            detuning_on=detuning_on,
            optimal_detuning_off=float(still[0]) if still.size else detuning_on,
        )
    for span in timeline.spans:
        length_ns = span.end_ns - span.start_ns
        if span.phase_rad is None:
            sequence.delay(length_ns, channel)
        else:
            sequence.add_eom_pulse(channel, length_ns, phase=span.phase_rad)
        found_ns = sequence.get_duration(channel)
        if found_ns != span.end_ns:
            needed_ns = found_ns - length_ns
            raise AnalogLimitError(
                subject=f"pulse of another phase at {span.start_ns} ns in EOM mode",
                limit=f"it from {needed_ns} ns on, after the time that a change of phase takes",
                device=timeline.device.name,
                remedy=f"Keep the amplitude at 0 until {needed_ns} ns",
                time_ns=float(span.start_ns),
                value=float(span.start_ns),
                nearest=float(needed_ns),
            )


def _runs(on: NDArray[np.bool_], cuts: list[int]) -> list[tuple[int, int]]:
    """Return where the drive is on and off, pulses cut at the steps of the phase (ns)."""
    edges = {0, len(on), *(np.flatnonzero(np.diff(on)) + 1).tolist()}
    edges |= {time_ns for time_ns in cuts if on[time_ns - 1] and on[time_ns]}
    ordered = sorted(edges)
    return list(pairwise(ordered))


def _check_square(
    rules: AnalogRules,
    runs: list[tuple[int, int]],
    amplitude: NDArray[np.float64],
    detuning: NDArray[np.float64],
    on: NDArray[np.bool_],
) -> None:
    for samples, what in ((amplitude, "amplitude"), (detuning, "detuning")):
        first = float(samples[on][0])
        off = np.flatnonzero(on & (np.abs(samples - first) > _ROUNDING * max(abs(first), 1.0)))
        if off.size:
            time_ns = int(off[0])
            raise AnalogLimitError(
                subject=f"{what} of {samples[time_ns]:.6g} rad/µs at {time_ns} ns in EOM mode",
                limit=f"one {what} in all pulses, here {first:.6g} rad/µs",
                device=rules.name,
                remedy="Use square pulses, or leave eom out",
                time_ns=float(time_ns),
                value=float(samples[time_ns]),
                nearest=first,
            )
    shortest_ns = rules.drive.min_duration_ns
    for start_ns, end_ns in runs:
        if start_ns % rules.clock_ns or end_ns - start_ns < shortest_ns:
            nearest_ns = round(start_ns / rules.clock_ns) * rules.clock_ns
            raise AnalogLimitError(
                subject=f"pulse or pause from {start_ns} to {end_ns} ns in EOM mode",
                limit=f"edges at multiples of {rules.clock_ns} ns, at least {shortest_ns} ns apart",
                device=rules.name,
                remedy=f"Nearest edge: {nearest_ns} ns",
                time_ns=float(start_ns),
                value=float(start_ns),
                nearest=float(nearest_ns),
            )
