"""Gates to timed channel slots: one Rydberg beam, one Raman beam, each on one atom at a time.

CPhases that share an atom are played as a fan-out from it where that saves time, Raman pulses run
while other atoms are under the Rydberg beam, and no pulse falls on an atom while it may be in the
Rydberg state, except the Rydberg pulses that belong to its own gate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target import schedule_search
from cudaq_target.errors import DeviceLimitError
from cudaq_target.native_ops import CCZ, U3, CPhase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.device import BeamRules, DeviceRules
    from cudaq_target.native_ops import NativeCircuit

# pulser-simulation draws a spline through the samples; 16 ns of silence keep it off the pulses.
PADDING_NS = 16
_SEED = 20260101
# Tries times pulses squared: about 30 ms for 100 gates; more tries gain less than 1 %.
_SEARCH_BUDGET = 4_000_000
_MIN_TRIES, _MAX_TRIES = 32, 200


@dataclass(frozen=True, slots=True)
class Durations:
    """Pulse lengths of a circuit on atoms, in the order of its ops (ns).

    Attributes:
        rotation_ns: One per U3.
        gate_ns: One triple per CPhase (target pulse, 0, 0) or CCZ (its three different pulses).
        open_ns: π pulse that opens or closes a control.
    """

    rotation_ns: Sequence[int]
    gate_ns: Sequence[tuple[int, int, int]]
    open_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Timed actions.

    Attributes:
        actions: Rows (beam, role, op, atom, start_ns, duration_ns) in the order of decisions, with
            the constants of `schedule_search`. `op` counts the U3s of the atom, or the entangling
            gates of the circuit.
        duration_ns: End of the timeline, padding included (ns).
    """

    actions: NDArray[np.int64]
    duration_ns: int


def schedule(native: NativeCircuit, durations: Durations, rules: DeviceRules) -> Schedule:
    """Find a short timeline.

    Args:
        native: Circuit on atoms.
        durations: Pulse lengths.
        rules: The device.

    Returns:
        The shortest timeline found; the same for equal input.

    Raises:
        DeviceLimitError: Even this timeline is longer than the device allows.
    """
    problem = _problem(native, durations, rules)
    size = max(1, len(problem.pulse_ns) + int(problem.n_rotations.sum()))
    tries = int(np.clip(_SEARCH_BUDGET // size**2, _MIN_TRIES, _MAX_TRIES))
    actions, duration_ns = schedule_search.search(problem, tries, _SEED)
    return _checked(actions, duration_ns, rules)


def retime(
    order: Schedule, native: NativeCircuit, durations: Durations, rules: DeviceRules
) -> Schedule:
    """Keep the order of an earlier schedule, with new pulse lengths.

    Args:
        order: Schedule of a circuit of the same structure.
        native: Circuit on atoms.
        durations: New pulse lengths.
        rules: The device.

    Raises:
        DeviceLimitError: The timeline is longer than the device allows.
    """
    problem = _problem(native, durations, rules)
    actions, duration_ns = schedule_search.replay(problem, order.actions)
    return _checked(actions, duration_ns, rules)


def _checked(actions: NDArray[np.int64], duration_ns: int, rules: DeviceRules) -> Schedule:
    clock = math.lcm(rules.rydberg.clock_ns, rules.raman.clock_ns)
    duration_ns = -(-duration_ns // clock) * clock
    if rules.max_sequence_ns is not None and duration_ns > rules.max_sequence_ns:
        raise DeviceLimitError(
            subject=f"a program of {duration_ns} ns",
            limit=f"sequences up to {rules.max_sequence_ns} ns",
            device=rules.name,
            remedy="Use fewer gates, or another device (Pasqal(device=...)).",
        )
    return Schedule(actions, duration_ns)


def _problem(
    native: NativeCircuit, durations: Durations, rules: DeviceRules
) -> schedule_search.Problem:
    rotations: list[list[int]] = [[] for _ in range(native.n_qubits)]
    rotation_ns = iter(durations.rotation_ns)
    atoms: list[tuple[int, int, int]] = []
    intervals: list[tuple[int, int, int]] = []
    for op in native.ops:
        if isinstance(op, U3):
            rotations[op.qubit].append(next(rotation_ns))
        elif isinstance(op, CPhase):
            atoms.append((op.a, op.b, -1))
            intervals.append((len(rotations[op.a]), len(rotations[op.b]), 0))
        elif isinstance(op, CCZ):
            atoms.append((op.a, op.b, op.c))
            intervals.append((len(rotations[op.a]), len(rotations[op.b]), len(rotations[op.c])))
    columns = max((len(r) for r in rotations), default=0) or 1
    table = np.zeros((native.n_qubits, columns), dtype=np.int64)
    for atom, lengths in enumerate(rotations):
        table[atom, : len(lengths)] = lengths
    shape = (len(atoms), 3)
    return schedule_search.Problem(
        n_rotations=np.array([len(r) for r in rotations], dtype=np.int64),
        rotation_ns=table,
        atoms=np.array(atoms, dtype=np.int64).reshape(shape),
        intervals=np.array(intervals, dtype=np.int64).reshape(shape),
        pulse_ns=np.array(durations.gate_ns, dtype=np.int64).reshape(shape),
        open_ns=durations.open_ns,
        padding_ns=_padding(rules),
        rydberg=_channel(rules.rydberg),
        raman=_channel(rules.raman),
    )


def _padding(rules: DeviceRules) -> int:
    longest = max(PADDING_NS, rules.rydberg.min_duration_ns, rules.raman.min_duration_ns)
    clock = math.lcm(rules.rydberg.clock_ns, rules.raman.clock_ns)
    return -(-longest // clock) * clock


def _channel(beam: BeamRules) -> schedule_search.Channel:
    return schedule_search.Channel(
        clock_ns=beam.clock_ns,
        min_duration_ns=beam.min_duration_ns,
        min_retarget_ns=beam.min_retarget_ns,
        fixed_retarget_ns=beam.fixed_retarget_ns,
    )
