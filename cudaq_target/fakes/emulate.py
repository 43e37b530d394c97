"""Runs what a service is sent: Pulser's abstract representation, or an AHS program, to counts.

Analog programs (one global Rydberg channel) and gate programs (one local Rydberg and one local
Raman channel) run on the embedded emulator, as they would with `machine="local"`; sequences with
other channels, and overlaps that the embedded emulator does not know, on Pulser's own, where it is
installed.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.analog import ahs
from cudaq_target.analog.program import build, read_sequence
from cudaq_target.errors import OptionError, TargetError, UnsupportedProgramError
from cudaq_target.fakes.orders import ExecutionError
from cudaq_target.machines.local import LocalMachine
from cudaq_target.machines.local_analog import LocalAnalogMachine
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulser
    from numpy.typing import NDArray

    from cudaq_target.fakes.orders import Order
    from cudaq_target.timeline import PulseProgram

AHS_DEVICE: Final = "MockDevice"


def counts(order: Order, rng: np.random.Generator) -> dict[str, int]:
    """Run an order.

    Args:
        order: What to run.
        rng: Source of randomness.

    Returns:
        Shots by bit string, atom 0 leftmost; 1 for r in the basis `ground-rydberg`, for h in
        `digital`.

    Raises:
        ExecutionError: The program cannot be run.
    """
    try:
        if order.is_ahs:
            return _ahs_counts(order.text, order.n_shots, rng)
        return _sequence_counts(_sequence(order), order, rng)
    except TargetError as error:
        raise ExecutionError(str(error)) from error


def _ahs_counts(text: str, n_shots: int, rng: np.random.Generator) -> dict[str, int]:
    program = build(ahs.loads(text), AHS_DEVICE)
    packed = LocalAnalogMachine().sample_analog(program, n_shots, rng=rng)
    return Shots(packed, program.timeline.n_atoms).counts()


def _sequence(order: Order) -> pulser.Sequence:
    """Build the sequence that an order means."""
    import pulser  # noqa: PLC0415 - slow

    try:
        sequence = pulser.Sequence.from_abstract_repr(order.text)
        is_open = sequence.is_parametrized() or sequence.is_register_mappable()
        if is_open:
            sequence = sequence.build(**dict(order.variables or {}))
    except Exception as error:  # whatever Pulser's schema and constructors raise
        raise ExecutionError(
            f"Pulser cannot read the sequence ({type(error).__name__}: {error})"
        ) from error
    if order.variables and not is_open:
        raise ExecutionError(f"the sequence has no variables, but {sorted(order.variables)} came")
    if order.rydberg_only and "digital" in sequence.get_addressed_bases():
        raise ExecutionError("this emulator knows ground-rydberg alone, the sequence uses digital")
    return sequence


def _sequence_counts(
    sequence: pulser.Sequence, order: Order, rng: np.random.Generator
) -> dict[str, int]:
    try:
        packed = LocalAnalogMachine().sample_analog(read_sequence(sequence), order.n_shots, rng=rng)
    except OptionError:  # not an analog program
        pass
    else:
        return Shots(packed, len(sequence.register.qubit_ids)).counts()
    program = gate_program(sequence)
    if program is not None:
        try:
            bits = LocalMachine().sample(program, order.n_shots, rng=rng)
        except UnsupportedProgramError:
            pass
        else:
            return Shots.from_bits(bits).counts()
    return _pulser_counts(sequence, order.n_shots, rng)


def gate_program(sequence: pulser.Sequence) -> PulseProgram | None:
    """Read a sequence of one local Rydberg and one local Raman channel, measured digitally.

    Args:
        sequence: A sequence without parameters.

    Returns:
        The same pulses at the same times, with qubit k on atom k; None for other sequences.
    """
    from pulser import sampler  # noqa: PLC0415 - slow

    from cudaq_target.device import rules  # noqa: PLC0415
    from cudaq_target.timeline import PulseProgram  # noqa: PLC0415

    beams = _beams(sequence)
    if beams is None:
        return None
    found = sampler.sample(sequence)
    atoms = {name: k for k, name in enumerate(sequence.register.qubit_ids)}
    slots = [
        slot
        for name, beam in beams.items()
        for slot in _slots(found.channel_samples[name], beam, atoms)
    ]
    try:
        device = rules(sequence.device)
    except TargetError:
        return None
    return PulseProgram(
        device=device,
        coordinates_um=np.array([place.as_array() for place in sequence.register.qubits.values()]),
        slots=tuple(sorted(slots, key=lambda slot: slot.start_ns)),
        duration_ns=int(found.max_duration),
        frames_rad=np.zeros(len(atoms)),
        atom_of_qubit=tuple(range(len(atoms))),
        traps=sequence.register.layout,
    )


def _beams(sequence: pulser.Sequence) -> dict[str, Any] | None:
    """Return what the channels are, where they are those of gate programs."""
    names: dict[str, Any] = {"ground-rydberg": "rydberg", "digital": "raman"}
    beams = {}
    for name, channel in sequence.declared_channels.items():
        if channel.addressing != "Local" or channel.basis not in names:
            return None
        beams[name] = names[channel.basis]
    digital = "raman" in beams.values() and (
        not sequence.is_measured() or sequence.get_measurement_basis() == "digital"
    )
    return beams if digital and len(set(beams.values())) == len(beams) else None


def _slots(samples: Any, beam: Any, atoms: Mapping[Any, int]) -> list[Any]:  # noqa: ANN401
    """Turn the samples of a channel into pulses, one per atom and pulse of the channel."""
    from cudaq_target.timeline import Pulse, Slot  # noqa: PLC0415

    amplitude, detuning = _array(samples.amp), _array(samples.det)
    phase = _array(samples.phase)
    made = []
    for played in samples.slots:
        part = slice(played.ti, played.tf)
        values = np.stack([amplitude[part], detuning[part]])
        if not values.any():
            continue
        starts = np.flatnonzero(np.any(np.diff(values, axis=1, prepend=np.nan) != 0.0, axis=0))
        lengths = np.diff(np.append(starts, values.shape[1])).astype(np.int64)
        pulse = Pulse(lengths, values[0, starts], values[1, starts], float(phase[played.ti]))
        made += [Slot(beam, atoms[target], int(played.ti), pulse) for target in played.targets]
    return made


def _array(values: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a class of Pulser's
    return np.array(values.as_array(detach=True), dtype=np.float64)


def _pulser_counts(
    sequence: pulser.Sequence, n_shots: int, rng: np.random.Generator
) -> dict[str, int]:
    if find_spec("pulser_simulation") is None:
        raise ExecutionError(
            "the sequence has channels that the embedded emulator does not know, and "
            "pulser-simulation is not installed"
        )
    from cudaq_target.machines.qutip_solver import seeded_numpy  # noqa: PLC0415

    simulation = import_module("pulser_simulation")
    if not sequence.is_measured():
        bases = sequence.get_addressed_bases()
        sequence.measure("digital" if "digital" in bases else bases[0])
    # What reads as 1 where atoms have three levels.
    one_state = {"digital": "h", "ground-rydberg": "r"}.get(sequence.get_measurement_basis())
    bit_strings = import_module("pulser.backend").BitStrings(num_shots=n_shots, one_state=one_state)
    config = simulation.QutipConfig(observables=[bit_strings])
    try:
        with seeded_numpy(int(rng.integers(2**32))), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = simulation.QutipBackendV2(sequence, config=config).run().final_bitstrings
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ExecutionError(f"Pulser cannot emulate the sequence ({error})") from error
    return {str(bits): int(number) for bits, number in sorted(found.items())}
