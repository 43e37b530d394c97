"""Merging gates while they arrive: one-qubit gates, equal pairs, and what lies between them.

A wire is a row of *segments*: stretches of gates that are diagonal on it (CPhase, CCZ), parted by
one-qubit gates that are not. Inside a segment everything commutes. Hence, without searching:

* Two CPhases of one pair that share both segments add their angles, and vanish at 2π.
* Two CPhases of one pair that share one segment, while the other wire has one gate between them,
  are one CPhase between two one-qubit gates: the shared wire only selects which of two unitaries
  acts on the other, and two unitaries differ by a rotation about one axis.
* A segment that becomes empty joins the one-qubit gates around it.
* Diagonal one-qubit gates wait for the end of their segment. So do antidiagonal ones, since
  CPhase(θ)·X_a = X_a·P_b(θ)·CPhase(-θ).
* A wire in a basis state makes a CPhase a one-qubit gate.
"""

from __future__ import annotations

import cmath
from typing import Final, NamedTuple

from cudaq_target.synthesis.one_qubit import (
    IDENTITY,
    Matrix2,
    Shape,
    dagger,
    is_zero_angle,
    multiply,
    phase_gate,
    shape,
    spectrum,
)
from cudaq_target.units import wrap_rad


class Local(NamedTuple):
    """A one-qubit gate."""

    wire: int
    matrix: Matrix2


class Pair(NamedTuple):
    """diag(1, 1, 1, e^{iθ}) on two wires, `a` < `b`."""

    a: int
    b: int
    theta: float


class Triple(NamedTuple):
    """diag(1, …, 1, -1) on three wires in rising order."""

    a: int
    b: int
    c: int


WireOp = Local | Pair | Triple

_FIRST: Final = -1
"""Name of the segment before any gate; later ones are named by the slot of the gate they follow."""


class _Node(NamedTuple):
    """Where a gate was put: its slot and the segment on each of its wires."""

    slot: int
    segments: tuple[int, ...]


class Merger:
    """Takes gates in program order and keeps the shortest list it can see at once.

    Attributes:
        phase: Global phase γ (rad) so far: what was asked for is e^{iγ} times the list.
        stale: Whether a second pass over the result could find more.
    """

    def __init__(self, n_wires: int, *, from_zero: bool) -> None:
        """Start with no gates.

        Args:
            n_wires: Number of wires.
            from_zero: Every wire starts in state 0, and only the state that results matters.
        """
        self.phase = 0.0
        self.stale = False
        self._from_zero = from_zero
        self._slots: list[WireOp | list[WireOp] | None] = []
        self._pending: list[Matrix2 | None] = [None] * n_wires
        self._shape: list[Shape] = [Shape.DIAGONAL] * n_wires
        # Per wire, from first to current segment: its name, and how many gates lie in it.
        self._names: list[list[int]] = [[_FIRST] for _ in range(n_wires)]
        self._counts: list[list[int]] = [[0] for _ in range(n_wires)]
        self._nodes: dict[tuple[int, ...], list[_Node]] = {}

    def add(self, op: WireOp) -> None:
        """Append any gate."""
        match op:
            case Local():
                self.local(op.wire, op.matrix)
            case Pair():
                self.pair(op.a, op.b, op.theta)
            case Triple():
                self.triple(op.a, op.b, op.c)

    def local(self, wire: int, matrix: Matrix2) -> None:
        """Append a one-qubit gate."""
        held = self._pending[wire]
        held = matrix if held is None else multiply(matrix, held)
        self._pending[wire] = held
        self._shape[wire] = shape(held)

    def pair(self, a: int, b: int, theta: float) -> None:
        """Append CPhase(theta), theta in rad, on wires a and b."""
        if is_zero_angle(theta):
            return
        if a > b:
            a, b = b, a
        for wire, other in ((a, b), (b, a)):
            if self._is_basis_state(wire):
                if self._shape[wire] is Shape.ANTIDIAGONAL:
                    self.local(other, phase_gate(theta))
                return
        for wire in (a, b):
            if self._shape[wire] is Shape.GENERAL:
                self._flush(wire)
        theta = self._push_flips(a, b, theta)
        if not (self._add_angle(a, b, theta) or self._select(a, b, theta)):
            self._place(Pair(a, b, wrap_rad(theta)), (a, b))

    def triple(self, a: int, b: int, c: int) -> None:
        """Append CCZ on wires a, b and c."""
        wires = tuple(sorted((a, b, c)))
        for wire in wires:
            if self._is_basis_state(wire):
                if self._shape[wire] is Shape.ANTIDIAGONAL:
                    first, second = (w for w in wires if w != wire)
                    self.pair(first, second, cmath.pi)
                return
        for wire in wires:
            self._settle(wire)
        nodes = self._nodes.get(wires)
        if nodes and nodes[-1].segments == self._current(wires):
            self._remove(wires)
            for wire in wires:
                self._reopen(wire)
            return
        self._place(Triple(wires[0], wires[1], wires[2]), wires)

    def finish(self) -> list[WireOp]:
        """Return the merged gates in order; the merger must not be used afterwards."""
        for wire in range(len(self._pending)):
            self._settle(wire)
        for wire, held in enumerate(self._pending):
            if held is not None:
                self._finish_wire(wire, held)
        ops: list[WireOp] = []
        for slot in self._slots:
            if isinstance(slot, list):
                ops += slot
            elif slot is not None:
                ops.append(slot)
        return ops

    def _finish_wire(self, wire: int, held: Matrix2) -> None:
        if self._is_basis_state(wire):
            self.phase += cmath.phase(held[0])
        elif self._names[wire][-1] == _FIRST:
            self._slots.append(Local(wire, held))
        else:
            # A diagonal gate at the end commutes back to the last pulse.
            slot = self._names[wire][-1]
            last = self._slots[slot]
            if isinstance(last, list):
                last.append(Local(wire, multiply(held, self._local_of(last.pop()))))
            else:
                self._slots[slot] = Local(wire, multiply(held, self._local_of(last)))

    @staticmethod
    def _local_of(op: WireOp | list[WireOp] | None) -> Matrix2:
        if not isinstance(op, Local):
            raise TypeError(f"a segment starts with a one-qubit gate, not with {op}")
        return op.matrix

    def _is_basis_state(self, wire: int) -> bool:
        return (
            self._from_zero
            and len(self._names[wire]) == 1
            and self._shape[wire] is not Shape.GENERAL
        )

    def _current(self, wires: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([self._names[wire][-1] for wire in wires])

    def _place(self, op: Pair | Triple, wires: tuple[int, ...]) -> None:
        self._nodes.setdefault(wires, []).append(_Node(len(self._slots), self._current(wires)))
        self._slots.append(op)
        for wire in wires:
            self._counts[wire][-1] += 1

    def _remove(self, wires: tuple[int, ...]) -> None:
        """Take back the last gate on these wires."""
        node = self._nodes[wires].pop()
        self._slots[node.slot] = None
        for wire, segment in zip(wires, node.segments, strict=True):
            # The segment is the current one or the one before.
            position = -1 if self._names[wire][-1] == segment else -2
            self._counts[wire][position] -= 1

    def _flush(self, wire: int) -> None:
        """Write the waiting gate of a wire, which starts a new segment."""
        held = self._pending[wire]
        if held is None:
            return
        self._names[wire].append(len(self._slots))
        self._counts[wire].append(0)
        self._slots.append(Local(wire, held))
        self._pending[wire] = None
        self._shape[wire] = Shape.DIAGONAL

    def _settle(self, wire: int) -> None:
        """Leave no waiting gate on a wire but a diagonal one."""
        held_shape = self._shape[wire]
        if held_shape is Shape.GENERAL or (
            held_shape is Shape.ANTIDIAGONAL and not self._pull_flip(wire)
        ):
            self._flush(wire)

    def _pull_flip(self, wire: int) -> bool:
        """Move a waiting antidiagonal gate into the gate before its segment, if that is possible.

        X_a·CPhase(θ) = P_b(θ)·CPhase(-θ)·X_a, for each CPhase of the segment.
        """
        segment = self._names[wire][-1]
        opener = self._slots[segment] if segment != _FIRST else None
        inside = [
            (on, node)
            for on, nodes in self._nodes.items()
            if wire in on
            for node in nodes
            if node.segments[on.index(wire)] == segment
        ]
        if not isinstance(opener, Local) or len(inside) != self._counts[wire][-1]:
            return False
        if any(len(on) > 2 for on, _ in inside):
            return False
        for (a, b), node in inside:
            gate = self._slots[node.slot]
            if isinstance(gate, Pair):
                self._slots[node.slot] = Pair(a, b, wrap_rad(-gate.theta))
                other, other_segment = (b, node.segments[1]) if wire == a else (a, node.segments[0])
                self._end_segment_with(other, other_segment, phase_gate(gate.theta))
        held = self._pending[wire] or IDENTITY
        self._slots[segment] = Local(wire, multiply(held, opener.matrix))
        self._pending[wire] = None
        self._shape[wire] = Shape.DIAGONAL
        return True

    def _end_segment_with(self, wire: int, segment: int, diagonal: Matrix2) -> None:
        """Insert a diagonal gate into a segment, as part of the gate that follows it."""
        names = self._names[wire]
        position = names.index(segment) + 1
        if position == len(names):
            self._local_before_pending(wire, diagonal)
            return
        slot = self._slots[names[position]]
        if isinstance(slot, list):
            slot[0] = Local(wire, multiply(self._local_of(slot[0]), diagonal))
        else:
            self._slots[names[position]] = Local(wire, multiply(self._local_of(slot), diagonal))

    def _reopen(self, wire: int) -> None:
        """Take the gate before an empty current segment back into the waiting gate."""
        names, counts = self._names[wire], self._counts[wire]
        while counts[-1] == 0 and len(names) > 1:
            slot = self._slots[names[-1]]
            if not isinstance(slot, Local):
                return
            self._slots[names[-1]] = None
            names.pop()
            counts.pop()
            held = self._pending[wire]
            self._pending[wire] = slot.matrix if held is None else multiply(held, slot.matrix)
            self._shape[wire] = shape(self._pending[wire] or IDENTITY)

    def _push_flips(self, a: int, b: int, theta: float) -> float:
        """Move waiting antidiagonal gates behind CPhase(theta); return the angle it then has."""
        late_on_b = 0.0
        if self._shape[a] is Shape.ANTIDIAGONAL:
            late_on_b = theta
            theta = -theta
        if self._shape[b] is Shape.ANTIDIAGONAL:
            # This phase arises between the CPhase and the gate that waits on `a`.
            self._pending[a] = multiply(self._pending[a] or IDENTITY, phase_gate(theta))
            theta = -theta
        if late_on_b:
            self._pending[b] = multiply(phase_gate(late_on_b), self._pending[b] or IDENTITY)
        return theta

    def _add_angle(self, a: int, b: int, theta: float) -> bool:
        """Add to a CPhase in the same two segments, if there is one."""
        nodes = self._nodes.get((a, b))
        if not nodes or nodes[-1].segments != (self._names[a][-1], self._names[b][-1]):
            return False
        slot = nodes[-1].slot
        before = self._slots[slot]
        if not isinstance(before, Pair):
            return False
        total = wrap_rad(before.theta + theta)
        if is_zero_angle(total):
            self._remove((a, b))
            self._reopen(a)
            self._reopen(b)
        else:
            self._slots[slot] = Pair(a, b, total)
        return True

    def _select(self, a: int, b: int, theta: float) -> bool:
        """Merge with a CPhase that shares a segment on one wire and is one gate away on the other.

        With U the gate between, the shared wire selects U or D(θ)·U·D(θ') on the other wire,
        D = diag(1, e^{i…}). Their quotient is V·diag(e^{iα}, e^{iβ})·V†, so that the whole is
        V·CPhase(β - α)·P(α)·V†·U, with P on the shared wire.
        """
        nodes = self._nodes.get((a, b))
        if not nodes:
            return False
        segment_a, segment_b = nodes[-1].segments
        if segment_a == self._names[a][-1]:
            shared, other, segment = a, b, segment_b
        elif segment_b == self._names[b][-1]:
            shared, other, segment = b, a, segment_a
        else:
            return False
        names = self._names[other]
        if len(names) < 2 or names[-2] != segment:
            return False
        between, before = self._slots[names[-1]], self._slots[nodes[-1].slot]
        if not (isinstance(between, Local) and isinstance(before, Pair)):
            return False
        gate = between.matrix
        selected = multiply(
            phase_gate(theta), multiply(multiply(gate, phase_gate(before.theta)), dagger(gate))
        )
        first, gap, vectors = spectrum(selected)
        self._remove((a, b))
        self._local_before_pending(shared, phase_gate(first))
        if is_zero_angle(gap):
            self._drop_empty(other)
            self._reopen(other)
            self._reopen(shared)
            return True
        inner = multiply(dagger(vectors), gate)
        self.stale = self.stale or shape(inner) is not Shape.GENERAL
        if self._counts[other][-1] == 0:
            self._slots[names[-1]] = Local(other, inner)
            self._place(Pair(a, b, gap), (a, b))
            self._local_before_pending(other, vectors)
        else:
            self._slots[names[-1]] = [
                Local(other, inner),
                Pair(a, b, gap),
                Local(other, vectors),
            ]
            self._counts[shared][-1] += 1
            self.stale = True
        self._drop_empty(other)
        return True

    def _local_before_pending(self, wire: int, matrix: Matrix2) -> None:
        """Insert a one-qubit gate between the list and the waiting gate of a wire."""
        held = self._pending[wire]
        held = matrix if held is None else multiply(held, matrix)
        self._pending[wire] = held
        self._shape[wire] = shape(held)

    def _drop_empty(self, wire: int) -> None:
        """Join the gates around the segment before the current one, if that is empty."""
        names, counts = self._names[wire], self._counts[wire]
        if len(names) < 3 or counts[-2] != 0:
            return
        earlier, later = self._slots[names[-2]], self._slots[names[-1]]
        if not isinstance(earlier, Local):
            return
        if isinstance(later, list):
            later[0] = Local(wire, multiply(self._local_of(later[0]), earlier.matrix))
            self._slots[names[-2]] = None
        elif isinstance(later, Local):
            self._slots[names[-1]] = Local(wire, multiply(later.matrix, earlier.matrix))
            self._slots[names[-2]] = None
        # Gates that this brings next to each other have been placed already.
        self.stale = True
        del names[-2], counts[-2]
