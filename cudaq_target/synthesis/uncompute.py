"""Compute and uncompute: flips whose stray phases cancel, and which are cheaper therefore.

An exact X with two controls takes five CPhases. Up to phases that depend on its controls it takes
four, up to phases that depend on all its qubits three. Kernels write such gates in pairs (carry
chains, conjunctions on work qubits): the phases of a gate cancel against those of its partner
when everything between them is diagonal on the qubits that the phases depend on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.circuit import Gate

_DIAGONAL: Final = frozenset({"z", "s", "t", "r1", "rz"})


@dataclass(frozen=True, slots=True)
class Style:
    """How a flip may be written.

    Attributes:
        relative: Phases may depend on all qubits, not only on the controls.
        inverse: This is the second of a pair, hence the inverse of the first.
    """

    relative: bool
    inverse: bool


def flip_styles(gates: Sequence[Gate]) -> dict[int, Style]:
    """Find pairs of equal X gates with two or more controls, between which phases cancel.

    Args:
        gates: In program order.

    Returns:
        Style by position in `gates`, for the members of pairs.
    """
    candidates = [i for i, g in enumerate(gates) if g.name == "x" and len(g.controls) > 1]
    styles: dict[int, Style] = {}
    for index in candidates:
        if index in styles:
            continue
        found = _partner(gates, index)
        if found is not None and found[0] not in styles:
            partner, relative = found
            styles[index] = Style(relative=relative, inverse=False)
            styles[partner] = Style(relative=relative, inverse=True)
    return styles


def _partner(gates: Sequence[Gate], index: int) -> tuple[int, bool] | None:
    """Return the position of the partner, and whether phases may depend on the target too."""
    gate = gates[index]
    controls, target = frozenset(gate.controls), gate.targets[0]
    relative = True
    for position in range(index + 1, len(gates)):
        other = gates[position]
        if other.name == "x" and other.targets[0] == target and set(other.controls) == controls:
            return position, relative
        changed = _changed_qubits(other)
        if not controls.isdisjoint(changed):
            return None
        relative = relative and target not in changed
    return None


def _changed_qubits(gate: Gate) -> tuple[int, ...]:
    """Return the qubits on which a gate is not diagonal."""
    if gate.name == "exp_pauli":
        return tuple(q for q, p in zip(gate.targets, gate.pauli, strict=True) if p in "XY")
    return () if gate.name in _DIAGONAL else gate.targets
