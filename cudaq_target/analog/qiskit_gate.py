"""Analog programs for Qiskit users: to and from the gate of qiskit-pasqal-provider.

A circuit there is one `HamiltonianGate`: amplitude and detuning as points that Pulser interpolates
(rad/µs, over shares of a duration in ns), one phase (rad), positions (µm). Units and signs are
Pulser's, and so ours. From a circuit comes the very sequence that the provider plays; to a circuit
go the samples of the program, of which interpolation needs those beside bends alone.

Needs the extra `qiskit`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from cudaq_target.analog.program import AnalogProgram, read_sequence
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE, analog_rules
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from qiskit import QuantumCircuit

# A change of slope below this share of the largest value is rounding; Pulser rounds to 1e-9.
_STRAIGHT: Final = 1e-12
_ONE_GATE = "Give a circuit of one HamiltonianGate on all of its qubits"


def to_circuit(program: object) -> QuantumCircuit:
    """Write an analog program as a circuit of one `HamiltonianGate`.

    Args:
        program: An analog program with one phase, and without local detuning.

    Returns:
        A circuit whose samples, as the provider plays them, are those of the program within
        1e-9 rad/µs. Qubit k is atom k.

    Raises:
        OptionError: The gate cannot hold the program, or the provider is not installed.
    """
    if not isinstance(program, AnalogProgram):
        raise OptionError(
            f"circuit of a {type(program).__name__}",
            "qiskit-pasqal-provider takes analog gates alone, and this is no analog program",
            "Give an AnalogProgram; gate kernels run with cudaq.sample on the target `pasqal`",
        )
    gate, points, circuit = _provider()
    timeline = program.timeline
    phase_rad = _one_phase(program)
    kept = _beside_bends(timeline.amplitude) | _beside_bends(timeline.detuning)
    times = _shares(np.flatnonzero(kept), timeline.duration_ns)

    def interpolated(samples: NDArray[np.float64]) -> Any:  # noqa: ANN401 - of the provider's
        return points(samples[kept].tolist(), duration=timeline.duration_ns, times=times)

    made = gate(
        interpolated(timeline.amplitude),
        interpolated(timeline.detuning),
        phase_rad,
        timeline.atoms_um.tolist(),
    )
    whole = circuit(timeline.n_atoms, name=program.kernel)
    whole.append(made, whole.qubits)
    return whole


def from_circuit(
    circuit: QuantumCircuit,
    device: object = DEFAULT_ANALOG_DEVICE,
    values: Mapping[Any, Any] | None = None,
) -> AnalogProgram:
    """Read a circuit of qiskit-pasqal-provider.

    Args:
        circuit: One `HamiltonianGate`, on all qubits in order.
        device: Whose limits the pulses keep: a name, a device file, or a `pulser` device.
        values: Value of each free `Parameter`, by parameter or name.

    Returns:
        The program, with the sequence that the provider makes of this circuit; atom k is qubit k.

    Raises:
        OptionError: It is no such circuit, parameters have no values, its phase varies, the device
            refuses pulses or positions, or the provider is not installed.
    """
    gate_class, points, _ = _provider()
    from qiskit_pasqal_provider.providers.pulse_utils import gen_seq, place_register  # noqa: PLC0415

    gate = _only_gate(circuit, gate_class)
    if isinstance(gate.phase, points):
        raise _unreadable(
            circuit,
            "its phase varies: the provider joins the points of detuning and phase in one list, "
            "which is neither",
            "Give a number as phase, and put -dφ/dt into the detuning",
        )
    rules = analog_rules(device)
    given = _values(circuit, gate, values or {})
    try:
        with warnings.catch_warnings():
            # Of "interp1d", and of durations that Pulser would stretch.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("error", UserWarning)
            placed = place_register(gate.analog_register, rules.pulser_device)
            sequence = gen_seq(placed, rules.pulser_device, circuit)
            sequence = sequence.build(**given) if given else sequence
    except (ValueError, TypeError, AssertionError, NotImplementedError, UserWarning) as error:
        words = str(error).rstrip(".") or type(error).__name__
        raise _unreadable(
            circuit, f"it is refused for {rules.name} ({words})", "Keep the limits of the device"
        ) from error
    return read_sequence(sequence, circuit.name)


def _provider() -> tuple[Any, Any, Any]:
    """Return the classes of the gate, of its points, and of a circuit."""
    try:
        from qiskit import QuantumCircuit  # noqa: PLC0415
        from qiskit_pasqal_provider.providers.gate import HamiltonianGate  # noqa: PLC0415
        from qiskit_pasqal_provider.providers.pulse_utils import (  # noqa: PLC0415
            InterpolatePoints,
        )
    except ModuleNotFoundError as error:
        raise OptionError(
            "qiskit-pasqal-provider",
            f"{error.name} is not installed",
            "Install it: pip install 'cudaq-target[qiskit]'",
        ) from error
    return HamiltonianGate, InterpolatePoints, QuantumCircuit


def _one_phase(program: AnalogProgram) -> float:
    """Return the phase of all pulses.

    Raises:
        OptionError: The gate cannot hold the program.
    """
    timeline = program.timeline
    if timeline.local is not None:
        _refuse(program, "the gate knows no local detuning", "Leave the local detuning out")
    if timeline.eom:
        _refuse(program, "the gate knows no electro-optic modulator", "Build it with eom=False")
    if timeline.is_modulated:
        _refuse(program, "this is what the atoms see", "Give the program before modulation")
    driven = timeline.phase[timeline.amplitude > 0.0]
    phases = np.unique(driven)
    if len(phases) > 1:
        _refuse(
            program,
            f"it has {len(phases)} phases, and a circuit there has one gate with one phase",
            "Give a program with one phase, and put -dφ/dt into the detuning",
        )
    return float(phases[0]) if len(phases) else 0.0


def _beside_bends(samples: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark samples that are not on a line with both neighbours, those neighbours, and the ends.

    Between points with equal slopes on both sides the provider's interpolation (a piecewise cubic
    that keeps monotony, PCHIP) is that line.
    """
    kept = np.zeros(len(samples), dtype=np.bool_)
    kept[[0, -1]] = True
    scale = max(float(np.abs(samples).max(initial=0.0)), 1e-300)
    bends = 1 + np.flatnonzero(np.abs(np.diff(samples, 2)) > _STRAIGHT * scale)
    for shift in (-1, 0, 1):
        kept[bends + shift] = True
    return kept


def _shares(places: NDArray[np.int64], n_samples: int) -> list[float]:
    """Return times that Pulser multiplies back to the very samples.

    A point a rounding beside its sample would make amplitudes below 0 of samples that are 0.
    """
    length = n_samples - 1
    shares = places / length
    for direction in (0.0, 2.0):
        nearby = np.nextafter(shares, direction)
        better = (shares * length != places) & (nearby * length == places)
        shares = np.where(better, nearby, shares)
    found: list[float] = shares.tolist()
    return found


def _only_gate(circuit: QuantumCircuit, gate_class: type) -> Any:  # noqa: ANN401 - as above
    entries = [entry for entry in circuit.data if entry.operation.name != "barrier"]
    others = [entry.operation.name for entry in entries]
    if len(entries) != 1 or not isinstance(entries[0].operation, gate_class):
        held = ", ".join(others) or "nothing"
        raise _unreadable(circuit, f"it holds {held}; an analog program is one gate", _ONE_GATE)
    places = [circuit.find_bit(qubit).index for qubit in entries[0].qubits]
    if places != list(range(circuit.num_qubits)):
        raise _unreadable(
            circuit, f"its gate is on qubits {places} of {circuit.num_qubits}", _ONE_GATE
        )
    return entries[0].operation


def _values(circuit: QuantumCircuit, gate: Any, values: Mapping[Any, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Return the values of the gate's parameters by name."""
    given = {getattr(key, "name", str(key)): value for key, value in values.items()}
    names = {parameter.name for entry in gate.params for parameter in entry.parameters}
    missing, unknown = sorted(names - set(given)), sorted(set(given) - names)
    if missing or unknown:
        what = f"without a value: {missing}" if missing else f"not of this circuit: {unknown}"
        raise _unreadable(
            circuit, f"parameters {what}", f"Give values for {sorted(names) or 'none'}"
        )
    return given


def _refuse(program: AnalogProgram, reason: str, remedy: str) -> NoReturn:
    raise OptionError(f"circuit of {program.kernel!r}", reason, remedy)


def _unreadable(circuit: QuantumCircuit, reason: str, remedy: str) -> OptionError:
    return OptionError(f"circuit {circuit.name!r}", reason, remedy)
