"""What the contenders of `whole_call` run, and what is true of it.

Two analog programs and a gate kernel. Probabilities come from a dense integrator that shares
nothing with the emulators, and takes numbers as a user writes them, or as they were sent away.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Probabilities = NDArray[np.float64]

# Of Rydberg level 70, which MockDevice and the emulators of the cloud have (Pulser 1.9).
C6_RAD_PER_US_UM6 = 5420158.53
_TWO_PI = 2.0 * np.pi
GATE_QUBITS, GATE_ANGLE = 5, 1.0


@dataclass(frozen=True, slots=True)
class Drive:
    """An analog program of one global drive: straight lines between points.

    Attributes:
        atoms_um: Positions (µm), one pair per atom.
        times_ns: Times of the points (ns).
        rabi: Rabi frequency at them (rad/µs).
        detuning: Detuning at them (rad/µs).
    """

    atoms_um: tuple[tuple[float, float], ...]
    times_ns: tuple[float, ...]
    rabi: tuple[float, ...]
    detuning: tuple[float, ...]


def pulse() -> Drive:
    """An atom alone and a blockaded pair, turned by a quarter: 124 ns, no multiple of 10 ns."""
    rabi = 1.9 * _TWO_PI
    return Drive(((-20.0, 0.0), (5.0, 0.0), (11.0, 0.0)), (0.0, 124.0), (rabi, rabi), (0.0, 0.0))


def sweep() -> Drive:
    """Five atoms of a triangular lattice, an adiabatic sweep of 3 µs in 64 points."""
    share = np.linspace(0.0, 1.0, 64)
    rabi = 1.5 * _TWO_PI * np.sin(np.pi * share) ** 2
    places = np.array([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (0.5, 0.75**0.5), (1.5, 0.75**0.5)])
    return Drive(
        tuple((float(x), float(y)) for x, y in 6.3 * places),
        tuple((3000.0 * share).tolist()),
        tuple(rabi.tolist()),
        tuple((3.0 * _TWO_PI * (2.0 * share - 1.0)).tolist()),
    )


DRIVES = {"pulse": pulse, "sweep": sweep}


def exact(drive: Drive) -> Probabilities:
    """Integrate the Schrödinger equation to about 1e-10.

    Returns:
        Probabilities of all bit strings, atom 0 most significant, shape (2^n_atoms,).
    """
    from scipy.integrate import solve_ivp  # noqa: PLC0415

    atoms = np.array(drive.atoms_um)
    n_atoms = len(atoms)
    bits = np.array(list(product((0, 1), repeat=n_atoms)))
    pairs = np.triu_indices(n_atoms, 1)
    distances = np.linalg.norm(atoms[pairs[0]] - atoms[pairs[1]], axis=1)
    energies = (bits[:, pairs[0]] * bits[:, pairs[1]]) @ (C6_RAD_PER_US_UM6 / distances**6)
    excited = bits.sum(axis=1)
    flips = 0.5 * (np.abs(bits[:, None] - bits[None]).sum(axis=2) == 1)
    times_us = 1e-3 * np.array(drive.times_ns)

    def slope(time_us: float, state: NDArray[np.complex128]) -> NDArray[np.complex128]:
        rabi = np.interp(time_us, times_us, drive.rabi)
        detuning = np.interp(time_us, times_us, drive.detuning)
        return np.asarray(-1j * (rabi * (flips @ state) + (energies - detuning * excited) * state))

    state = np.eye(1 << n_atoms)[0].astype(np.complex128)
    for ends in pairwise(times_us):
        solved = solve_ivp(slope, ends, state, method="DOP853", rtol=1e-10, atol=1e-12)
        state = solved.y[:, -1]
    return np.asarray(np.abs(state) ** 2)


def gate_probabilities() -> Probabilities:
    """Those of the kernel `leaning`, in closed form."""
    found = np.zeros(1 << GATE_QUBITS)
    last = 1  # the last qubit is flipped
    found[last] = np.cos(0.5 * GATE_ANGLE) ** 2
    found[-1 - last] = np.sin(0.5 * GATE_ANGLE) ** 2
    return found


def sent(text: str, *, is_ahs: bool) -> Probabilities:
    """What a program as it arrived in the cloud leads to, without the noise of shots.

    Args:
        text: An AHS program, or Pulser's abstract representation.
        is_ahs: Which of them.
    """
    return exact(_ahs(json.loads(text))) if is_ahs else _sequence(text)


def _ahs(content: dict[str, Any]) -> Drive:
    fields = content["hamiltonian"]["drivingFields"][0]
    series = {name: fields[name]["time_series"] for name in ("amplitude", "detuning")}
    scaled = {
        name: tuple(1e-6 * float(value) for value in one["values"]) for name, one in series.items()
    }
    sites = content["setup"]["ahs_register"]["sites"]
    return Drive(
        tuple((1e6 * float(x), 1e6 * float(y)) for x, y in sites),
        tuple(1e9 * float(time) for time in series["amplitude"]["times"]),
        scaled["amplitude"],
        scaled["detuning"],
    )


def _sequence(text: str) -> Probabilities:
    """Pulser's samples, one per ns, by the embedded emulator within 1e-9."""
    import pulser  # noqa: PLC0415

    from cudaq_target.analog.program import read_sequence  # noqa: PLC0415
    from cudaq_target.emulator.analog.integrate import evolve_rydberg  # noqa: PLC0415
    from cudaq_target.machines.local_analog import problem_of  # noqa: PLC0415

    program = read_sequence(pulser.Sequence.from_abstract_repr(text))
    state = evolve_rydberg(problem_of(program), tolerance=1e-9).state
    return np.asarray(np.abs(state) ** 2)


def largest_error(counts: Mapping[str, int], probabilities: Probabilities) -> float:
    """Return the largest |ΔP| of counts, qubit 0 leftmost."""
    return float(np.abs(_frequencies(counts, len(probabilities)) - probabilities).max())


def are_likely(counts: Mapping[str, int], probabilities: Probabilities) -> bool:
    """Whether every frequency is within five standard deviations of its probability.

    What is rarer than a shot has no normal distribution: five more shots are allowed.
    """
    n_shots = sum(counts.values())
    found = _frequencies(counts, len(probabilities))
    spread = np.sqrt(probabilities * (1.0 - probabilities) / n_shots)
    return bool((np.abs(found - probabilities) <= 5.0 * (spread + 1.0 / n_shots)).all())


def reversed_keys(counts: Mapping[str, int]) -> dict[str, int]:
    """Read bit strings from the right."""
    return {bits[::-1]: n for bits, n in counts.items()}


def _frequencies(counts: Mapping[str, int], n_outcomes: int) -> Probabilities:
    found: Probabilities = np.zeros(n_outcomes)
    for bits, n in counts.items():
        found[int(bits, 2)] += n
    return np.asarray(found / found.sum())
