"""Programs as JSON, to keep, to send and to run elsewhere.

Layout of the text, version 1, one object:

- `format`, `version`: `cudaq-target program`, 1
- `device`: the device in Pulser's abstract representation
- `sequence`: the pulse sequence in Pulser's abstract representation, for every other tool
- `timeline`: the same pulses as this package keeps them: `coordinates_um`, `pulses` (the distinct
  ones), `slots` (beam, atom, start in ns, index into `pulses`), `duration_ns`, `frames_rad`,
  `atom_of_qubit`, `global_phase_rad`, `traps` (the trap layout in Pulser's abstract representation,
  or null)
- `circuit`: what the user wrote: `kernel`, `n_qubits`, `gates`, `measurements`, each with source
- `stats`, `layout`, `route`: key figures and the choices that were made; the sites given by the
  user as `coordinates_um` and `traps`, or null

Floats are written with all digits, so a program read back is equal to the last bit.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.circuit import Circuit, Gate, Measurement
from cudaq_target.device import device_from_json, rules
from cudaq_target.errors import Source
from cudaq_target.json_format import JsonFormat
from cudaq_target.sites import Sites, traps_from_json, traps_to_json
from cudaq_target.timeline import Beam, Pulse, PulseProgram, Slot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.program import Program

FORMAT: Final = JsonFormat(
    noun="program",
    name="cudaq-target program",
    version=1,
    remedy="Give a text written by Program.to_json() (or cudaq-target compile --output); "
    "cudaq-target run reads AHS programs and Pulser's abstract representation as well.",
    renewal="Read it with the version of cudaq-target that wrote it, or compile the kernel again.",
)

# One JSON object; its values are checked where they are used.
_Object = dict[str, Any]


def dumps(program: Program) -> str:
    """Write a program as JSON.

    Args:
        program: The program; its kernel itself is not kept, its circuit is.

    Returns:
        The text, of the layout that the module describes.

    Raises:
        SequenceError: Pulser does not accept the sequence.
    """
    layout = program.layout
    return json.dumps(
        {
            **FORMAT.head,
            "device": json.loads(program.rules.pulser_device.to_abstract_repr()),
            "sequence": json.loads(program.sequence.to_abstract_repr()),
            "timeline": _from_timeline(program.timeline),
            "circuit": _from_circuit(program.circuit),
            "stats": asdict(program.stats),
            "layout": None if layout is None else sites_to_json(layout),
            "route": program.route,
        },
        ensure_ascii=False,
        allow_nan=False,
    )


def loads(text: str) -> Program:
    """Read what `dumps` wrote.

    Args:
        text: JSON.

    Returns:
        The program, with an equal timeline. It runs, draws and reports; it cannot be bound to new
        arguments, since the kernel is not part of it.

    Raises:
        OptionError: The text is no such program, is damaged, or has an unknown version.
        UnsuitableDeviceError: The device inside cannot run gate kernels.
    """
    from cudaq_target.program import Program, Stats  # noqa: PLC0415 - it imports this module

    content = FORMAT.content(text)
    with FORMAT.reading():
        layout = content["layout"]
        return Program(
            circuit=_to_circuit(content["circuit"]),
            timeline=_to_timeline(content["timeline"], content["device"]),
            stats=Stats(**content["stats"]),
            layout=None if layout is None else sites_from_json(layout),
            route=str(content["route"]),
        )


def _from_timeline(timeline: PulseProgram) -> _Object:
    numbers: dict[tuple[bytes, bytes, bytes, float], int] = {}
    pulses: list[_Object] = []
    slots: list[list[object]] = []
    for slot in timeline.slots:
        pulse = slot.pulse
        key = (
            pulse.durations_ns.tobytes(),
            pulse.rabi_rad_per_us.tobytes(),
            pulse.detuning_rad_per_us.tobytes(),
            pulse.phase_rad,
        )
        if key not in numbers:
            numbers[key] = len(pulses)
            pulses.append(
                {
                    "durations_ns": pulse.durations_ns.tolist(),
                    "rabi_rad_per_us": pulse.rabi_rad_per_us.tolist(),
                    "detuning_rad_per_us": pulse.detuning_rad_per_us.tolist(),
                    "phase_rad": float(pulse.phase_rad),
                }
            )
        slots.append([slot.beam, int(slot.atom), int(slot.start_ns), numbers[key]])
    return {
        "coordinates_um": timeline.coordinates_um.tolist(),
        "pulses": pulses,
        "slots": slots,
        "duration_ns": int(timeline.duration_ns),
        "frames_rad": timeline.frames_rad.tolist(),
        "atom_of_qubit": [int(atom) for atom in timeline.atom_of_qubit],
        "global_phase_rad": float(timeline.global_phase_rad),
        "traps": traps_to_json(timeline.traps),
    }


def _to_timeline(content: _Object, device: _Object) -> PulseProgram:
    pulses = [
        Pulse(
            durations_ns=np.array(entry["durations_ns"], dtype=np.int64),
            rabi_rad_per_us=np.array(entry["rabi_rad_per_us"], dtype=np.float64),
            detuning_rad_per_us=np.array(entry["detuning_rad_per_us"], dtype=np.float64),
            phase_rad=float(entry["phase_rad"]),
        )
        for entry in content["pulses"]
    ]
    slots = tuple(
        Slot(_beam(beam), int(atom), int(start_ns), pulses[number])
        for beam, atom, start_ns, number in content["slots"]
    )
    frames = np.array(content["frames_rad"], dtype=np.float64)
    n_atoms = len(frames)
    if any(not 0 <= slot.atom < n_atoms for slot in slots):
        raise ValueError(f"a pulse on an atom outside a register of {n_atoms}")
    return PulseProgram(
        device=rules(device_from_json(json.dumps(device), "device of the program")),
        coordinates_um=np.array(content["coordinates_um"], dtype=np.float64).reshape(n_atoms, -1),
        slots=slots,
        duration_ns=int(content["duration_ns"]),
        frames_rad=frames,
        atom_of_qubit=tuple(int(atom) for atom in content["atom_of_qubit"]),
        global_phase_rad=float(content["global_phase_rad"]),
        traps=traps_from_json(content["traps"]),
    )


def sites_to_json(sites: Sites) -> _Object:
    """Return sites as an object for JSON."""
    return {
        "coordinates_um": [list(site) for site in sites.coordinates_um],
        "traps": traps_to_json(sites.traps),
    }


def sites_from_json(content: _Object) -> Sites:
    """Read what `sites_to_json` returned.

    Raises:
        ValueError: It is damaged, as `KeyError` and `TypeError` say, too.
    """
    coordinates = tuple(tuple(float(x) for x in site) for site in content["coordinates_um"])
    return Sites(coordinates, traps_from_json(content["traps"]))


def _beam(name: str) -> Beam:
    if name == "rydberg":
        return "rydberg"
    if name == "raman":
        return "raman"
    raise ValueError(f"unknown beam {name!r}")


def _from_circuit(circuit: Circuit) -> _Object:
    return {
        "kernel": circuit.kernel,
        "n_qubits": circuit.n_qubits,
        "gates": [_from_gate(gate) for gate in circuit.gates],
        "measurements": [
            {"qubit": entry.qubit, "register": entry.register, "source": asdict(entry.source)}
            for entry in circuit.measurements
        ],
    }


def _from_gate(gate: Gate) -> _Object:
    return {
        "name": gate.name,
        "targets": list(gate.targets),
        "controls": list(gate.controls),
        "params": [float(angle) for angle in gate.params],
        "adjoint": bool(gate.adjoint),
        "pauli": gate.pauli,
        "matrix": complex_to_json(gate.matrix),
        "amplitudes": complex_to_json(gate.amplitudes),
        "source": asdict(gate.source),
    }


def _to_circuit(content: _Object) -> Circuit:
    return Circuit(
        kernel=str(content["kernel"]),
        n_qubits=int(content["n_qubits"]),
        gates=tuple(_to_gate(entry) for entry in content["gates"]),
        measurements=tuple(
            Measurement(int(entry["qubit"]), str(entry["register"]), Source(**entry["source"]))
            for entry in content["measurements"]
        ),
    )


def _to_gate(entry: _Object) -> Gate:
    return Gate(
        name=str(entry["name"]),
        targets=tuple(int(qubit) for qubit in entry["targets"]),
        source=Source(**entry["source"]),
        controls=tuple(int(qubit) for qubit in entry["controls"]),
        params=tuple(float(angle) for angle in entry["params"]),
        adjoint=bool(entry["adjoint"]),
        pauli=str(entry["pauli"]),
        matrix=complex_from_json(entry["matrix"]),
        amplitudes=complex_from_json(entry["amplitudes"]),
    )


def complex_to_json(array: NDArray[np.complex128] | None) -> _Object | None:
    """Return complex numbers as an object for JSON."""
    if array is None:
        return None
    return {"real": array.real.tolist(), "imag": array.imag.tolist()}


def complex_from_json(entry: _Object | None) -> NDArray[np.complex128] | None:
    """Read what `complex_to_json` returned, to the last bit.

    Raises:
        ValueError: It is damaged, as `KeyError` and `TypeError` say, too.
    """
    if entry is None:
        return None
    real, imag = (np.array(entry[part], dtype=np.float64) for part in ("real", "imag"))
    if real.shape != imag.shape:
        raise ValueError("real and imaginary parts of different shapes")
    # Not real + 1j * imag, which would turn -0.0 into 0.0.
    joined = np.empty(real.shape, dtype=np.complex128)
    joined.real, joined.imag = real, imag
    return joined
