"""What a scheduler asks before it admits a program: qubits, shots, and how long they take."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cudaq_target.errors import OptionError

# Loading, sorting and imaging atoms take far longer than pulses: about 200 ms a shot, see
# arXiv:2006.12326, section 2. Only a machine itself can say it better.
CYCLE_S = 0.2
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Admission:
    """What a program needs of a machine.

    Attributes:
        n_qubits: Bits of a shot.
        n_atoms: Atoms of the register.
        n_shots: Number of shots.
        sequence_ns: Length of the pulses of one shot (ns).
        cycle_s: Time of one shot beside its pulses: loading, sorting and imaging (s).
    """

    n_qubits: int
    n_atoms: int
    n_shots: int
    sequence_ns: int
    cycle_s: float

    @property
    def seconds(self) -> float:
        """Time that the machine takes: shots times (sequence + cycle) (s)."""
        return self.n_shots * (self.sequence_ns / _NS_PER_S + self.cycle_s)

    def as_data(self) -> dict[str, int | float]:
        """Return the figures as plain data."""
        return {**asdict(self), "seconds": self.seconds}

    def __str__(self) -> str:
        return (
            f"{self.n_shots} shots of {self.n_atoms} atoms: {self.seconds:.6g} s on a machine, at "
            f"{self.sequence_ns / 1e3:.3f} µs of pulses and {self.cycle_s:g} s beside them per shot"
        )


def admission(
    n_qubits: int, n_atoms: int, n_shots: int, sequence_ns: int, cycle_s: float = CYCLE_S
) -> Admission:
    """Say what a program needs of a machine.

    Args:
        n_qubits: Bits of a shot.
        n_atoms: Atoms of the register.
        n_shots: Number of shots, 0 or more.
        sequence_ns: Length of the pulses of one shot (ns).
        cycle_s: Time of one shot beside its pulses (s); 0 for an emulator.

    Raises:
        OptionError: A number is negative or no number.

    >>> admission(2, 2, 100, 5000, cycle_s=0.5).seconds
    50.0005
    """
    if not isinstance(n_shots, int) or isinstance(n_shots, bool) or n_shots < 0:
        raise OptionError(f"n_shots {n_shots!r}", "not allowed", "Give a whole number, 0 or more")
    if not 0.0 <= cycle_s < float("inf"):
        raise OptionError(f"cycle_s {cycle_s!r}", "not allowed", "Give a time of 0 s or more")
    return Admission(n_qubits, n_atoms, n_shots, sequence_ns, float(cycle_s))
