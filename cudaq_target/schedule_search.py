"""Compiled list scheduler behind `schedule`: orders pulses on one Rydberg and one Raman beam.

A Rydberg gate opens its control (π), drives one or more targets, closes the control (π). While a
control is open, every CPhase that shares it costs one target pulse only (fan-out), and Raman pulses
on other atoms run in its shadow. The search is greedy in time with random preferences, repeated;
the shortest timeline wins.

Actions are rows `(beam, role, op, atom, start_ns, duration_ns)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from cudaq_target.kernels.jit import compiled, next_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

RYDBERG, RAMAN = 0, 1
# Typed, so that the compiler makes one version of each function and not one per constant.
ROTATE, OPEN, TARGET, CLOSE, CCZ_PART = cast("tuple[int, ...]", tuple(np.arange(5)))
# Columns of an action row.
BEAM, ROLE, OP, ATOM, START, DURATION = range(6)
_NOBODY = cast("int", np.int64(-1))


class Channel(NamedTuple):
    """Timing rules of one beam (ns)."""

    clock_ns: int
    min_duration_ns: int
    min_retarget_ns: int
    fixed_retarget_ns: int


class Problem(NamedTuple):
    """Gates on atoms, as arrays; an atom's U3s cut its time into intervals 0, 1, 2, and so on.

    Attributes:
        n_rotations: U3s of each atom, shape (n_atoms,).
        rotation_ns: Duration of each U3 (ns), shape (n_atoms, max of n_rotations).
        atoms: Atoms of each entangling gate, -1 where unused, shape (n_gates, 3). For a CCZ in
            the order first control, second control, target.
        intervals: Interval of each of these atoms in which the gate lies, shape (n_gates, 3).
        pulse_ns: Duration of the target pulse of a CPhase (ns), or of the three different pulses
            of a CCZ in the order of `atoms`, shape (n_gates, 3).
        open_ns: Duration of the π pulse that opens or closes a control (ns).
        padding_ns: Time without drive at both ends (ns).
        rydberg: Rules of the Rydberg beam.
        raman: Rules of the Raman beam.
    """

    n_rotations: NDArray[np.int64]
    rotation_ns: NDArray[np.int64]
    atoms: NDArray[np.int64]
    intervals: NDArray[np.int64]
    pulse_ns: NDArray[np.int64]
    open_ns: int
    padding_ns: int
    rydberg: Channel
    raman: Channel


class Tape(NamedTuple):
    """A timeline while it grows; compiled code changes the arrays in place.

    Attributes:
        actions: Rows as above, shape (room, 6).
        beams: End of the last instruction, current target, end of the last target instruction
            of the Rydberg and the Raman beam, shape (2, 3).
        free: When each atom's last pulse ends (ns), shape (n_atoms,).
        counters: Number of actions, and the open control or -1.
    """

    actions: NDArray[np.int64]
    beams: NDArray[np.int64]
    free: NDArray[np.int64]
    counters: NDArray[np.int64]


@compiled
def _round_up(time_ns: int, channel: Channel) -> int:
    if time_ns <= 0:
        return 0
    time_ns = max(time_ns, channel.min_duration_ns)
    return -(-time_ns // channel.clock_ns) * channel.clock_ns


@compiled
def _start(
    beam: NDArray[np.int64], atom: int, ready: int, channel: Channel, padding: int
) -> tuple[int, int]:
    """Earliest start of a pulse on `atom` and the end of the target instruction before it.

    `beam` is (end of last instruction, current target, end of last target instruction). The
    retarget interval counts from the end of the last target instruction; waits shorter than the
    shortest delay are stretched to it (Pulser 1.9 enforces both).
    """
    end, target, last_retarget = beam[0], beam[1], beam[2]
    if target == _NOBODY:
        free = padding
        last_retarget = 0
    elif target == atom:
        free = end
    else:
        wait = min(max(channel.min_retarget_ns - (end - last_retarget), 0), channel.min_retarget_ns)
        free = end + _round_up(max(wait, channel.fixed_retarget_ns), channel)
        last_retarget = free
    return free + _round_up(ready - free, channel), last_retarget


@compiled
def _tape(problem: Problem, n_actions: int) -> Tape:
    """Two idle beams, no actions."""
    beams = np.zeros((2, 3), dtype=np.int64)
    beams[:, 1] = _NOBODY
    return Tape(
        np.zeros((n_actions, 6), dtype=np.int64),
        beams,
        np.zeros(problem.n_rotations.shape[0], dtype=np.int64),
        np.array([0, _NOBODY]),
    )


@compiled
def _append(problem: Problem, tape: Tape, role: int, op: int, atom: int) -> None:
    """Put one pulse on its beam, as early as beam and atom allow."""
    if role == ROTATE:
        duration = problem.rotation_ns[atom, op]
    elif role in (OPEN, CLOSE):
        duration = problem.open_ns
    elif role == TARGET:
        duration = problem.pulse_ns[op, 0]
    else:
        part = role - CCZ_PART
        duration = problem.pulse_ns[op, part if part < 3 else 4 - part]
    beam = RAMAN if role == ROTATE else RYDBERG
    channel = problem.raman if role == ROTATE else problem.rydberg
    start, last_retarget = _start(
        tape.beams[beam], atom, tape.free[atom], channel, problem.padding_ns
    )
    tape.beams[beam, 0] = start + duration
    tape.beams[beam, 1] = atom
    tape.beams[beam, 2] = last_retarget
    tape.free[atom] = start + duration
    row = tape.actions[tape.counters[0]]
    row[0], row[1], row[2], row[3], row[4], row[5] = beam, role, op, atom, start, duration
    tape.counters[0] += 1
    if role == OPEN:
        tape.counters[1] = atom
    elif role == CLOSE:
        tape.counters[1] = _NOBODY


@compiled
def _end(problem: Problem, tape: Tape) -> int:
    end: int = max(tape.beams[RYDBERG, 0], tape.beams[RAMAN, 0])
    return end + problem.padding_ns


@compiled
def _tails(problem: Problem) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Length of the longest chain of pulses that must follow each U3 and each gate (ns)."""
    n_atoms, n_columns = problem.rotation_ns.shape
    n_gates = problem.atoms.shape[0]
    after_rotation = np.zeros((n_atoms, n_columns + 1), dtype=np.int64)
    after_gate = np.zeros(n_gates, dtype=np.int64)
    # Gates are in program order, so one backward sweep per change settles; depth bounds the sweeps.
    for _ in range(n_gates + 1):
        changed = False
        for gate in range(n_gates - 1, -1, -1):
            longest = 0
            for j in range(3):
                atom = problem.atoms[gate, j]
                if atom >= 0 and problem.intervals[gate, j] < problem.n_rotations[atom]:
                    k = problem.intervals[gate, j]
                    longest = max(longest, problem.rotation_ns[atom, k] + after_rotation[atom, k])
            if longest > after_gate[gate]:
                after_gate[gate] = longest
                changed = True
            total = after_gate[gate] + problem.pulse_ns[gate, 0]
            for j in range(3):
                atom = problem.atoms[gate, j]
                if atom >= 0 and problem.intervals[gate, j] > 0:
                    k = problem.intervals[gate, j] - 1
                    if total > after_rotation[atom, k]:
                        after_rotation[atom, k] = total
                        changed = True
        if not changed:
            break
    return after_rotation, after_gate


@compiled
def _best_rotation(
    problem: Problem,
    tape: Tape,
    interval: NDArray[np.int64],
    left: NDArray[np.int64],
    after_rotation: NDArray[np.int64],
    weights: NDArray[np.float64],
    random: NDArray[np.int64],
) -> tuple[int, int]:
    """The atom whose U3 should come next, and its start."""
    best, best_score, best_start = _NOBODY, np.inf, 0
    for atom in range(interval.shape[0]):
        k = interval[atom]
        if atom == tape.counters[1] or k >= problem.n_rotations[atom] or left[atom, k] > 0:
            continue
        start, _ = _start(
            tape.beams[RAMAN], atom, tape.free[atom], problem.raman, problem.padding_ns
        )
        score = start - weights[3] * after_rotation[atom, k] + weights[4] * next_uniform(random)
        if score < best_score:
            best, best_score, best_start = atom, score, start
    return best, best_start


@compiled
def _is_ready(problem: Problem, gate: int, interval: NDArray[np.int64]) -> bool:
    for j in range(3):
        atom = problem.atoms[gate, j]
        if atom >= 0 and interval[atom] != problem.intervals[gate, j]:
            return False
    return True


@compiled
def _last_gates(problem: Problem) -> NDArray[np.int64]:
    """One more than the number of each atom's last gate in each of its intervals, or 0."""
    n_atoms, n_columns = problem.rotation_ns.shape
    last = np.zeros((n_atoms, n_columns + 1), dtype=np.int64)
    for gate in range(problem.atoms.shape[0]):
        for j in range(3):
            if problem.atoms[gate, j] >= 0:
                last[problem.atoms[gate, j], problem.intervals[gate, j]] = gate + 1
    return last


@compiled
def _move_window(
    window: NDArray[np.int64],
    done: NDArray[np.bool_],
    last: NDArray[np.int64],
    interval: NDArray[np.int64],
) -> None:
    """Enclose the gates of which an atom is in its present interval: (first, one behind the last).

    Gates are in program order, so that what comes later waits for a U3. Without this the time of a
    pass would grow with the square of the number of gates.
    """
    while window[0] < done.size and done[window[0]]:
        window[0] += 1
    window[1] = window[0]
    for atom in range(interval.shape[0]):
        window[1] = max(window[1], last[atom, interval[atom]])


@compiled
def _fan_degrees(
    problem: Problem,
    window: NDArray[np.int64],
    done: NDArray[np.bool_],
    interval: NDArray[np.int64],
    half: float,
) -> NDArray[np.float64]:
    """CPhases each atom could control now (weight 1) or once its partner is ready (weight half)."""
    degree = np.zeros(interval.shape[0])
    for gate in range(window[0], window[1]):
        if done[gate] or problem.atoms[gate, 2] >= 0:
            continue
        weight = 1.0 if _is_ready(problem, gate, interval) else half
        for j in range(2):
            atom = problem.atoms[gate, j]
            if interval[atom] == problem.intervals[gate, j]:
                degree[atom] += weight
    return degree


@compiled
def _pulse_start(problem: Problem, tape: Tape, control: int, target: int) -> int:
    """Start of a target pulse, closing the open control and opening another one if needed."""
    beam = tape.beams[RYDBERG].copy()
    open_atom = tape.counters[1]
    if open_atom != control:
        for atom in (open_atom, control):
            if atom >= 0:
                start, last = _start(
                    beam, atom, tape.free[atom], problem.rydberg, problem.padding_ns
                )
                beam[0], beam[1], beam[2] = start + problem.open_ns, atom, last
    start, _ = _start(beam, target, tape.free[target], problem.rydberg, problem.padding_ns)
    return start


@compiled
def _best_gate(
    problem: Problem,
    tape: Tape,
    window: NDArray[np.int64],
    interval: NDArray[np.int64],
    done: NDArray[np.bool_],
    after_gate: NDArray[np.int64],
    weights: NDArray[np.float64],
    random: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """The gate that should come next, with its control and target, and its start."""
    degree = _fan_degrees(problem, window, done, interval, weights[5])
    open_atom = tape.counters[1]
    best, best_control, best_target = _NOBODY, _NOBODY, _NOBODY
    best_score, best_start = np.inf, 0
    for gate in range(window[0], window[1]):
        if done[gate] or not _is_ready(problem, gate, interval):
            continue
        n_roles = 1 if problem.atoms[gate, 2] >= 0 else 2
        for role in range(n_roles):
            control, target = problem.atoms[gate, role], problem.atoms[gate, 1 - role]
            start = _pulse_start(problem, tape, control, target)
            score = start - weights[0] * (degree[control] - 1.0) - weights[1] * after_gate[gate]
            if open_atom >= 0 and control != open_atom:
                score += weights[2] * degree[open_atom]
            score += weights[4] * next_uniform(random)
            if score < best_score:
                best_score, best_start = score, start
                best, best_control, best_target = gate, control, target
    return best, best_control, best_target, best_start


@compiled
def _play_gate(problem: Problem, tape: Tape, gate: int, control: int, target: int) -> None:
    """Append a gate, closing the open control and opening another one where needed."""
    is_ccz = problem.atoms[gate, 2] >= 0
    if tape.counters[1] != _NOBODY and (is_ccz or tape.counters[1] != control):
        _append(problem, tape, CLOSE, _NOBODY, tape.counters[1])
    if is_ccz:
        for part in range(5):
            member = problem.atoms[gate, part if part < 3 else 4 - part]
            _append(problem, tape, CCZ_PART + part, gate, member)
        return
    if tape.counters[1] == _NOBODY:
        _append(problem, tape, OPEN, _NOBODY, control)
    _append(problem, tape, TARGET, gate, target)


@compiled
def _run_once(
    problem: Problem,
    tails: tuple[NDArray[np.int64], NDArray[np.int64]],
    left_at_start: NDArray[np.int64],
    weights: NDArray[np.float64],
    random: NDArray[np.int64],
) -> Tape:
    """One greedy pass."""
    n_gates = problem.atoms.shape[0]
    tape = _tape(problem, problem.n_rotations.sum() + 5 * n_gates)
    interval = np.zeros(problem.n_rotations.shape[0], dtype=np.int64)
    left = left_at_start.copy()
    done = np.zeros(n_gates, dtype=np.bool_)
    last, window = _last_gates(problem), np.zeros(2, dtype=np.int64)
    while True:
        _move_window(window, done, last, interval)
        atom, raman_start = _best_rotation(problem, tape, interval, left, tails[0], weights, random)
        gate, control, target, gate_start = _best_gate(
            problem, tape, window, interval, done, tails[1], weights, random
        )
        if atom == _NOBODY and gate == _NOBODY:
            return tape
        # Earlier starts first, so that each decision knows everything that happens before it.
        if atom != _NOBODY and (gate == _NOBODY or raman_start <= gate_start):
            _append(problem, tape, ROTATE, interval[atom], atom)
            interval[atom] += 1
            continue
        _play_gate(problem, tape, gate, control, target)
        done[gate] = True
        for j in range(3):
            member = problem.atoms[gate, j]
            if member >= 0:
                left[member, interval[member]] -= 1
        still_open = tape.counters[1]
        if still_open >= 0 and left[still_open, interval[still_open]] == 0:
            _append(problem, tape, CLOSE, _NOBODY, still_open)


@compiled
def _search(problem: Problem, n_tries: int, seed: int) -> tuple[NDArray[np.int64], int]:
    n_atoms, n_columns = problem.rotation_ns.shape
    left = np.zeros((n_atoms, n_columns + 1), dtype=np.int64)
    for gate in range(problem.atoms.shape[0]):
        for j in range(3):
            if problem.atoms[gate, j] >= 0:
                left[problem.atoms[gate, j], problem.intervals[gate, j]] += 1
    tails = _tails(problem)
    random = np.array([seed])
    # (fan-out degree, chain length after a gate, leaving an open control, chain length after a U3,
    #  noise, weight of a partner that is not ready); the first try is a sensible guess.
    weights = np.array([110.0, 0.3, 150.0, 0.5, 0.0, 0.5])
    best = _run_once(problem, tails, left, weights, random)
    for _ in range(n_tries - 1):
        weights[0] = 330.0 * next_uniform(random)
        weights[1] = 1.5 * next_uniform(random) ** 2
        weights[2] = 500.0 * next_uniform(random)
        weights[3] = 1.5 * next_uniform(random)
        weights[4] = 200.0 * next_uniform(random) ** 2
        weights[5] = next_uniform(random)
        tape = _run_once(problem, tails, left, weights, random)
        if _end(problem, tape) < _end(problem, best):
            best = tape
    return best.actions[: best.counters[0]].copy(), _end(problem, best)


@compiled
def _replay(problem: Problem, actions: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Same order, new durations: recompute every start."""
    tape = _tape(problem, actions.shape[0])
    for i in range(actions.shape[0]):
        _append(problem, tape, actions[i, 1], actions[i, 2], actions[i, 3])
    return tape.actions, _end(problem, tape)


def search(problem: Problem, n_tries: int, seed: int) -> tuple[NDArray[np.int64], int]:
    """Find a short timeline.

    Args:
        problem: Gates and rules.
        n_tries: Number of greedy passes.
        seed: Seed of the preferences; equal seeds give equal timelines.

    Returns:
        Actions in the order of decisions, shape (n_actions, 6), and the end of the timeline with
        padding (ns).
    """
    actions, end_ns = _search(problem, n_tries, seed)
    return actions, int(end_ns)


def replay(problem: Problem, actions: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Time the same actions again with the durations of `problem`.

    Args:
        problem: Gates with (possibly other) durations.
        actions: Actions of an earlier search on the same gates, shape (n_actions, 6).

    Returns:
        Actions with new starts, and the end of the timeline with padding (ns).
    """
    timed, end_ns = _replay(problem, actions)
    return timed, int(end_ns)
