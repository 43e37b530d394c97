"""Errors of single gates, beside the textbook gate; what an integrator of splines makes of edges.

Run it with `python -m benchmarks.run gates [--quick]`. A gate is compiled for atoms at a given
distance on `DigitalAnalogDevice`, its pulses are emulated, and the error is the largest 1 - F over
the products of the six eigenstates of X, Y and Z (36 for two qubits, 36 drawn of 216 for three).
What stays in the Rydberg state counts as error. No figure here is a time of this machine.

The textbook gate is π-2π-π (arXiv:quant-ph/0004038), with a resonant target pulse that takes as
long as ours, exact π pulses, and the corrections about Z that leave it the smallest error.
"""

from __future__ import annotations

import cmath
import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy import compiled_state, infidelity
from benchmarks.kernels import u3
from benchmarks.report import Goal, Row, progress
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cudaq_target.analog.program import AnalogProgram

DISTANCES_UM, QUICK_DISTANCES_UM = (4.001, 5.0, 6.0, 7.0, 8.0, 10.0), (4.001, 7.0)
ANGLES = {"CPhase(π/2)": 0.5 * math.pi, "CPhase(-π/2)": -0.5 * math.pi, "CPhase(π/8)": math.pi / 8}
GOAL = Goal(1e-9)
N_THREE_QUBIT_INPUTS = 36
# θ and φ of u3(θ, φ, 0)|0>: the eigenstates of Z, X and Y.
AXES = (
    (0.0, 0.0), (math.pi, 0.0),
    (0.5 * math.pi, 0.0), (0.5 * math.pi, math.pi),
    (0.5 * math.pi, 0.5 * math.pi), (0.5 * math.pi, -0.5 * math.pi),
)  # fmt: skip
N_EDGED, QUICK_EDGED = 12, 2
_HERE = Source("benchmark")


def rows(quick: bool = False) -> Iterator[Row]:
    """Yield one row per gate and distance, then those of square analog pulses."""
    yield one_qubit_row()
    for distance_um in QUICK_DISTANCES_UM if quick else DISTANCES_UM:
        yield controlled_row("CZ", math.pi, distance_um)
    for name, theta in ANGLES.items():
        yield controlled_row(name, theta, 5.0)
    yield three_qubit_row(5.0, 6 if quick else N_THREE_QUBIT_INPUTS)
    yield from edge_rows(QUICK_EDGED if quick else N_EDGED)


def one_qubit_row() -> Row:
    rng = np.random.default_rng(1)
    errors = []
    for angles in rng.uniform(-math.pi, math.pi, (36, 3)):
        circuit = Circuit("u3", 1, (u3(0, *angles.tolist()),))
        theta, phi, _ = angles
        errors.append(infidelity(qubit(theta, phi), compiled_state(circuit)[1]))
    return _row("u3 of random angles, one qubit", errors, None, "36 gates on |0>.")


def controlled_row(name: str, theta_rad: float, distance_um: float) -> Row:
    """Measure CPhase(θ) on two atoms, and compute the textbook's."""
    progress(f"{name}, {distance_um:g} µm")
    gate = Gate("r1", (1,), _HERE, params=(theta_rad,), controls=(0,))
    phases = np.array([1, 1, 1, cmath.exp(1j * theta_rad)])
    sites = [(0.0, 0.0), (distance_um, 0.0)]
    inputs = list(product(AXES, repeat=2))
    errors = emulated_errors(gate, phases, sites, inputs)
    peer = None
    target_ns, interaction = target_pulse(theta_rad, distance_um)
    if theta_rad == math.pi:
        diagonal = textbook(interaction, target_ns)
        worst = max(1.0 - abs(weights_of(state) @ diagonal) ** 2 for state in inputs)
        peer = f"textbook π-2π-π, as long: {worst:.2g}"
    note = f"{len(inputs)} inputs; V = {interaction:.4g} rad/µs, target pulse {target_ns} ns"
    title = f"{name}, atoms {distance_um:.1f} µm apart"
    return _row(title, errors, peer, note)


def three_qubit_row(distance_um: float, n_inputs: int) -> Row:
    progress("CCZ")
    sites = [(0.0, 0.0), (distance_um, 0.0), (0.5 * distance_um, math.sqrt(0.75) * distance_um)]
    gate = Gate("z", (2,), _HERE, controls=(0, 1))
    phases = np.ones(8, dtype=complex)
    phases[7] = -1.0
    inputs = list(product(AXES, repeat=3))
    chosen = np.random.default_rng(1).choice(len(inputs), n_inputs, replace=False)
    errors = emulated_errors(gate, phases, sites, [inputs[k] for k in chosen])
    title = f"CCZ, atoms {distance_um:.1f} µm apart"
    return _row(title, errors, None, f"{n_inputs} inputs of 216, drawn once")


def _row(name: str, errors: Sequence[float], peer: str | None, note: str) -> Row:
    worst = max(errors)
    return Row(
        name=name,
        value=worst,
        unit="1 - F",
        peer=peer,
        reach=str(GOAL),
        holds=GOAL.met_by(worst),
        samples=tuple(errors),
        note=note,
        is_correctness=True,
    )


def emulated_errors(
    gate: Gate,
    phases: NDArray[np.complex128],
    sites: Sequence[tuple[float, float]],
    inputs: Sequence[tuple[tuple[float, float], ...]],
) -> list[float]:
    """Emulate the pulses of a diagonal gate on product states.

    Args:
        gate: The gate, on qubits 0 to n - 1.
        phases: Its ideal diagonal, shape (2^n,).
        sites: Where the atoms are (µm).
        inputs: θ and φ of each qubit's state, for each input.

    Returns:
        1 - F of each input. Where the input leaves the gate nothing to do, the compiler leaves it
        out; of the inputs without eigenstates of Z none does.
    """
    n_qubits = len(sites)
    errors = []
    for axes in inputs:
        head = [u3(k, theta, phi, 0.0) for k, (theta, phi) in enumerate(axes)]
        program, state = compiled_state(Circuit("gate", n_qubits, (*head, gate)), sites)
        assert program.stats.n_entangling == 1 or any(theta in (0.0, math.pi) for theta, _ in axes)
        errors.append(infidelity(phases * product_state(axes), state))
    return errors


def qubit(theta: float, phi: float) -> NDArray[np.complex128]:
    """Return u3(θ, φ, 0)|0>."""
    return np.array([math.cos(0.5 * theta), cmath.exp(1j * phi) * math.sin(0.5 * theta)])


def product_state(axes: Sequence[tuple[float, float]]) -> NDArray[np.complex128]:
    """Return the product of the qubits' states, qubit 0 most significant."""
    state = np.ones(1, dtype=complex)
    for theta, phi in axes:
        state = np.kron(state, qubit(theta, phi))
    return state


def weights_of(axes: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return np.asarray(np.abs(product_state(axes)) ** 2)


def target_pulse(theta_rad: float, distance_um: float) -> tuple[int, float]:
    """Return the length of our target pulse (ns) and the interaction (rad/µs)."""
    from cudaq_target.device import resolve  # noqa: PLC0415
    from cudaq_target.pulses import cphase_pulse  # noqa: PLC0415

    rules = resolve("DigitalAnalogDevice")
    interaction = rules.c6_rad_per_us_um6 / distance_um**6
    return cphase_pulse(rules, interaction, theta_rad).duration_ns, interaction


def textbook(interaction: float, target_ns: int) -> NDArray[np.complex128]:
    """Return what is left of each basis state's ideal amplitude in the textbook's CZ.

    With the control in r the target is detuned by -V: it returns to g with the amplitude b of
    `docs/physics.md`, of which |b| < 1 leaks and arg b is a wrong phase. Rotations about Z spread
    that phase evenly over the four basis states.
    """
    rabi = 2.0e3 * math.pi / target_ns
    whole = math.hypot(rabi, interaction)
    half_angle = 0.5 * whole * 1e-3 * target_ns
    back = math.cos(half_angle) + 1j * interaction / whole * math.sin(half_angle)
    back *= cmath.exp(-0.5j * interaction * 1e-3 * target_ns)
    wrong = 0.25 * cmath.phase(back)
    turns = np.exp(1j * wrong * np.array([1.0, -1.0, -1.0, 1.0]))
    return np.asarray(turns * np.array([abs(back), 1.0, 1.0, 1.0]))


def edge_rows(n_programs: int) -> Iterator[Row]:
    """Compare both emulators with an exact integrator on pulses with edges."""
    from cudaq_target.machines.local_analog import (  # noqa: PLC0415
        LocalAnalogMachine,
        problem_of,
    )
    from cudaq_target.machines.qutip_analog import QutipAnalogMachine  # noqa: PLC0415
    from tests.target.rydberg_oracle import solve  # noqa: PLC0415

    progress("square analog pulses")
    errors: dict[str, list[float]] = {"local": [], "pulser-simulation": []}
    machines: dict[str, LocalAnalogMachine | QutipAnalogMachine] = {
        "local": LocalAnalogMachine(),
        "pulser-simulation": QutipAnalogMachine(),
    }
    for seed in range(n_programs):
        program = square_program(seed)
        exact = np.abs(solve(problem_of(program))) ** 2
        for name, machine in machines.items():
            (found,) = machine.evolve_analog(
                program,
                save_at_ns=[float(program.timeline.duration_ns)],
                measure=lambda _, state: np.abs(state) ** 2,
                threads=None,
                modulation=False,
                initial_state=None,
            )
            errors[name].append(float(np.abs(found - exact).max()))
    goal = Goal(1e-5)
    for name, found in errors.items():
        worst = max(found)
        is_ours = name == "local"
        yield Row(
            name=f"square analog pulses, {name} against exact steps",
            value=worst,
            unit="max |ΔP|",
            peer="SciPy DOP853, rtol 1e-12",
            reach=str(goal) if is_ours else None,
            holds=goal.met_by(worst) if is_ours else None,
            samples=tuple(found),
            note=f"{n_programs} programs of three atoms and four random pieces",
            is_correctness=is_ours,
        )


def square_program(seed: int) -> AnalogProgram:
    """Return a program of three atoms whose amplitude and detuning jump three times."""
    from cudaq_target.analog.model import AnalogSpec, Waveform  # noqa: PLC0415
    from cudaq_target.analog.program import build  # noqa: PLC0415

    rng = np.random.default_rng([20261122, seed])
    times = [0, 200, 201, 400, 401, 600, 601, 800]
    amplitude = np.repeat(rng.uniform(2.0, 12.0, 4), 2)
    detuning = np.repeat(rng.uniform(-10.0, 10.0, 4), 2)
    sites = [(0.0, 0.0), (7.0, 0.0), (14.0, 0.0)]
    spec = AnalogSpec.of(sites, Waveform(times, amplitude), Waveform(times, detuning), name="steps")
    return build(spec, "MockDevice")
