"""The peer of the compile benchmark: Qiskit level 3 on fixed sites, played by Pulser's scheduler.

A column is a coupling map: sites on a lattice, gates allowed up to a radius. The best of several
seeds by (CZ, depth) counts. Durations: gates in circuit order on `DigitalAnalogDevice`, placeholder
pulses of the right length, start times by Pulser's own rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pulser
    from numpy.typing import NDArray
    from qiskit import QuantumCircuit

SPACING_UM = 4.001
PI_PULSE_NS = 52
# Shortest exact CZ up to a distance: (distance in µm, pulse on the target in ns).
CZ_NS = ((6.0, 116), (7.0, 128), (8.0, 212), (9.0, 400), (10.0, 668))
_LENGTH_FACTOR_BEYOND = 1.3
_CLOCK_NS = 4
_SAME_DISTANCE = 1e-2


@dataclass(frozen=True, slots=True)
class Column:
    """One coupling map; `radius` in lattice constants, None for all-to-all."""

    name: str
    lattice: str
    radius: float | None
    n_seeds: int


COLUMNS = (
    Column("all-to-all", "triangular", None, 3),
    Column("grid r=1.0", "grid", 1.0, 10),
    Column("grid r=1.5", "grid", 1.5, 10),
    Column("triangular r=2.0", "triangular", 2.0, 10),
)


@dataclass(frozen=True, slots=True, eq=False)
class Transpiled:
    """What one column makes of one circuit.

    Attributes:
        column: The coupling map.
        n_cz: CZ gates of the best seed.
        n_u3: One-qubit gates of the best seed.
        duration_ns: Length of the best seed's sequence (ns); None for all-to-all, which has no
            register.
        shortest_ns: Shortest over all seeds and both choices of the control (ns), or None.
    """

    column: Column
    n_cz: int
    n_u3: int
    duration_ns: int | None
    shortest_ns: int | None


def sites(lattice: str, n: int) -> NDArray[np.float64]:
    """Return n sites (lattice constants), shape (n, 2).

    A square grid with ⌈√n⌉ columns, or the n sites of the triangular lattice nearest to the origin.
    """
    if lattice == "grid":
        n_columns = math.ceil(math.sqrt(n))
        return np.array([(k % n_columns, k // n_columns) for k in range(n)], dtype=float)
    reach = math.ceil(math.sqrt(n)) + 2
    points = [
        (a + b / 2, b * math.sqrt(3) / 2)
        for a in range(-reach, reach + 1)
        for b in range(-reach, reach + 1)
    ]
    points.sort(key=lambda p: (round(math.hypot(*p), 6), round(math.atan2(p[1], p[0]), 6)))
    return np.array(points[:n])


def edges(column: Column, n: int) -> list[tuple[int, int]] | None:
    """Return the directed pairs within the radius, or None for all-to-all."""
    if column.radius is None:
        return None
    at = sites(column.lattice, n)
    return [
        (i, j)
        for i in range(n)
        for j in range(n)
        if i != j and np.linalg.norm(at[i] - at[j]) <= column.radius + 1e-6
    ]


def transpile(
    circuit: QuantumCircuit, pairs: list[tuple[int, int]] | None, seed: int
) -> QuantumCircuit:
    """Run Qiskit at level 3 into {cz, u3}."""
    import qiskit  # noqa: PLC0415
    from qiskit.transpiler import CouplingMap  # noqa: PLC0415

    return qiskit.transpile(
        circuit,
        basis_gates=["cz", "u3"],
        optimization_level=3,
        seed_transpiler=seed,
        coupling_map=None if pairs is None else CouplingMap(pairs),
    )


def best(circuit: QuantumCircuit, column: Column, n_seeds: int | None = None) -> Transpiled:
    """Transpile with several seeds; keep the best by (CZ, depth)."""
    pairs = edges(column, circuit.num_qubits)
    made = [transpile(circuit, pairs, seed) for seed in range(n_seeds or column.n_seeds)]
    chosen = min(made, key=lambda one: (n_cz(one), one.depth()))
    duration_ns = shortest_ns = None
    if column.radius is not None:
        at_um = sites(column.lattice, circuit.num_qubits) * SPACING_UM
        duration_ns = scheduled_ns(chosen, at_um)
        shortest_ns = min(
            scheduled_ns(one, at_um, keeps_control=keeps) for one in made for keeps in (False, True)
        )
    n_u3 = sum(len(gate.qubits) == 1 for gate in chosen.data)
    return Transpiled(column, n_cz(chosen), n_u3, duration_ns, shortest_ns)


def n_cz(circuit: QuantumCircuit) -> int:
    """Count the CZ gates."""
    return int(circuit.count_ops().get("cz", 0))


def cz_ns(distance_um: float, c6_rad_per_us_um6: float) -> int:
    """Return the length of a CZ's target pulse (ns) at a distance (µm)."""
    for limit_um, length_ns in CZ_NS:
        if distance_um <= limit_um + _SAME_DISTANCE:
            return length_ns
    interaction = c6_rad_per_us_um6 / distance_um**6
    exact_ns = 1000.0 * _LENGTH_FACTOR_BEYOND * math.pi / interaction
    return math.ceil(exact_ns / _CLOCK_NS) * _CLOCK_NS


def scheduled_ns(
    circuit: QuantumCircuit, at_um: NDArray[np.float64], *, keeps_control: bool = False
) -> int:
    """Play a {cz, u3} circuit in circuit order on `DigitalAnalogDevice`.

    Args:
        circuit: Qubit k sits on site k.
        at_um: Sites (µm), shape (n, 2).
        keeps_control: Use the atom that the Rydberg beam points at as control where a CZ allows it,
            which saves a retarget; else the gate's first qubit is the control.

    Returns:
        Length of the sequence that Pulser makes (ns), without padding.
    """
    import pulser  # noqa: PLC0415

    device = pulser.DigitalAnalogDevice
    centred = at_um - at_um.mean(axis=0)
    register = pulser.Register({f"q{k}": point for k, point in enumerate(centred)})
    sequence = pulser.Sequence(register.with_automatic_layout(device), device)
    target = {"rydberg_local": 0, "raman_local": 0}
    for channel in target:
        sequence.declare_channel(channel, channel, initial_target="q0")

    def play(channel: str, atom: int, pulse: pulser.Pulse) -> None:
        if target[channel] != atom:
            sequence.target(f"q{atom}", channel)
            target[channel] = atom
        sequence.add(pulse, channel)

    turn = pulser.Pulse.ConstantPulse(PI_PULSE_NS, 1000.0 * math.pi / PI_PULSE_NS, 0.0, 0.0)
    for gate in circuit.data:
        atoms = [circuit.find_bit(qubit).index for qubit in gate.qubits]
        if len(atoms) == 1:
            play("raman_local", atoms[0], turn)
            continue
        if keeps_control and target["rydberg_local"] == atoms[1]:
            atoms.reverse()
        control, other = atoms
        distance_um = float(np.linalg.norm(at_um[control] - at_um[other]))
        length_ns = cz_ns(distance_um, float(device.interaction_coeff))
        play("rydberg_local", control, turn)
        play("rydberg_local", other, pulser.Pulse.ConstantPulse(length_ns, 1.0, 0.0, 0.0))
        play("rydberg_local", control, turn)
    return int(sequence.get_duration())
