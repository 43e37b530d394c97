"""What Rydberg pulses do, read back from the pulses alone."""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.excitations import excitations, fan_outs, played_gates
from cudaq_target.native_ops import CCZ, CPhase
from tests.target.compiled import programs


def test_one_block_opens_targets_closes() -> None:
    played = excitations(programs()["ghz4"].timeline)
    assert [entry.role for entry in played] == ["open", "target", "close"] * 3
    for opening, target, closing in zip(played[::3], played[1::3], played[2::3], strict=True):
        assert opening.slot.atom == closing.slot.atom
        assert target.controls == (opening.slot.atom,)


@pytest.mark.parametrize("name", ["ghz4", "qft5", "ccz", "odd", "mock", "ghz12"])
def test_played_gates_are_those_of_the_native_circuit(name: str) -> None:
    program = programs()[name]
    assert program.lowered is not None
    wanted = sorted(
        (tuple(sorted((op.a, op.b))), round(op.theta, 8))
        for op in program.lowered.native.ops
        if isinstance(op, CPhase)
    )
    gates = played_gates(program.timeline)
    cphases = [gate for gate in gates if len(gate.atoms) == 2]
    assert sorted((tuple(sorted(g.atoms)), round(g.theta_rad, 8)) for g in cphases) == wanted
    assert all(gate.residual < 1e-9 for gate in gates)
    n_ccz = sum(isinstance(op, CCZ) for op in program.lowered.native.ops)
    assert len(gates) - len(cphases) == n_ccz
    assert len(gates) == program.stats.n_entangling


def test_ccz_has_two_controls_and_is_no_fan_out() -> None:
    played = excitations(programs()["ccz"].timeline)
    assert [entry.role for entry in played] == ["open", "open", "target", "close", "close"]
    assert len(played[2].controls) == 2
    assert fan_outs(played) == ()


def test_fan_outs_count_all_cphases() -> None:
    counts = fan_outs(excitations(programs()["qft5"].timeline))
    assert sum(counts) == programs()["qft5"].stats.n_entangling
    assert max(counts) > 1


def test_distances_are_those_of_the_register() -> None:
    timeline = programs()["mock"].timeline
    for gate in played_gates(timeline):
        a, b = timeline.coordinates_um[list(gate.atoms)]
        assert gate.distance_um == pytest.approx(float(np.linalg.norm(a - b)))
