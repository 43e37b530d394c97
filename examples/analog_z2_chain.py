"""A chain of atoms driven into its ordered phase: every second atom excited, none beside another.

Run it: `python examples/analog_z2_chain.py [atoms] [shots] [folder for pictures]`. The sweep starts
at a detuning below resonance, where all atoms rest in g, and ends above it, where as many atoms as
the blockade allows are in r (arXiv:1707.04344).
"""

from __future__ import annotations

import sys
from pathlib import Path

import cudaq
import numpy as np
from cudaq import ScalarOperator, Schedule
from cudaq import operators as ops

from cudaq_target import compile, shots_of  # noqa: A004
from cudaq_target.analog.draw import draw_counts, draw_populations

SPACING = 5.5e-6  # m
MHZ = 2.0 * np.pi * 1e6  # rad/s
RABI, FROM, TO = 1.6 * MHZ, -4.0 * MHZ, 4.0 * MHZ
DURATION, RAMP = 4e-6, 0.5e-6  # s
TIMES = np.linspace(0.0, DURATION, 81)  # s, where waveforms are read and populations looked at


def program(n_atoms: int) -> tuple[cudaq.RydbergHamiltonian, Schedule]:
    """Return the chain under an adiabatic sweep, and its times."""
    amplitude = ScalarOperator(
        lambda t: RABI * np.clip(min(t.real, DURATION - t.real) / RAMP, 0.0, 1.0)
    )
    detuning = ScalarOperator(
        lambda t: FROM + (TO - FROM) * np.clip((t.real - RAMP) / (DURATION - 2 * RAMP), 0.0, 1.0)
    )
    sites = [(SPACING * (k - 0.5 * (n_atoms - 1)), 0.0) for k in range(n_atoms)]
    phase = ScalarOperator.const(0.0)
    return cudaq.RydbergHamiltonian(sites, amplitude, phase, detuning), Schedule(TIMES, ["t"])


def draw(
    hamiltonian: cudaq.RydbergHamiltonian,
    schedule: Schedule,
    counts: dict[str, int],
    ordered: str,
    folder: Path,
) -> None:
    """Draw register and pulses, the population of each atom over time, and the outcomes."""
    path = cudaq.evolve(
        hamiltonian,
        schedule=schedule,
        observables=[ops.number(k) for k in range(len(ordered))],
        store_intermediate_results=cudaq.IntermediateResultSave.EXPECTATION_VALUE,
    )
    populations = [[value.expectation() for value in row] for row in path.expectation_values()]
    compile(hamiltonian, schedule).draw(folder / "analog-program.png")
    draw_populations(1e9 * TIMES, populations, folder / "analog-populations.png")
    draw_counts(counts, folder / "analog-counts.png", highlighted=[ordered], n_most=12)


def main(
    n_atoms: int = 9,
    n_shots: int = 2000,
    folder: Path | None = None,
    *,
    device: str = "AnalogDevice",
) -> float:
    """Print the outcomes; return the share of shots with every second atom in r."""
    cudaq.set_target("pasqal", device=device, seed=1)
    hamiltonian, schedule = program(n_atoms)
    result = cudaq.evolve(hamiltonian, schedule=schedule, shots_count=n_shots)
    ordered = "".join("10"[k % 2] for k in range(n_atoms))
    bits = shots_of(result).bits().astype(float)
    for string, count in sorted(result.items(), key=lambda entry: -entry[1])[:4]:
        print(f"{string} {count / n_shots:.3f}" + (" <- ordered" if string == ordered else ""))
    density = bits.mean(axis=0)
    pairs = (bits[:, :-1] * bits[:, 1:]).mean(axis=0) - density[:-1] * density[1:]
    print("population of each atom:   ", np.round(density, 2))
    print("correlation of neighbours: ", np.round(pairs, 2))
    if folder is not None:
        draw(hamiltonian, schedule, dict(result.items()), ordered, folder)
    return result.probability(ordered)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *map(Path, sys.argv[3:4]))
