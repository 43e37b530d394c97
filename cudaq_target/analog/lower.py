"""From what an analog program asks for to what a device plays.

- The duration goes up to the next multiple of the clock; the drive is off in what is added.
- A smooth phase is played as the detuning -dφ/dt, steps of the phase as pulses of their own.
- A positive local detuning is played as the same global one, taken off where the weight is not 1,
  since detuning map modulators make negative ones alone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.analog import eom as eom_mode
from cudaq_target.analog import limits, phases
from cudaq_target.analog.layout import LAYOUT_TOLERANCE_UM, place
from cudaq_target.analog.model import AnalogSpec
from cudaq_target.analog.sampling import deviation, means, straightened
from cudaq_target.analog.sequence import to_sequence
from cudaq_target.analog.timeline import AnalogTimeline, LocalSamples, PlayError
from cudaq_target.errors import AnalogLimitError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.analog.model import LocalDetuning, Waveform
    from cudaq_target.analog.rules import AnalogRules


def lower(
    spec: AnalogSpec,
    rules: AnalogRules,
    *,
    traps: RegisterLayout | None = None,
    layout_tolerance_um: float = LAYOUT_TOLERANCE_UM,
    eom: bool = False,
) -> AnalogTimeline:
    """Lower an analog program for a device.

    Args:
        spec: The program.
        rules: The device.
        traps: A `pulser` layout to place the atoms on, or None to choose where one is needed.
        layout_tolerance_um: How far a trap may be from the place of an atom (µm).
        eom: Play square pulses in the mode of the electro-optic modulator.

    Returns:
        The timeline.

    Raises:
        AnalogLimitError: A limit of the device is broken; with atom, time and nearest valid value.
        DeviceLimitError: The device accepts no such register, or has no such mode.
    """
    spec = _on_whole_ns(spec)
    duration_ns = limits.played_duration_ns(rules, spec.duration_ns)
    placement = place(rules, spec, traps=traps, tolerance_um=layout_tolerance_um)
    wanted = means(spec.amplitude, duration_ns, after=0.0)
    amplitude = straightened(limits.checked_amplitude(rules, wanted))
    detuning, local, error = _detunings(rules, spec, duration_ns)
    plan = eom_mode.plan if eom else phases.plan
    played = plan(rules, spec.phase, amplitude, detuning)
    limits.check_average(rules, amplitude, played.spans)
    value, area = deviation(spec.amplitude, amplitude)
    timeline = AnalogTimeline(
        device=rules,
        spec=spec,
        atoms_um=placement.atoms_um,
        traps=placement.traps,
        duration_ns=duration_ns,
        amplitude=amplitude,
        detuning=played.detuning,
        phase=phases.phase_samples(rules, played.spans, amplitude, played.detuning),
        spans=played.spans,
        local=local,
        error=dataclasses.replace(
            error,
            amplitude_rad_per_us=value,
            amplitude_area_rad=area,
            phase_step_ns=played.shift_ns,
            padding_ns=duration_ns - spec.duration_ns,
            position_um=placement.error_um,
        ),
        eom=eom,
    )
    if eom:
        # How long a change of the phase takes in this mode is known to Pulser's scheduler alone.
        to_sequence(timeline, measured=False)
    return timeline


def _on_whole_ns(spec: AnalogSpec) -> AnalogSpec:
    """Take off what is left of rounding where times come from seconds."""
    local = spec.local
    if local is not None:
        local = dataclasses.replace(local, waveform=local.waveform.on_whole_ns())
    return dataclasses.replace(
        spec,
        amplitude=spec.amplitude.on_whole_ns(),
        detuning=spec.detuning.on_whole_ns(),
        phase=spec.phase.on_whole_ns(),
        local=local,
    )


def _detunings(
    rules: AnalogRules, spec: AnalogSpec, duration_ns: int
) -> tuple[NDArray[np.float64], LocalSamples | None, PlayError]:
    """Sample the global and the local detuning, with what the phase adds to the global one."""
    parts: list[Waveform] = [spec.detuning]
    samples = means(spec.detuning, duration_ns)
    hint = ""
    if phases.is_smooth(spec.phase):
        turn = phases.slope(spec.phase)
        samples = samples + means(turn, duration_ns, after=0.0)
        parts.append(turn)
        hint = ", the slope of the phase included"
    local = None
    if spec.local is not None:
        local, shared = _local(rules, spec.local, duration_ns)
        if shared is not None:
            samples = samples + shared
            parts.append(spec.local.waveform)
            hint += ", the positive local detuning included"
    samples = straightened(limits.checked_detuning(rules, samples, hint))
    value = area = 0.0
    for part in parts:
        exact = straightened(means(part, duration_ns))
        off, off_area = deviation(part, exact)
        value, area = value + off, area + off_area
    return samples, local, PlayError(detuning_rad_per_us=value, detuning_area_rad=area)


def _local(
    rules: AnalogRules, local: LocalDetuning, duration_ns: int
) -> tuple[LocalSamples | None, NDArray[np.float64] | None]:
    """Sample a local detuning; a positive one also returns what is added to the global one."""
    waveform = local.waveform
    if rules.local is None:
        raise AnalogLimitError(
            subject="local detuning",
            limit="global detuning alone, as it has no detuning map modulator",
            device=rules.name,
            remedy="Leave it out, or use a device with one: DigitalAnalogDevice or MockDevice",
        )
    samples = means(waveform, duration_ns)
    if (samples <= 0.0).all():
        shared, weights = None, local.weights
    elif (samples >= 0.0).all():
        shared, samples, weights = samples, -samples, 1.0 - local.weights
    else:
        time_ns = int(np.argmax(samples))
        raise AnalogLimitError(
            subject=f"local detuning that is {samples[time_ns]:.6g} rad/µs at {time_ns} ns and "
            f"{samples.min():.6g} rad/µs at {int(np.argmin(samples))} ns",
            limit="local detunings of one sign",
            device=rules.name,
            remedy="Put the part of the other sign into the global detuning",
            time_ns=float(time_ns),
            value=float(samples[time_ns]),
            nearest=0.0,
        )
    if not weights.any():
        return None, shared
    played = LocalSamples(straightened(samples), weights)
    limits.check_local(rules, rules.local, played)
    return played, shared
