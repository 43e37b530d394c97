"""Ground-state energy of H2: a variational loop from CUDA-Q kernels to pulses, shots and back.

The molecule is hydrogen in the basis STO-3G at a distance of 1.401 bohr (0.7414 Å), as four spin
orbitals on four qubits, or as the two qubits that one electron of each spin leaves. The trial state
is a unitary coupled cluster: the double excitation turns the Hartree-Fock state by an angle θ. The
loop walks down the gradient, which the parameter-shift rule reads off two energies.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cudaq
import numpy as np

from cudaq_target.draw import draw_convergence
from cudaq_target.errors import OptionError
from cudaq_target.launch.compile import compile as compile_kernel
from cudaq_target.target import Pasqal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cudaq_target.program import Program

BOND_BOHR = 1.401
NUCLEAR_REPULSION_HA = 1.0 / BOND_BOHR
# Full configuration interaction in this basis at 0.7414 Å, the value quantum chemistry codes give.
PUBLISHED_ENERGY_HA = -1.13727

# Electronic Hamiltonian by Jordan-Wigner, arXiv:1208.5986 eq. (80), in Ha; the leftmost letter is
# qubit 0. Qubits 0 and 1 are the bonding orbital with spin up and down, 2 and 3 the antibonding.
H2_FOUR_QUBITS = {
    "IIII": -0.81261,
    "ZIII": 0.171201,
    "IZII": 0.171201,
    "IIZI": -0.2227965,
    "IIIZ": -0.2227965,
    "ZZII": 0.16862325,
    "ZIZI": 0.12054625,
    "IZZI": 0.165868,
    "ZIIZ": 0.165868,
    "IZIZ": 0.12054625,
    "IIZZ": 0.17434925,
    "YYXX": -0.04532175,
    "XYYX": 0.04532175,
    "YXXY": 0.04532175,
    "XXYY": -0.04532175,
}

_START_RAD = 1.0
_N_STEPS = 11
# The energy is A - B cos 2(θ - θ*) with B = 0.81 Ha: half a Newton step is 1/(8B).
_RATE_RAD_PER_HA = 0.15
_SHIFT_RAD = math.pi / 4.0
_FINAL_SHOTS_FACTOR = 10
# What the gradient's shot noise may leave of the way to the minimum, and how rare a failure may be.
_RESIDUAL_HA = 1e-3
_N_SIGMAS = 5.0


def two_qubit_terms() -> dict[str, float]:
    """Reduce the Hamiltonian to one electron of each spin, an exact identity.

    With one electron per spin, Z2 = -Z0 and Z3 = -Z1, and the four exchange terms become one.

    Returns:
        Pauli word (leftmost letter is qubit 0) to coefficient (Ha).
    """
    h = H2_FOUR_QUBITS
    return {
        "II": h["IIII"] - h["ZIZI"] - h["IZIZ"],
        "ZI": h["ZIII"] - h["IIZI"],
        "IZ": h["IZII"] - h["IIIZ"],
        "ZZ": h["ZZII"] + h["IIZZ"] - h["IZZI"] - h["ZIIZ"],
        "XX": h["XYYX"] + h["YXXY"] - h["YYXX"] - h["XXYY"],
    }


def spin_operator(terms: dict[str, float]) -> cudaq.SpinOperator:
    """Build CUDA-Q's operator from Pauli words and coefficients."""
    return sum(
        (value * cudaq.SpinOperator.from_word(word) for word, value in terms.items()),
        cudaq.SpinOperator.empty(),
    )


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


@dataclass(frozen=True, slots=True)
class Estimate:
    """An energy from shots.

    Attributes:
        energy_ha: Total energy (Ha), nuclear repulsion included.
        sigma_ha: Upper bound of its standard deviation (Ha).
    """

    energy_ha: float
    sigma_ha: float


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What the demonstration found.

    Attributes:
        n_qubits: 2 or 4.
        thetas_rad: Parameter of each step (rad).
        steps: Energy of each step.
        final: Energy at the end, from more shots.
        exact_ha: Lowest eigenvalue of the Hamiltonian, nuclear repulsion included (Ha).
        n_shots: Shots of the whole loop, all settings together.
        seconds: Time that the loop took.
        program: The pulses at the end.
        machine: What ran them.
        picture: File with the picture.
    """

    n_qubits: int
    thetas_rad: tuple[float, ...]
    steps: tuple[Estimate, ...]
    final: Estimate
    exact_ha: float
    n_shots: int
    seconds: float
    program: Program
    machine: str
    picture: Path

    @property
    def error_ha(self) -> float:
        """Final energy minus exact energy (Ha)."""
        return self.final.energy_ha - self.exact_ha

    @property
    def tolerance_ha(self) -> float:
        """Largest error that shot noise explains (Ha)."""
        return _N_SIGMAS * self.final.sigma_ha + _RESIDUAL_HA

    @property
    def is_within_tolerance(self) -> bool:
        """Whether the loop found the ground state."""
        return abs(self.error_ha) <= self.tolerance_ha

    def as_data(self) -> dict[str, Any]:
        """Return everything but the pulses as plain data."""
        return {
            "n_qubits": self.n_qubits,
            "machine": self.machine,
            "device": self.program.rules.name,
            "energy_ha": self.final.energy_ha,
            "sigma_ha": self.final.sigma_ha,
            "exact_ha": self.exact_ha,
            "error_ha": self.error_ha,
            "tolerance_ha": self.tolerance_ha,
            "is_within_tolerance": self.is_within_tolerance,
            "n_shots": self.n_shots,
            "seconds": self.seconds,
            "sequence_ns": self.program.stats.duration_ns,
            "thetas_rad": list(self.thetas_rad),
            "energies_ha": [step.energy_ha for step in self.steps],
            "picture": str(self.picture),
        }

    def text(self) -> str:
        """Describe the result in a few lines."""
        stats = self.program.stats
        verdict = "within" if self.is_within_tolerance else "OUTSIDE"
        return "\n".join(
            (
                f"H2 in STO-3G at 0.7414 Å, {self.n_qubits} qubits on {self.program.rules.name}, "
                f"machine {self.machine}",
                f"  energy    {self.final.energy_ha:.5f} ± {self.final.sigma_ha:.5f} Ha",
                f"  exact     {self.exact_ha:.5f} Ha",
                f"  error     {1e3 * self.error_ha:+.2f} mHa, {verdict} the tolerance of "
                f"{1e3 * self.tolerance_ha:.1f} mHa ({_N_SIGMAS:g} σ + {1e3 * _RESIDUAL_HA:g})",
                f"  loop      {len(self.steps)} steps, {self.n_shots} shots, {self.seconds:.1f} s",
                f"  sequence  {stats.duration_ns / 1e3:.3f} µs, {stats.n_entangling} entangling "
                f"gates, {stats.n_raman_pulses} Raman pulses",
                f"  picture   {self.picture}",
            )
        )


def run(
    n_qubits: int = 4,
    n_shots: int = 4000,
    seed: int = 1,
    picture: str | Path = "h2-energy.png",
    progress: bool | None = None,
) -> Result:
    """Run the variational loop on the target `pasqal` and draw it.

    Args:
        n_qubits: 2 or 4.
        n_shots: Shots for each measurement setting of each energy; ten times as many at the end.
        seed: Makes the result reproducible.
        picture: File to write.
        progress: Show a bar on standard error; None: only on a terminal.

    Returns:
        The energy and how it was found.

    Raises:
        OptionError: Another number of qubits, or no rich for a forced progress bar.
    """
    if n_qubits not in (2, 4):
        raise OptionError(f"qubits {n_qubits}", "not offered", "Give 2 or 4")
    kernel = double_excitation_2 if n_qubits == 2 else double_excitation_4
    terms = two_qubit_terms() if n_qubits == 2 else H2_FOUR_QUBITS
    begin = time.perf_counter()
    with Pasqal(seed=seed) as target, _progress(progress) as tell:
        energy = _energy_of(kernel, terms)
        thetas, steps = _descend(energy, n_shots, tell)
        final = energy(thetas[-1], _FINAL_SHOTS_FACTOR * n_shots)
        seconds = time.perf_counter() - begin
        program = cast("Program", compile_kernel(kernel, thetas[-1]))
        machine = target.resolve().machine
    n_energies = 3 * len(steps) - 2 + _FINAL_SHOTS_FACTOR
    result = Result(
        n_qubits=n_qubits,
        thetas_rad=tuple(thetas),
        steps=tuple(steps),
        final=final,
        exact_ha=exact_energy_ha(terms),
        n_shots=n_energies * n_shots * n_settings(terms),
        seconds=seconds,
        program=program,
        machine=machine,
        picture=Path(picture),
    )
    _draw(result)
    return result


def exact_energy_ha(terms: dict[str, float]) -> float:
    """Diagonalise a Hamiltonian and add the nuclear repulsion (Ha)."""
    matrix = spin_operator(terms).to_matrix()
    return float(np.linalg.eigvalsh(np.asarray(matrix))[0]) + NUCLEAR_REPULSION_HA


def n_settings(terms: dict[str, float]) -> int:
    """Count the measurement settings: one for all words of I and Z, one for each other word."""
    return 1 + sum(not set(word) <= {"I", "Z"} for word in terms)


Energy = Callable[[float, int], Estimate]


def _energy_of(kernel: Any, terms: dict[str, float]) -> Energy:  # noqa: ANN401 - CUDA-Q's kernel
    operator = spin_operator(terms)

    def energy(theta_rad: float, n_shots: int) -> Estimate:
        result = cudaq.observe(kernel, operator, theta_rad, shots_count=n_shots)
        return Estimate(
            energy_ha=float(result.expectation()) + NUCLEAR_REPULSION_HA,
            sigma_ha=_sigma_ha(result, terms, n_shots),
        )

    return energy


def _sigma_ha(result: Any, terms: dict[str, float], n_shots: int) -> float:  # noqa: ANN401
    """Bound the standard deviation: words measured together add up, settings in quadrature."""
    together, squares = 0.0, 0.0
    for word, coefficient in terms.items():
        if set(word) == {"I"}:
            continue
        mean = float(result.expectation(cudaq.SpinOperator.from_word(word)))
        sigma = abs(coefficient) * math.sqrt(max(1.0 - mean**2, 0.0) / n_shots)
        if set(word) <= {"I", "Z"}:
            together += sigma
        else:
            squares += sigma**2
    return math.sqrt(together**2 + squares)


def _descend(
    energy: Energy, n_shots: int, tell: Callable[[float], None]
) -> tuple[list[float], list[Estimate]]:
    """Walk down the gradient (E(θ + π/4) - E(θ - π/4)), exact for a double excitation."""
    thetas, steps = [_START_RAD], [energy(_START_RAD, n_shots)]
    tell(steps[-1].energy_ha)
    while len(steps) < _N_STEPS:
        theta = thetas[-1]
        above = energy(theta + _SHIFT_RAD, n_shots).energy_ha
        below = energy(theta - _SHIFT_RAD, n_shots).energy_ha
        thetas.append(theta - _RATE_RAD_PER_HA * (above - below))
        steps.append(energy(thetas[-1], n_shots))
        tell(steps[-1].energy_ha)
    return thetas, steps


@contextmanager
def _progress(wanted: bool | None) -> Iterator[Callable[[float], None]]:
    """Show one advance per energy on standard error."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield lambda _: None
        return
    try:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            "progress", "rich is not installed", "Install it: pip install 'cudaq-target[cli]'"
        ) from error
    console = Console(stderr=True, force_terminal=True if wanted else None)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("energy of H2", total=_N_STEPS)

        def tell(energy_ha: float) -> None:
            bar.update(task, advance=1, description=f"energy of H2 {energy_ha:+.4f} Ha")

        yield tell


def _draw(result: Result) -> None:
    points = (*result.steps, result.final)
    energy = f"{result.final.energy_ha:.5f}".replace("-", "−")
    draw_convergence(
        result.program,
        [point.energy_ha for point in points],
        [point.sigma_ha for point in points],
        result.exact_ha,
        result.picture,
        f"energy of H2 (STO-3G): {energy} ± {result.final.sigma_ha:.5f} Ha; "
        f"{result.n_shots:,} shots, the last point has {_FINAL_SHOTS_FACTOR} times those of a step",
    )
