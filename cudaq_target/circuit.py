"""What the user wrote, flat: gates on numbered qubits, then terminal measurements.

Qubit 0 is the first allocated qubit, the leftmost character of a bit string and the most
significant bit of a state index, here and in every later stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.errors import Source


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """One unitary of the user's kernel, controls included.

    Attributes:
        name: `h x y z s t r1 rx ry rz u2 u3 phased_rx swap exp_pauli`, `unitary` (then `matrix`
            is set) or `prepare` (then `amplitudes` is set; acts on qubits in state 0).
        targets: Qubits acted on, first one most significant in `matrix` and `amplitudes`.
        controls: Qubits that must all be 1. (Negated controls arrive wrapped in `x`.)
        params: Angles in rad, CUDA-Q's order and conventions; already negated where `adjoint`
            can be expressed so, hence never None.
        adjoint: The inverse of the named gate is meant.
        pauli: For `exp_pauli`: letters `IXYZ`, one per target; the unitary is exp(i·params[0]·P).
        matrix: For `unitary`: complex, shape (2^k, 2^k), k = len(targets).
        amplitudes: For `prepare`: complex, shape (2^k,), normalised.
        source: Where the user wrote it.
    """

    name: str
    targets: tuple[int, ...]
    source: Source
    controls: tuple[int, ...] = ()
    params: tuple[float, ...] = ()
    adjoint: bool = False
    pauli: str = ""
    matrix: NDArray[np.complex128] | None = None
    amplitudes: NDArray[np.complex128] | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One terminal measurement of one qubit, in the order the kernel asked for them.

    Attributes:
        qubit: The measured qubit.
        register: Name of the register the user gave (`r = mz(q)` gives `r`), else "".
        source: Where the user wrote it.

    `mx` and `my` arrive as gates (h; s† then h) followed by a measurement in z.
    """

    qubit: int
    register: str
    source: Source


@dataclass(frozen=True, slots=True)
class Circuit:
    """A kernel with its arguments applied.

    Attributes:
        kernel: Name of the kernel as the user wrote it.
        n_qubits: Number of allocated qubits, including ones no gate touches.
        gates: In program order.
        measurements: In program order; empty when the kernel measures nothing, which means
            "all qubits, in order" for `sample`.
    """

    kernel: str
    n_qubits: int
    gates: tuple[Gate, ...]
    measurements: tuple[Measurement, ...] = ()
