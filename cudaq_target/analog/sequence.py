"""Analog timelines as `pulser.Sequence`, and back, with the same samples bit for bit."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.analog import eom
from cudaq_target.analog.layout import register
from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.rules import analog_rules
from cudaq_target.analog.sampling import expanded, pieces_of
from cudaq_target.analog.timeline import AnalogTimeline, LocalSamples, PlayError, PulseSpan
from cudaq_target.errors import OptionError, SequenceError

if TYPE_CHECKING:
    import pulser
    from numpy.typing import NDArray
    from pulser.register.base_register import BaseRegister

    from cudaq_target.analog.rules import AnalogRules


def to_sequence(timeline: AnalogTimeline, *, measured: bool = True) -> pulser.Sequence:
    """Build the `pulser.Sequence` of a timeline.

    Args:
        timeline: What to play; not modulated.
        measured: End with a measurement in the basis `ground-rydberg`.

    Returns:
        A sequence on the timeline's device whose samples are those of the timeline.

    Raises:
        DeviceLimitError: The device does not accept the register.
        AnalogLimitError: There is too little time for a change of the phase in EOM mode.
        SequenceError: Pulser refuses a pulse, or would not play it at its time.
    """
    import pulser  # noqa: PLC0415

    rules = timeline.device
    if timeline.is_modulated:
        raise _problem(
            rules,
            "modulated timeline",
            "it is what the atoms see and no input of a device",
            "Give the timeline before modulation",
        )
    made = register(rules, timeline.atoms_um, timeline.traps)
    channel = rules.drive.channel
    try:
        with warnings.catch_warnings():
            # Pulser stretches durations off the clock with a warning only.
            warnings.simplefilter("error", UserWarning)
            sequence = pulser.Sequence(made, rules.pulser_device)
            sequence.declare_channel(channel, channel)
            if timeline.eom:
                eom.play(sequence, timeline)
            else:
                _play(sequence, timeline)
            if timeline.local is not None and rules.local is not None:
                _play_local(sequence, made, rules.local.channel, timeline.local)
            if measured:
                sequence.measure("ground-rydberg")
    except (ValueError, TypeError, UserWarning, RuntimeError, AssertionError) as error:
        words = str(error).rstrip(".") or type(error).__name__
        raise _problem(
            rules, "analog program", f"Pulser refuses it ({words})", "Please report the program"
        ) from error
    return sequence


def modulated(timeline: AnalogTimeline, given: pulser.Sequence | None = None) -> AnalogTimeline:
    """Return what the atoms see where the bandwidth of the channels is finite.

    Args:
        timeline: What is played.
        given: The sequence that the timeline was read from, or None to build it.

    Returns:
        A timeline with the samples after modulation, as Pulser computes them; longer, since the
        light takes time to go off. The same one where no channel has a bandwidth.
    """
    from pulser import sampler  # noqa: PLC0415

    rules = timeline.device
    bandwidths = [rules.drive.mod_bandwidth_mhz]
    if timeline.local is not None and rules.local is not None:
        bandwidths.append(rules.local.mod_bandwidth_mhz)
    if timeline.is_modulated or not any(bandwidths):
        return timeline
    sequence = given or to_sequence(timeline)
    # Extended first, as Pulser's emulators do: without it, detunings stay while the light goes off.
    found = sampler.sample(
        sequence,
        modulation=True,
        extended_duration=sequence.get_duration(include_fall_time=True),
    )
    duration_ns = int(found.max_duration)
    found = found.extend_duration(duration_ns)
    drive = found.channel_samples[rules.drive.channel]
    local = timeline.local
    if local is not None and rules.local is not None:
        local = LocalSamples(_array(found.channel_samples[rules.local.channel].det), local.weights)
    return dataclasses.replace(
        timeline,
        duration_ns=duration_ns,
        amplitude=_array(drive.amp),
        detuning=_array(drive.det),
        phase=_array(drive.phase),
        local=local,
        is_modulated=True,
    )


def from_sequence(sequence: pulser.Sequence, name: str = "sequence") -> AnalogTimeline:
    """Read a sequence of Pulser's.

    Args:
        sequence: A sequence with one global Rydberg channel, and detuning maps at most beside it.
        name: What to call the program.

    Returns:
        A timeline with the samples of the sequence, and a specification with steps of one ns.

    Raises:
        OptionError: The sequence has parameters, other channels, or no pulse.
        UnsuitableDeviceError: Its device has no global Rydberg channel.
    """
    from pulser import sampler  # noqa: PLC0415

    drive_name, local_name = _channels(sequence)
    device = analog_rules(sequence.device)
    device = dataclasses.replace(
        device, drive=dataclasses.replace(device.drive, channel=drive_name)
    )
    found = sampler.sample(sequence)
    duration_ns = int(found.max_duration)
    if not duration_ns:
        raise OptionError("sequence", "it plays nothing", "Add a pulse")
    found = found.extend_duration(duration_ns)
    drive = found.channel_samples[drive_name]
    atoms = np.array([position.as_array() for position in sequence.register.qubits.values()])
    amplitude, detuning, phase = _array(drive.amp), _array(drive.det), _array(drive.phase)
    local = None
    if local_name is not None:
        samples: Any = found.channel_samples[local_name]
        weights = samples.detuning_map.get_qubit_weight_map(sequence.register.qubits)
        local = LocalSamples(
            _array(samples.det), np.array([weights[qubit] for qubit in sequence.register.qubit_ids])
        )
    spec = AnalogSpec.of(
        atoms,
        _steps(amplitude, "amplitude"),
        _steps(detuning, "detuning"),
        _steps(phase, "phase"),
        local=None
        if local is None
        else LocalDetuning(_steps(local.samples, "local detuning"), local.weights),
        name=name,
    )
    return AnalogTimeline(
        device=device,
        spec=spec,
        atoms_um=spec.atoms_um,
        traps=sequence.register.layout,
        duration_ns=duration_ns,
        amplitude=amplitude,
        detuning=detuning,
        phase=phase,
        spans=_spans(phase),
        local=local,
        error=PlayError(),
        eom=bool(drive.eom_blocks),
    )


def _play(sequence: pulser.Sequence, timeline: AnalogTimeline) -> None:
    import pulser  # noqa: PLC0415

    rules = timeline.device
    channel = rules.drive.channel
    last_rad = 0.0
    for span in timeline.spans:
        part = slice(span.start_ns, span.end_ns)
        if span.phase_rad is None:
            still = float(timeline.detuning[span.start_ns])
            length_ns = span.end_ns - span.start_ns
            pulse = pulser.Pulse.ConstantPulse(length_ns, 0.0, still, last_rad)
        else:
            last_rad = span.phase_rad
            pulse = pulser.Pulse(
                _waveform(timeline.amplitude[part]), _waveform(timeline.detuning[part]), last_rad
            )
        # Without a phase jump time there is no delay to be checked; with one Pulser checks it.
        protocol = "no-delay" if rules.drive.phase_jump_ns == 0 else "min-delay"
        sequence.add(pulse, channel, protocol=protocol)
        found_ns = sequence.get_duration(channel)
        if found_ns != span.end_ns:
            raise _problem(
                rules,
                f"pulse at {span.start_ns} ns",
                f"Pulser would end it at {found_ns} ns instead of {span.end_ns} ns",
                "Please report the program",
            )


def _play_local(
    sequence: pulser.Sequence, made: BaseRegister, channel: str, local: LocalSamples
) -> None:
    weights = {f"q{atom}": float(weight) for atom, weight in enumerate(local.weights) if weight}
    sequence.config_detuning_map(made.define_detuning_map(weights), channel)
    sequence.add_dmm_detuning(_waveform(local.samples), channel)


def _waveform(samples: NDArray[np.float64]) -> Any:  # noqa: ANN401 - a class of Pulser's
    """Write samples as few straight pieces where this is the same to the last bit."""
    from pulser import waveforms  # noqa: PLC0415

    pieces = pieces_of(samples)
    if pieces is None or not np.array_equal(expanded(pieces), samples):
        return waveforms.CustomWaveform(samples)
    made = [
        waveforms.ConstantWaveform(piece.n_ns, piece.first)
        if piece.first == piece.last
        else waveforms.RampWaveform(piece.n_ns, piece.first, piece.last)
        for piece in pieces
    ]
    return made[0] if len(made) == 1 else waveforms.CompositeWaveform(*made)


def _channels(sequence: pulser.Sequence) -> tuple[str, str | None]:
    """Return the names of the global Rydberg channel and of the detuning map, if there is one."""
    from pulser.channels.dmm import DMM  # noqa: PLC0415

    if sequence.is_parametrized() or sequence.is_register_mappable():
        raise OptionError(
            "sequence",
            "it has variables that are not set, or a register that is not mapped",
            "Call its build() with values and read what that returns",
        )
    declared = sequence.declared_channels
    local = [name for name, channel in declared.items() if isinstance(channel, DMM)]
    drives = [name for name in declared if name not in local]
    fitting = [
        name
        for name in drives
        if declared[name].basis == "ground-rydberg" and declared[name].addressing == "Global"
    ]
    if len(drives) != 1 or fitting != drives or len(local) > 1:
        raise OptionError(
            "sequence",
            f"it has the channels {', '.join(declared) or '(none)'}",
            "Analog programs have one global Rydberg channel, and one detuning map at most",
        )
    if sequence._slm_mask_targets:
        raise OptionError(
            "sequence", "it has an SLM mask", "Write the mask as a detuning map of its own"
        )
    return fitting[0], local[0] if local else None


def _steps(samples: NDArray[np.float64], name: str) -> Waveform:
    starts = np.flatnonzero(np.diff(samples, prepend=np.nan) != 0.0)
    return Waveform(
        np.append(starts, len(samples)).astype(np.float64),
        np.append(samples[starts], samples[-1]),
        "step",
        name,
    )


def _spans(phase: NDArray[np.float64]) -> tuple[PulseSpan, ...]:
    starts = np.flatnonzero(np.diff(phase, prepend=np.nan) != 0.0)
    ends = np.append(starts[1:], len(phase))
    return tuple(
        PulseSpan(int(start), int(end), float(phase[start]))
        for start, end in zip(starts, ends, strict=True)
    )


def _array(samples: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a class of Pulser's
    return np.array(samples.as_array(detach=True), dtype=np.float64)


def _problem(rules: AnalogRules, subject: str, problem: str, remedy: str) -> SequenceError:
    return SequenceError(device=rules.name, subject=subject, problem=problem, remedy=remedy)
