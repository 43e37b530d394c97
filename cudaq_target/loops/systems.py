"""Variational problems with a known answer: kernel, Hamiltonian, start.

Each parameter turns the energy with one frequency, so that the parameter-shift rule is exact: for a
frequency ω, dE/dθ = ω/2 (E(θ + π/2ω) - E(θ - π/2ω)) (arXiv:1905.13311 eq. (2.5)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cudaq

from cudaq_target.errors import OptionError
from cudaq_target.loops.hamiltonians import CHEMICAL_ACCURACY_HA, exact_energy, h2, heisenberg

if TYPE_CHECKING:
    from collections.abc import Mapping


@cudaq.kernel
def double_excitation_2(theta: float) -> None:
    """Turn |11⟩ towards |00⟩ by θ (rad)."""
    q = cudaq.qvector(2)
    x(q[0])
    x(q[1])
    exp_pauli(theta, q, "XY")


@cudaq.kernel
def double_excitation_4(theta: float) -> None:
    """Turn |1100⟩ towards |0011⟩ by θ (rad)."""
    q = cudaq.qvector(4)
    x(q[0])
    x(q[1])
    exp_pauli(theta, q, "XXXY")


@cudaq.kernel
def resonating_singlets(inner: float, outer: float) -> None:
    """Two singlets that exchange turns into one another; reaches the chain's ground state."""
    q = cudaq.qvector(4)
    x(q[0])
    h(q[0])
    x(q[1])
    x.ctrl(q[0], q[1])
    x(q[2])
    h(q[2])
    x(q[3])
    x.ctrl(q[2], q[3])
    exp_pauli(-0.25 * inner, q, "IXXI")
    exp_pauli(-0.25 * inner, q, "IYYI")
    exp_pauli(-0.25 * inner, q, "IZZI")
    exp_pauli(-0.125 * outer, q, "XXII")
    exp_pauli(-0.125 * outer, q, "YYII")
    exp_pauli(-0.125 * outer, q, "ZZII")
    exp_pauli(-0.125 * outer, q, "IIXX")
    exp_pauli(-0.125 * outer, q, "IIYY")
    exp_pauli(-0.125 * outer, q, "IIZZ")


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """A kernel and the Hamiltonian whose ground state it can prepare.

    Attributes:
        name: What commands call it.
        title: What it is, in a few words.
        unit: Of all energies.
        kernel: Takes the parameters one by one.
        names: Of the parameters.
        terms: Pauli word to weight, the identity included.
        exact: The lowest eigenvalue.
        start: Where the search begins (rad).
        frequencies: ω of each parameter; the energy has period 2π/ω in it.
        curvature: Largest second derivative of the energy (unit / rad²); its inverse is the
            largest step per gradient that does not overshoot.
        accuracy: Error that counts as solved.
        coarseness: Error of the first step over that of the last; small where the energy is flat
            in some direction, along which one bad step takes many to undo.
        n_steps: Steps down the gradient that get there.
        fixed_shots: Shots of each basis at each point with which a loop that cannot stop early gets
            there in 19 of 20 cases, found by `benchmarks/loop_vqe.py`.
    """

    name: str
    title: str
    unit: str
    kernel: Any
    names: tuple[str, ...]
    terms: Mapping[str, float]
    exact: float
    start: tuple[float, ...]
    frequencies: tuple[float, ...]
    curvature: float
    accuracy: float
    coarseness: float
    n_steps: int
    fixed_shots: int

    @property
    def n_qubits(self) -> int:
        """Length of the Pauli words."""
        return len(next(iter(self.terms)))

    @property
    def shifts(self) -> tuple[float, ...]:
        """Shift of each parameter in the parameter-shift rule (rad)."""
        return tuple(0.5 * math.pi / frequency for frequency in self.frequencies)


def hydrogen(n_qubits: int = 4) -> System:
    """H2 with the double excitation, the only one that symmetry allows.

    The energy is A - B cos 2(θ - θ*) with B = 0.81 Ha.

    Args:
        n_qubits: 2 or 4.

    Raises:
        OptionError: Another number of qubits.
    """
    terms = h2(n_qubits)
    return System(
        name=f"h2-{n_qubits}",
        title=f"H2 in STO-3G at 0.7414 Å, {n_qubits} qubits",
        unit="Ha",
        kernel=double_excitation_2 if n_qubits == 2 else double_excitation_4,
        names=("theta",),
        terms=terms,
        exact=exact_energy(terms),
        start=(1.0,),
        frequencies=(2.0,),
        curvature=3.24,
        accuracy=CHEMICAL_ACCURACY_HA,
        coarseness=8.0,
        n_steps=3,
        fixed_shots=384 if n_qubits == 2 else 512,
    )


def chain() -> System:
    """Heisenberg chain of four spins, open ends, from two singlets.

    Four spins have two states of total spin 0, which exchange on the inner bond and on the outer
    bonds turns about two axes; two angles reach every real state between them.
    """
    terms = heisenberg(4)
    return System(
        name="chain",
        title="Heisenberg chain, 4 qubits",
        unit="J",
        kernel=resonating_singlets,
        names=("inner", "outer"),
        terms=terms,
        exact=exact_energy(terms),
        start=(1.0, 0.6),
        frequencies=(1.0, 1.0),
        curvature=2.63,
        accuracy=0.05,
        coarseness=2.0,
        n_steps=8,
        fixed_shots=96,
    )


def system(name: str, n_qubits: int = 4) -> System:
    """Look a problem up.

    Args:
        name: "h2" or "chain".
        n_qubits: 2 or 4 for h2, 4 for chain.

    Raises:
        OptionError: There is no such problem, or it does not come in that size.
    """
    if name == "h2":
        return hydrogen(n_qubits)
    if name != "chain":
        raise OptionError(f"system {name!r}", "unknown system", "Known: h2, chain")
    if n_qubits != 4:
        raise OptionError(f"qubits {n_qubits}", "the chain has 4", "Give 4, or leave it out")
    return chain()
