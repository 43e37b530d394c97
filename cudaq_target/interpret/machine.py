"""What executes a kernel: it numbers qubits, records gates and hands out measured bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from cudaq_target.circuit import Gate, Measurement
from cudaq_target.errors import UnsupportedKernelError
from cudaq_target.interpret.values import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cudaq_target.errors import Source

_SELF_INVERSE = frozenset({"h", "x", "y", "z", "swap"})
_NEGATED = frozenset({"r1", "rx", "ry", "rz", "exp_pauli"})
_MEASURE_LAST = (
    "Measure at the end of the kernel, or split the program into kernels and decide in Python "
    "between them."
)


def inverse(gate: Gate) -> Gate:
    """Return the gate that undoes a gate.

    Args:
        gate: Any gate but `prepare`.

    Returns:
        The inverse, its angles negated where that says the same.
    """
    name, params, adjoint, matrix = gate.name, gate.params, gate.adjoint, gate.matrix
    if name in _NEGATED:
        params = (-params[0],)
    elif name == "phased_rx":
        params = (-params[0], params[1])
    elif name == "u2":
        name, params = "u3", (-math.pi / 2, -params[1], -params[0])
    elif name == "u3":
        params = (-params[0], -params[2], -params[1])
    elif name == "unitary" and matrix is not None:
        matrix = np.ascontiguousarray(matrix.conj().T)
    elif name not in _SELF_INVERSE:
        adjoint = not adjoint
    return Gate(name, gate.targets, gate.source, gate.controls, params, adjoint, gate.pauli, matrix)


class Machine:
    """Executes one kernel once.

    Attributes:
        n_qubits: Qubits allocated so far.
        gates: Gates recorded so far.
        measurements: Measurements recorded so far.
    """

    def __init__(self, bits: Sequence[int] | None = None) -> None:
        """Create a machine.

        Args:
            bits: Outcome of each measurement in program order, or None to record the gates and
                treat every outcome as unknown.
        """
        self.bits = bits
        self.n_qubits = 0
        self.gates: list[Gate] = []
        self.measurements: list[Measurement] = []
        self._reserved: dict[tuple[str, int], tuple[int, ...]] = {}
        self._controls: tuple[int, ...] = ()
        self._within: str | None = None
        self._measured: set[int] = set()
        self._lost_memory: Source | None = None

    def reserve(self, place: tuple[str, int], n_qubits: int) -> None:
        """Number the qubits of an allocation before it is executed.

        Args:
            place: Function and slot of the allocation.
            n_qubits: Number of qubits.
        """
        self._reserved[place] = self.allocate(n_qubits, place)

    def allocate(self, n_qubits: int, place: tuple[str, int]) -> tuple[int, ...]:
        """Return the numbers of fresh qubits in state 0.

        Args:
            n_qubits: Number of qubits.
            place: Function and slot of the allocation.
        """
        if place in self._reserved:
            return self._reserved.pop(place)
        first = self.n_qubits
        self.n_qubits += n_qubits
        return tuple(range(first, self.n_qubits))

    def apply(
        self,
        name: str,
        targets: tuple[int, ...],
        source: Source,
        controls: tuple[int, ...] = (),
        params: tuple[float, ...] = (),
        *,
        adjoint: bool = False,
        pauli: str = "",
        matrix: NDArray[np.complex128] | None = None,
    ) -> None:
        """Record a gate, with the controls of the surrounding `cudaq.control` calls added.

        Raises:
            UnsupportedKernelError: The gate uses a qubit twice or a measured qubit, or an angle
                depends on a measurement or is no finite number.
        """
        if self.bits is not None:
            return
        controls = self._controls + controls
        if self._measured:
            self._refuse_feed_forward(name, controls + targets, params, source)
        if len({*controls, *targets}) != len(controls) + len(targets):
            raise self.refusal(
                f"{name} on qubits {', '.join(map(str, controls + targets))}",
                "it names a qubit twice",
                source,
                "Use different qubits for controls and targets.",
            )
        for param in params:
            if not math.isfinite(param):
                raise self.refusal(
                    f"{name} with angle {param}",
                    "an angle must be a finite number",
                    source,
                    "Check the arguments of the kernel, and what it computes from them.",
                )
        gate = Gate(name, targets, source, controls, params, False, pauli, matrix)
        self.gates.append(inverse(gate) if adjoint else gate)

    def flip(self, qubit: int, source: Source) -> None:
        """Turn a control on 0 into one on 1, or back.

        Surrounding controls are left out: the two flips around a gate cancel without them.
        """
        if self.bits is None:
            if self._measured:
                self._refuse_feed_forward("x", (qubit,), (), source)
            self.gates.append(Gate("x", (qubit,), source))

    def apply_phase(self, controls: tuple[int, ...], angle_rad: float, source: Source) -> None:
        """Apply a phase where all controls, surrounding ones included, are 1."""
        everything = self._controls + controls
        if everything and self.bits is None:
            outer, self._controls = self._controls, ()
            self.apply("r1", everything[-1:], source, everything[:-1], (angle_rad,))
            self._controls = outer

    def prepare(
        self, qubits: tuple[int, ...], amplitudes: NDArray[np.complex128], source: Source
    ) -> None:
        """Record the preparation of fresh qubits; the first is most significant in `amplitudes`."""
        if self.bits is not None:
            return
        if self._within:
            raise self.refusal(
                "initialising qubits with amplitudes",
                f"it is no unitary and this happens inside cudaq.{self._within}",
                source,
                "Prepare the state outside and pass the qubits.",
            )
        self.gates.append(Gate("prepare", qubits, source, amplitudes=amplitudes))

    def measure(
        self, qubits: tuple[int, ...], basis: str, register: str, source: Source
    ) -> list[Any]:
        """Measure qubits and return their outcomes, `UNKNOWN` where they are not known yet."""
        if self._within:
            raise self.refusal(
                f"m{basis} inside cudaq.{self._within}",
                "a measurement is no unitary",
                source,
            )
        for qubit in qubits:
            if basis == "y":
                self.apply("s", (qubit,), source, adjoint=True)
            if basis != "z":
                self.apply("h", (qubit,), source)
        first = len(self.measurements)
        self.measurements.extend(Measurement(qubit, register, source) for qubit in qubits)
        self._measured.update(qubits)
        if self.bits is None:
            return [UNKNOWN] * len(qubits)
        return [bool(bit) for bit in self.bits[first : first + len(qubits)]]

    def reset(self, qubits: tuple[int, ...], source: Source) -> None:
        """Accept a reset of qubits that are still in state 0, refuse any other."""
        if self.bits is not None:
            return
        used = {qubit for gate in self.gates for qubit in gate.controls + gate.targets}
        for qubit in qubits:
            if qubit in used or qubit in self._measured or self._within:
                raise self.refusal(
                    f"reset of qubit {qubit}",
                    "a neutral-atom machine prepares each atom once, at the start of a shot",
                    source,
                    "Allocate a fresh qubit instead.",
                )

    def controlled(self, run: Callable[[], None], controls: tuple[int, ...]) -> None:
        """Run code with controls added to every gate that it records."""
        outer = self._controls
        self._controls = outer + controls
        try:
            self._inside("control", run)
        finally:
            self._controls = outer

    def adjoint(self, run: Callable[[], None]) -> None:
        """Run code and record its gates inverted, in reverse order."""
        outer = self.gates
        inner: list[Gate] = []
        self.gates = inner
        try:
            self._inside("adjoint", run)
        finally:
            self.gates = outer
        outer.extend(inverse(gate) for gate in reversed(inner))

    def _inside(self, construct: str, run: Callable[[], None]) -> None:
        outer = self._within
        self._within = outer or construct
        try:
            run()
        finally:
            self._within = outer

    def forget_memory(self, source: Source) -> None:
        """Remember that code which depends on a measurement wrote to memory we cannot name."""
        self._lost_memory = source

    def refuse_branch(self, name: str, source: Source) -> NoReturn:
        """Refuse a quantum operation that runs or not, depending on a measurement."""
        raise self.refusal(
            f"{name} in a branch that depends on a measurement",
            "the machine measures all atoms at once, at the end of a shot (no mid-circuit "
            "measurement with feed-forward)",
            source,
        )

    def _refuse_feed_forward(
        self, name: str, qubits: tuple[int, ...], params: tuple[Any, ...], source: Source
    ) -> None:
        touched = self._measured.intersection(qubits)
        if touched:
            raise self.refusal(
                f"{name} after a measurement of qubit {min(touched)} (mid-circuit measurement)",
                "the machine measures all atoms at once, at the end of a shot",
                source,
            )
        if any(param is UNKNOWN for param in params):
            raise self.refusal(
                f"an angle of {name} that depends on a measurement",
                "the machine measures all atoms at once, at the end of a shot (no feed-forward)",
                source,
            )
        if self._lost_memory:
            raise self.refusal(
                f"{name} after a list was changed depending on a measurement ({self._lost_memory})",
                "whether the gate depends on that measurement cannot be told",
                source,
            )

    @staticmethod
    def refusal(
        construct: str, reason: str, source: Source, remedy: str = _MEASURE_LAST
    ) -> UnsupportedKernelError:
        """Build the error for something that a machine cannot do."""
        return UnsupportedKernelError(source, construct, reason, remedy)
