"""Pulse programs as `pulser.Sequence`, with every pulse at exactly the time the program gives it.

Pulser's own scheduler is used only to check: pulses are added with protocol `no-delay`, waits are
explicit, and a start time that Pulser would move is an error.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import DeviceLimitError, SequenceError
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulser
    from numpy.typing import NDArray
    from pulser.register import RegisterLayout
    from pulser.register.base_register import BaseRegister
    from pulser.waveforms import Waveform

    from cudaq_target.device import BeamRules, DeviceRules
    from cudaq_target.timeline import Beam, Pulse, PulseProgram, Slot

# Composite waveforms keep the abstract representation small; beyond this many pieces a list of
# samples is smaller.
_MAX_COMPOSITE_PIECES = 8
_SAME_PLACE_UM = 1e-9


def register(
    rules: DeviceRules, coordinates_um: NDArray[np.float64], layout: RegisterLayout | None = None
) -> tuple[BaseRegister, NDArray[np.float64]]:
    """Build the register of a program.

    Layouts round coordinates, so interactions must be computed from what this returns.

    Args:
        rules: The device.
        coordinates_um: Positions (µm), shape (n_atoms, 2 or 3).
        layout: A `pulser.register.RegisterLayout` whose traps hold these positions; None makes one
            where the device requires it.

    Returns:
        The `pulser` register with ids q0, q1, … in the order of the rows, and the coordinates
        after rounding (µm), same shape.

    Raises:
        DeviceLimitError: The device does not accept these positions.
    """
    import pulser  # noqa: PLC0415

    coordinates = np.asarray(coordinates_um, dtype=np.float64)
    kind = pulser.Register3D if coordinates.shape[1] == 3 else pulser.Register
    ids = [f"q{k}" for k in range(len(coordinates))]
    try:
        if layout is not None:
            traps = layout.get_traps_from_coordinates(*coordinates)
            made = layout.define_register(*traps, qubit_ids=ids)
        else:
            made = kind(dict(zip(ids, coordinates, strict=True)))
            if rules.requires_layout:
                made = _with_layout(made, rules)
        rules.pulser_device.validate_register(made)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DeviceLimitError(
            subject=f"register of {len(coordinates)} atoms",
            limit=_register_limits(rules),
            device=rules.name,
            remedy=f"Pulser says: {_reason(error)}",
        ) from error
    rounded = np.array([made.qubits[name].as_array() for name in ids], dtype=np.float64)
    return made, rounded


def _with_layout(made: BaseRegister, rules: DeviceRules) -> BaseRegister:
    from pulser.devices import Device  # noqa: PLC0415

    if not isinstance(rules.pulser_device, Device):
        raise DeviceLimitError(
            subject="register without a trap layout",
            limit="only registers with one, and Pulser makes none for a virtual device",
            device=rules.name,
            remedy=(
                "Give a pulser RegisterLayout (Pasqal(layout=...)), "
                "or set requires_layout=False on the virtual device"
            ),
        )
    return made.with_automatic_layout(rules.pulser_device)


def to_sequence(program: PulseProgram, *, measured: bool = True) -> pulser.Sequence:
    """Build the `pulser.Sequence` of a program.

    Args:
        program: The program; its coordinates are those returned by `register`.
        measured: End with a measurement in the basis `digital`.

    Returns:
        A sequence on the program's device with both local channels declared, every pulse at its
        time, and the frames as final phase shifts.

    Raises:
        DeviceLimitError: The device does not accept the register.
        SequenceError: Pulser refuses a pulse, or would not play it at its time.
    """
    import pulser  # noqa: PLC0415

    rules = program.device
    made, coordinates = register(rules, program.coordinates_um, program.traps)
    if np.abs(coordinates - program.coordinates_um).max(initial=0.0) > _SAME_PLACE_UM:
        raise SequenceError(
            device=rules.name,
            subject="register",
            problem="the trap layout moves the atoms, so the pulses would be inexact",
            remedy="Compute interactions from the coordinates that `register` returns",
        )
    with warnings.catch_warnings():
        # Pulser stretches durations off the clock with a warning only.
        warnings.simplefilter("error", UserWarning)
        sequence = pulser.Sequence(made, rules.pulser_device)
        beams: tuple[tuple[Beam, BeamRules], ...] = (
            ("rydberg", rules.rydberg),
            ("raman", rules.raman),
        )
        for beam, limits in beams:
            slots = [slot for slot in program.slots if slot.beam == beam]
            _play(sequence, rules, limits, slots)
        _pad(sequence, program)
        for atom, frame_rad in enumerate(program.frames_rad.tolist()):
            if shift := frame_rad % TWO_PI:
                sequence.phase_shift(shift, f"q{atom}", basis="digital")
        if measured:
            sequence.measure("digital")
    return sequence


def _play(
    sequence: pulser.Sequence, rules: DeviceRules, limits: BeamRules, slots: Sequence[Slot]
) -> None:
    """Declare one channel and add its pulses."""
    channel = limits.channel
    first = slots[0].atom if slots else 0
    sequence.declare_channel(channel, channel, initial_target=f"q{first}")
    target, free_ns, targeted_ns = first, 0, 0
    converted: dict[int, pulser.Pulse] = {}
    for slot in slots:
        subject = f"{slot.beam} pulse on atom {slot.atom} at {slot.start_ns} ns"
        try:
            if slot.atom != target:
                ready_ns = _retargeted_ns(limits, free_ns, targeted_ns)
                # Waiting before the retarget instead of after it avoids a wait below the minimum.
                if 0 < slot.start_ns - ready_ns < limits.min_duration_ns <= slot.start_ns - free_ns:
                    _wait(sequence, limits, slot.start_ns - free_ns)
                sequence.target(f"q{slot.atom}", channel)
                target = slot.atom
                free_ns = targeted_ns = sequence.get_duration(channel)
            if slot.start_ns > free_ns:
                _wait(sequence, limits, slot.start_ns - free_ns)
            pulse = converted.get(id(slot.pulse))
            if pulse is None:
                pulse = converted[id(slot.pulse)] = to_pulser(slot.pulse)
            sequence.add(pulse, channel, protocol="no-delay")
        except (ValueError, TypeError, UserWarning, RuntimeError) as error:
            raise SequenceError(
                device=rules.name,
                subject=subject,
                problem=f"Pulser refuses it ({_reason(error)})",
                remedy="This is a bug of the lowering; please report the program",
            ) from error
        free_ns = sequence.get_duration(channel)
        if free_ns != slot.end_ns:
            raise SequenceError(
                device=rules.name,
                subject=subject,
                problem=f"Pulser would end it at {free_ns} ns instead of {slot.end_ns} ns",
                remedy="This is a bug of the lowering; please report the program",
            )


def _wait(sequence: pulser.Sequence, limits: BeamRules, wait_ns: int) -> None:
    """Add delays of a total length, none longer than the channel's longest instruction."""
    longest_ns = limits.max_duration_ns // limits.clock_ns * limits.clock_ns
    while wait_ns > longest_ns:
        # What is left must not be too short for a delay.
        piece_ns = longest_ns
        if wait_ns - longest_ns < limits.min_duration_ns:
            piece_ns -= -(-limits.min_duration_ns // limits.clock_ns) * limits.clock_ns
        sequence.delay(piece_ns, limits.channel)
        wait_ns -= piece_ns
    sequence.delay(wait_ns, limits.channel)


def _retargeted_ns(limits: BeamRules, free_ns: int, targeted_ns: int) -> int:
    """Return when a target instruction issued at `free_ns` ends (ns)."""
    wait_ns = max(limits.min_retarget_ns - (free_ns - targeted_ns), limits.fixed_retarget_ns, 0)
    if wait_ns == 0:
        return free_ns
    wait_ns = max(wait_ns, limits.min_duration_ns)
    return free_ns - (-wait_ns // limits.clock_ns) * limits.clock_ns


def _pad(sequence: pulser.Sequence, program: PulseProgram) -> None:
    """Make the sequence as long as the program."""
    rules = program.device
    for limits in (rules.rydberg, rules.raman):
        missing_ns = program.duration_ns - sequence.get_duration(limits.channel)
        if missing_ns >= limits.min_duration_ns and missing_ns % limits.clock_ns == 0:
            _wait(sequence, limits, missing_ns)
            break
    if sequence.get_duration() != program.duration_ns:
        raise SequenceError(
            device=rules.name,
            subject="end of the program",
            problem=(
                f"Pulser's sequence lasts {sequence.get_duration()} ns instead of "
                f"{program.duration_ns} ns"
            ),
            remedy=f"Leave at least {rules.rydberg.min_duration_ns} ns after the last pulse",
        )


def to_pulser(pulse: Pulse) -> pulser.Pulse:
    """Convert one pulse into a `pulser.Pulse` with the same samples."""
    import pulser  # noqa: PLC0415

    durations_ns = tuple(pulse.durations_ns.tolist())
    return pulser.Pulse(
        _waveform(durations_ns, tuple(pulse.rabi_rad_per_us.tolist())),
        _waveform(durations_ns, tuple(pulse.detuning_rad_per_us.tolist())),
        pulse.phase_rad,
    )


@lru_cache(maxsize=4096)
def _waveform(durations_ns: tuple[int, ...], values: tuple[float, ...]) -> Waveform:
    from pulser import waveforms  # noqa: PLC0415

    if len(set(values)) == 1:
        return waveforms.ConstantWaveform(sum(durations_ns), values[0])
    if len(values) > _MAX_COMPOSITE_PIECES:
        return waveforms.CustomWaveform(np.repeat(values, durations_ns))
    return waveforms.CompositeWaveform(
        *(waveforms.ConstantWaveform(*piece) for piece in zip(durations_ns, values, strict=True))
    )


def _register_limits(rules: DeviceRules) -> str:
    return (
        f"at most {rules.max_atoms} atoms at least {rules.min_distance_um:g} µm apart within "
        f"{rules.max_radius_um:g} µm of the centre"
    )


def _reason(error: BaseException) -> str:
    """Return Pulser's own words, with those of the error behind it."""
    words = str(error).rstrip(".")
    cause = error.__cause__
    return words if cause is None else f"{words}: {str(cause).rstrip('.')}"
