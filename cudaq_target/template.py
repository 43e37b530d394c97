"""The structure of a circuit without its angles, so that a variational loop sends angles alone.

A client traces its kernel for some arguments, takes the circuit apart into template and angles,
and loads the template on a machine once. Whatever the kernel computes from its arguments stays
with the client. As long as the structure stays the same, the machine gets a vector of angles per
run and lowers it with the plans that it made for the first.

Layout of the text, version 1, one object:

- `format`, `version`: `cudaq-target template`, 1
- `kernel`, `n_qubits`: as in a circuit
- `gates`: `name`, `targets`; where they say something: `controls`, `adjoint`, `pauli`, `matrix`,
  `amplitudes` (`real` and `imag`), and `n_angles`, how many angles the gate takes from the vector
- `measurements`: `qubit`, `register`
- of gates and measurements, where they are known: `line`, and `in`, the kernel that holds the line
- `device`: in Pulser's abstract representation, or null for that of the machine
- `layout`, `route`: as in a program

Floats are written with all digits. Paths of the user's files stay at home.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.circuit import Circuit, Gate, Measurement
from cudaq_target.device import device_from_json, resolve, rules
from cudaq_target.errors import OptionError, Source
from cudaq_target.json_format import JsonFormat
from cudaq_target.program import compile_circuit
from cudaq_target.program_json import (
    complex_from_json,
    complex_to_json,
    sites_from_json,
    sites_to_json,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import ArrayLike, NDArray

    from cudaq_target.compiler import Plans
    from cudaq_target.device import DeviceRules
    from cudaq_target.program import Program
    from cudaq_target.sites import Sites

FORMAT: Final = JsonFormat(
    noun="template",
    name="cudaq-target template",
    version=1,
    remedy="Give a text written by CircuitTemplate.to_json().",
    renewal="Write it with this version of cudaq-target.",
)

_N_ANGLES: Final = {
    "h": 0, "x": 0, "y": 0, "z": 0, "s": 0, "t": 0, "swap": 0, "unitary": 0, "prepare": 0,
    "r1": 1, "rx": 1, "ry": 1, "rz": 1, "exp_pauli": 1, "u2": 2, "phased_rx": 2, "u3": 3,
}  # fmt: skip
_N_TARGETS: Final = {"swap": 2, "exp_pauli": None, "unitary": None, "prepare": None}

# One JSON object; its values are checked where they are used.
_Object = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class CircuitTemplate:
    """A circuit whose angles are free, and where it is to run.

    Attributes:
        structure: The circuit with all `Gate.params` taken out. Matrices and prepared states stay.
        n_angles: Angles of each gate, in program order.
        device: The device, or None for that of whoever lowers the circuit.
        layout: Sites of the atoms, or None to choose them.
        route: "swap" or "direct".
    """

    structure: Circuit
    n_angles: tuple[int, ...]
    device: DeviceRules | None = None
    layout: Sites | None = None
    route: str = "swap"

    @staticmethod
    def of(
        circuit: Circuit,
        *,
        device: object = None,
        layout: Sites | None = None,
        route: str = "swap",
    ) -> tuple[CircuitTemplate, NDArray[np.float64]]:
        """Take a circuit apart.

        Args:
            circuit: The circuit.
            device: In any form that `device.resolve` reads; None leaves it to the machine.
            layout: Sites of the atoms, or None to choose them.
            route: "swap" or "direct".

        Returns:
            The template, and the angles (rad), shape (n_parameters,), in program order.
        """
        structure = replace(
            circuit, gates=tuple(replace(gate, params=()) for gate in circuit.gates)
        )
        template = CircuitTemplate(
            structure,
            tuple(len(gate.params) for gate in circuit.gates),
            None if device is None else resolve(device),
            layout,
            route,
        )
        return template, angles_of(circuit)

    @property
    def n_parameters(self) -> int:
        """Length of the vector of angles."""
        return sum(self.n_angles)

    @property
    def n_qubits(self) -> int:
        """Qubits of the circuit; each shot has one bit per qubit."""
        return self.structure.n_qubits

    def circuit(self, angles: ArrayLike) -> Circuit:
        """Put angles in.

        Args:
            angles: Finite numbers (rad), shape (n_parameters,).

        Raises:
            OptionError: Another number of angles, or one that is not finite.
        """
        values = iter(self._checked(angles).tolist())
        gates = tuple(
            replace(gate, params=tuple(next(values) for _ in range(count))) if count else gate
            for gate, count in zip(self.structure.gates, self.n_angles, strict=True)
        )
        return replace(self.structure, gates=gates)

    def program(
        self,
        angles: ArrayLike,
        *,
        plans: Plans | None = None,
        device: object = None,
        cache_dir: str | None = None,
    ) -> Program:
        """Lower the circuit for some angles.

        Args:
            angles: Finite numbers (rad), shape (n_parameters,).
            plans: Plans to re-use and to add to, all for this template and one device.
            device: Where the template names none; None for the default device.
            cache_dir: Where solved pulses are kept; None for the default place, "off" for none.

        Returns:
            The program that `compile_circuit` makes of the circuit with these plans.

        Raises:
            TargetError: Of the kind that names the broken limit.
        """
        given = self.device if self.device is not None or device is None else resolve(device)
        return compile_circuit(
            self.circuit(angles),
            given,
            layout=self.layout,
            route=self.route,
            cache_dir=cache_dir,
            plans=plans,
        )

    def to_json(self) -> str:
        """Serialise, in the layout that the module describes."""
        device = self.device
        layout = self.layout
        kernel = self.structure.kernel
        pairs = zip(self.structure.gates, self.n_angles, strict=True)
        content = {
            **FORMAT.head,
            "kernel": kernel,
            "n_qubits": self.structure.n_qubits,
            "gates": [_from_gate(gate, count, kernel) for gate, count in pairs],
            "measurements": [
                {"qubit": entry.qubit, "register": entry.register, **_from_source(entry, kernel)}
                for entry in self.structure.measurements
            ],
            "device": None if device is None else json.loads(_abstract(device)),
            "layout": None if layout is None else sites_to_json(layout),
            "route": self.route,
        }
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> CircuitTemplate:
        """Read what `to_json` wrote.

        Raises:
            OptionError: The text is no template, is damaged, or has an unknown version.
            UnsuitableDeviceError: The device inside cannot run gate kernels.
        """
        content = FORMAT.content(text)
        with FORMAT.reading():
            return _to_template(content)

    def _checked(self, angles: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(angles, dtype=np.float64)
        if values.shape != (self.n_parameters,):
            raise OptionError(
                f"angles of {self.structure.kernel}",
                f"shape {values.shape}",
                f"Give {self.n_parameters} angles (rad), in program order",
            )
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            raise OptionError(
                f"angles of {self.structure.kernel}",
                f"angle {wrong[0]} is {values[wrong[0]]}",
                "Give finite angles (rad)",
            )
        return values


def angles_of(circuit: Circuit) -> NDArray[np.float64]:
    """Return the angles of a circuit (rad), shape (n_parameters,), in program order."""
    return np.array([angle for gate in circuit.gates for angle in gate.params], dtype=np.float64)


def structure_key(circuit: Circuit) -> Hashable:
    """Return a value that is equal for circuits of one template, sources and all.

    It costs far less than the template, so that a loop can find the one that it has loaded.
    """
    gates = tuple(
        (
            gate.name,
            gate.targets,
            gate.controls,
            len(gate.params),
            gate.adjoint,
            gate.pauli,
            gate.source,
            None if gate.matrix is None else gate.matrix.tobytes(),
            None if gate.amplitudes is None else gate.amplitudes.tobytes(),
        )
        for gate in circuit.gates
    )
    return (circuit.kernel, circuit.n_qubits, gates, circuit.measurements)


def _abstract(device: DeviceRules) -> str:
    text: str = device.pulser_device.to_abstract_repr()
    return text


def _from_gate(gate: Gate, n_angles: int, kernel: str) -> _Object:
    said: _Object = {
        "controls": list(gate.controls),
        "adjoint": gate.adjoint,
        "pauli": gate.pauli,
        "matrix": complex_to_json(gate.matrix),
        "amplitudes": complex_to_json(gate.amplitudes),
        "n_angles": n_angles,
    }
    return {
        "name": gate.name,
        "targets": list(gate.targets),
        **{name: value for name, value in said.items() if value},
        **_from_source(gate, kernel),
    }


def _from_source(entry: Gate | Measurement, kernel: str) -> _Object:
    said: _Object = {} if entry.source.line is None else {"line": entry.source.line}
    return said if entry.source.kernel == kernel else {**said, "in": entry.source.kernel}


def _to_template(content: _Object) -> CircuitTemplate:
    kernel, n_qubits = str(content["kernel"]), int(content["n_qubits"])
    gates = tuple(_to_gate(entry, kernel, n_qubits) for entry in content["gates"])
    measurements = tuple(
        Measurement(
            _qubit(entry["qubit"], n_qubits), str(entry["register"]), _to_source(entry, kernel)
        )
        for entry in content["measurements"]
    )
    device, layout, route = content["device"], content["layout"], str(content["route"])
    return CircuitTemplate(
        Circuit(kernel, n_qubits, gates, measurements),
        tuple(_N_ANGLES[gate.name] for gate in gates),
        None
        if device is None
        else rules(device_from_json(json.dumps(device), "device of the template")),
        None if layout is None else sites_from_json(layout),
        route,
    )


def _to_gate(entry: _Object, kernel: str, n_qubits: int) -> Gate:
    name = str(entry["name"])
    gate = Gate(
        name=name,
        targets=tuple(_qubit(qubit, n_qubits) for qubit in entry["targets"]),
        source=_to_source(entry, kernel),
        controls=tuple(_qubit(qubit, n_qubits) for qubit in entry.get("controls", ())),
        adjoint=bool(entry.get("adjoint", False)),
        pauli=str(entry.get("pauli", "")),
        matrix=complex_from_json(entry.get("matrix")),
        amplitudes=complex_from_json(entry.get("amplitudes")),
    )
    if int(entry.get("n_angles", 0)) != _N_ANGLES[name]:
        raise ValueError(f"{name} takes {_N_ANGLES[name]} angles")
    qubits = gate.targets + gate.controls
    n_targets = _N_TARGETS.get(name, 1)
    if len(set(qubits)) != len(qubits) or len(gate.targets) != (n_targets or len(gate.targets)):
        raise ValueError(f"{name} on qubits {qubits}")
    _check_contents(gate)
    return gate


def _check_contents(gate: Gate) -> None:
    """Refuse a gate whose letters or numbers do not fit its qubits."""
    size = 1 << len(gate.targets)
    is_unitary, is_prepare = gate.name == "unitary", gate.name == "prepare"
    n_letters = len(gate.targets) if gate.name == "exp_pauli" else 0
    fits = (
        len(gate.targets) > 0
        and len(gate.pauli) == n_letters
        and set(gate.pauli) <= set("IXYZ")
        and (gate.matrix is None) != is_unitary
        and (gate.amplitudes is None) != is_prepare
        and (gate.matrix is None or gate.matrix.shape == (size, size))
        and (gate.amplitudes is None or gate.amplitudes.shape == (size,))
    )
    if not fits:
        raise ValueError(f"{gate.name} with something else than its {len(gate.targets)} targets")
    for numbers in (gate.matrix, gate.amplitudes):
        if numbers is not None and not math.isfinite(float(np.abs(numbers).sum())):
            raise ValueError(f"{gate.name} with numbers that are not finite")


def _qubit(value: object, n_qubits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < n_qubits:
        raise ValueError(f"qubit {value!r} of {n_qubits}")
    return value


def _to_source(entry: _Object, kernel: str) -> Source:
    line = entry.get("line")
    return Source(str(entry.get("in", kernel)), None if line is None else int(line))
