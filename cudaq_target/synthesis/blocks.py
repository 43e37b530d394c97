"""Runs of gates on one pair of wires, written anew where that saves CPhases.

A run alternates between CPhases of the pair and one-qubit gates on both of its wires. As a 4x4
unitary it needs at most three CPhases, two when one of its wires starts in |0>, one when both do,
and possibly fewer when the two wires exchange their names at its end. Other gates may lie between
the members of a run in the list, if they commute to its front or its back.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cudaq_target.synthesis import weyl
from cudaq_target.synthesis.merge import Local, Pair, Triple, WireOp
from cudaq_target.synthesis.one_qubit import Matrix2, is_zero_angle, ry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LONGEST: Final = 64
"""Longer runs are taken in pieces of this many CPhases; every piece shrinks to three."""


class _Member(NamedTuple):
    """A CPhase of a pair: position in the list, and its segment on each of the two wires."""

    position: int
    segment_a: int
    segment_b: int


@dataclass(frozen=True, slots=True)
class _Program:
    """Gates, and the segments of all wires (see `merge`).

    Attributes:
        ops: The gates.
        from_zero: All wires start in state 0, and only the final state matters.
        may_exchange: The content of two wires may end exchanged.
        opened: Per wire, position of the one-qubit gate that opens segment 1, 2, …
        held: Per wire, number of entangling gates in segment 0, 1, …
        segments: Per position, segment on each wire of the gate, in the order of `wires_of`.
    """

    ops: Sequence[WireOp]
    from_zero: bool
    may_exchange: bool
    opened: list[list[int]]
    held: list[list[int]]
    segments: list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run and what replaces it.

    Attributes:
        a: First wire.
        b: Second wire.
        members: Positions of its gates.
        front: Positions of other gates that move before it.
        back: Positions of other gates that move behind it.
        first: Position of its first gate that is not a preparation from |0>.
        last: Position of its last gate.
        gates: What replaces it.
        phase: Global phase (rad) of the replacement.
        exchanged: The wires exchange their names behind it.
    """

    a: int
    b: int
    members: frozenset[int]
    front: tuple[int, ...]
    back: tuple[int, ...]
    first: int
    last: int
    gates: tuple[WireOp, ...]
    phase: float
    exchanged: bool


class Consolidated(NamedTuple):
    """A list of gates after `consolidate`.

    Attributes:
        ops: The gates.
        phase: Global phase (rad) that was split off.
        wire_of: Wire on which the content of each former wire ends.
    """

    ops: list[WireOp]
    phase: float
    wire_of: list[int]


def consolidate(
    ops: Sequence[WireOp], n_wires: int, *, from_zero: bool, may_exchange: bool
) -> Consolidated | None:
    """Rewrite every run that gets shorter, in one sweep.

    Args:
        ops: Merged gates (see `merge`).
        n_wires: Number of wires.
        from_zero: All wires start in state 0, and only the final state matters.
        may_exchange: The content of two wires may end exchanged.

    Returns:
        The new list, which should be merged again, or None if no run gets shorter.
    """
    candidates = _repeated_pairs(ops)
    if not candidates:
        return None
    program = _Program(ops, from_zero, may_exchange, *_segments(ops, n_wires))
    runs: list[_Run] = []
    resume = -1
    members_of = _members(program, candidates)
    starts = sorted(
        (member.position, key, index)
        for key, members in members_of.items()
        for index, member in enumerate(members[:-1])
    )
    for position, key, index in starts:
        if position <= resume:
            continue
        chain = _chain(program, key, members_of[key], index)
        run = _shorter_run(program, key, chain)
        if run is not None and min(run.members) > resume:
            runs.append(run)
            resume = run.last
    return _rebuild(ops, n_wires, runs) if runs else None


def wires_of(op: WireOp) -> tuple[int, ...]:
    """Return the wires of a gate."""
    match op:
        case Local():
            return (op.wire,)
        case Pair():
            return (op.a, op.b)
        case Triple():
            return (op.a, op.b, op.c)


def _repeated_pairs(ops: Sequence[WireOp]) -> frozenset[tuple[int, int]]:
    count: dict[tuple[int, int], int] = defaultdict(int)
    for op in ops:
        if isinstance(op, Pair):
            count[op.a, op.b] += 1
    return frozenset(key for key, n in count.items() if n > 1)


def _segments(
    ops: Sequence[WireOp], n_wires: int
) -> tuple[list[list[int]], list[list[int]], list[tuple[int, ...]]]:
    """Return the last three fields of `_Program`."""
    opened: list[list[int]] = [[] for _ in range(n_wires)]
    held: list[list[int]] = [[0] for _ in range(n_wires)]
    segments: list[tuple[int, ...]] = []
    for position, op in enumerate(ops):
        on = wires_of(op)
        if isinstance(op, Local):
            opened[op.wire].append(position)
            held[op.wire].append(0)
        else:
            for wire in on:
                held[wire][-1] += 1
        segments.append(tuple([len(opened[wire]) for wire in on]))
    return opened, held, segments


def _members(
    program: _Program, keys: frozenset[tuple[int, int]]
) -> dict[tuple[int, int], list[_Member]]:
    members: dict[tuple[int, int], list[_Member]] = {key: [] for key in keys}
    for position, op in enumerate(program.ops):
        if isinstance(op, Pair) and (op.a, op.b) in keys:
            members[op.a, op.b].append(_Member(position, *program.segments[position]))
    return members


def _chain(
    program: _Program, key: tuple[int, int], members: Sequence[_Member], index: int
) -> list[_Member]:
    """Return the longest run that starts at a member: each next one is one gate away on both."""
    a, b = key
    chain = [members[index]]
    for following in members[index + 1 : index + _LONGEST]:
        last = chain[-1]
        if (following.segment_a, following.segment_b) != (last.segment_a + 1, last.segment_b + 1):
            break
        inner = len(chain) > 1
        if inner and (program.held[a][last.segment_a] > 1 or program.held[b][last.segment_b] > 1):
            break
        chain.append(following)
    return chain


def _shorter_run(program: _Program, key: tuple[int, int], chain: list[_Member]) -> _Run | None:
    """Return the longest part of a chain, from its start, that gets shorter."""
    while len(chain) > 1:
        sides = _move_others(program, key, chain)
        if sides is not None:
            run = _rewritten(program, key, chain, sides)
            if run is not None:
                return run
        chain = chain[:-1]
    return None


def _move_others(
    program: _Program, key: tuple[int, int], chain: list[_Member]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Split the gates in between into those that move before the run and those behind it.

    Gates in the first segment of a wire commute to the front, gates in the last one to the back;
    a gate that depends on one that moves back must move back too.
    """
    a, b = key
    first, last = chain[0], chain[-1]
    ends = {a: (first.segment_a, last.segment_a), b: (first.segment_b, last.segment_b)}
    members = {member.position for member in chain}
    front: list[int] = []
    back: list[int] = []
    behind: set[int] = set()
    for position in range(first.position + 1, last.position):
        if position in members:
            continue
        op = program.ops[position]
        on = wires_of(op)
        if isinstance(op, Local) and op.wire in ends:
            continue
        inside = [(w, s) for w, s in zip(on, program.segments[position], strict=True) if w in ends]
        must_front = any(s == ends[w][0] for w, s in inside)
        must_back = any(s == ends[w][1] for w, s in inside) or not behind.isdisjoint(on)
        if any(s not in ends[w] for w, s in inside) or (must_front and must_back):
            return None
        if must_back:
            back.append(position)
            behind.update(w for w in on if w not in ends)
        else:
            front.append(position)
    return tuple(front), tuple(back)


def _rewritten(
    program: _Program,
    key: tuple[int, int],
    chain: list[_Member],
    sides: tuple[tuple[int, ...], tuple[int, ...]],
) -> _Run | None:
    """Return a run and its replacement if that has fewer CPhases."""
    a, b = key
    inner: list[int] = []
    for wire, start, stop in (
        (a, chain[0].segment_a, chain[-1].segment_a),
        (b, chain[0].segment_b, chain[-1].segment_b),
    ):
        inner += program.opened[wire][start:stop]
    fresh = [
        program.from_zero and segment == 1 and program.held[wire][1] == 1
        for wire, segment in ((a, chain[0].segment_a), (b, chain[0].segment_b))
    ]
    if (
        not any(fresh)
        and len(chain) == 2
        and not (program.may_exchange and _both_half_turns(program, chain))
    ):
        return None
    openers = [program.opened[w][0] for w, is_fresh in zip(key, fresh, strict=True) if is_fresh]
    members = frozenset([m.position for m in chain] + inner + openers)
    gates = [program.ops[i] for i in sorted(members)]
    replacement = _replacement(gates, key, fresh, len(chain), may_exchange=program.may_exchange)
    if replacement is None:
        return None
    shorter, phase, exchanged = replacement
    return _Run(
        a=a,
        b=b,
        members=members,
        front=sides[0],
        back=sides[1],
        first=chain[0].position,
        last=chain[-1].position,
        gates=tuple(shorter),
        phase=phase,
        exchanged=exchanged,
    )


def _both_half_turns(program: _Program, chain: list[_Member]) -> bool:
    """Tell whether two CPhases are both CZ.

    Two CPhases with general gates between need two, unless the wires may exchange their names; that
    saves one if both coordinates are π/4, hence only if both angles are π.
    """
    gates = (program.ops[member.position] for member in chain)
    return all(isinstance(op, Pair) and is_zero_angle(op.theta - math.pi) for op in gates)


def _replacement(
    gates: list[WireOp],
    key: tuple[int, int],
    fresh: list[bool],
    n_before: int,
    *,
    may_exchange: bool,
) -> tuple[list[WireOp], float, bool] | None:
    """Return gates, global phase (rad) and whether the wires exchange names, if that is shorter."""
    unitary = np.eye(4, dtype=np.complex128)
    for op in gates:
        unitary = _matrix(op, key) @ unitary
    if all(fresh):
        return _prepared(unitary[:, 0], key), 0.0, False
    # A CPhase before a wire has left |0> does nothing; the right one saves others.
    free_angles = (0.0, _free_phase(unitary), math.pi) if any(fresh) else (0.0,)
    best, exchange = n_before, False
    for angle in free_angles:
        candidate = unitary @ np.diag([1, 1, 1, np.exp(1j * angle)])
        direct, exchanged = weyl.n_entangling(candidate)
        if direct < best:
            best, exchange, chosen = direct, False, candidate
        if may_exchange and exchanged < best:
            best, exchange, chosen = exchanged, True, candidate
    if best == n_before:
        return None
    ops, phase = weyl.decompose(weyl.exchange_outputs(chosen) if exchange else chosen, *key)
    return ops, phase, exchange


def _matrix(op: WireOp, key: tuple[int, int]) -> NDArray[np.complex128]:
    match op:
        case Local():
            matrix = np.array(op.matrix, dtype=np.complex128).reshape(2, 2)
            one = np.eye(2, dtype=np.complex128)
            factors = (matrix, one) if op.wire == key[0] else (one, matrix)
            return np.asarray(np.kron(*factors), dtype=np.complex128)
        case Pair():
            return np.diag(np.array([1, 1, 1, np.exp(1j * op.theta)], dtype=np.complex128))
        case Triple():
            raise TypeError("a run on two wires holds no CCZ")


def _free_phase(unitary: NDArray[np.complex128]) -> float:
    """Return ψ (rad) for which U·CPhase(ψ) needs two CPhases only.

    Two suffice where tr(U·YY·Uᵀ·YY) is real for det U = 1 (arXiv:quant-ph/0308033).
    """
    special = unitary / np.linalg.det(unitary) ** 0.25
    yy = np.array([[0, 0, 0, -1], [0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0]])
    form = special.T @ yy @ special
    outer, inner = -complex(form[0, 3]), complex(form[1, 2])
    return 2 * math.atan2(-(outer + inner).imag, (outer - inner).real)


def _prepared(state: NDArray[np.complex128], key: tuple[int, int]) -> list[WireOp]:
    """Return gates that prepare a two-qubit state from |00>, by its Schmidt decomposition."""
    left, schmidt, right = np.linalg.svd(state.reshape(2, 2))
    a, b = key
    half: Matrix2 = tuple(x * math.sqrt(0.5) for x in (1, 1, 1, -1))  # type: ignore[assignment]
    return [
        Local(a, ry(2 * math.atan2(schmidt[1], schmidt[0]))),
        Local(b, half),
        Pair(a, b, math.pi),
        Local(b, half),
        Local(a, tuple(left.ravel().tolist())),
        Local(b, tuple(right.T.ravel().tolist())),
    ]


def _rebuild(ops: Sequence[WireOp], n_wires: int, runs: list[_Run]) -> Consolidated:
    """Put the replacements into the list; behind an exchange, gates change wires."""
    wire_of = list(range(n_wires))
    phase = 0.0
    result: list[WireOp] = []
    gone = frozenset().union(*(run.members for run in runs))
    start = 0
    for run in runs:
        result += [
            _renamed(ops[i], wire_of)
            for i in (*range(start, run.first), *run.front)
            if i not in gone
        ]
        result += [_renamed(op, wire_of) for op in run.gates]
        phase += run.phase
        if run.exchanged:
            wire_of[run.a], wire_of[run.b] = wire_of[run.b], wire_of[run.a]
        result += [_renamed(ops[i], wire_of) for i in run.back]
        start = run.last + 1
    result += [_renamed(op, wire_of) for op in ops[start:]]
    return Consolidated(result, phase, wire_of)


def _renamed(op: WireOp, wire_of: list[int]) -> WireOp:
    match op:
        case Local():
            return Local(wire_of[op.wire], op.matrix)
        case Pair():
            a, b = sorted((wire_of[op.a], wire_of[op.b]))
            return Pair(a, b, op.theta)
        case Triple():
            a, b, c = sorted((wire_of[op.a], wire_of[op.b], wire_of[op.c]))
            return Triple(a, b, c)
