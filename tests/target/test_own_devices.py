"""Devices of the user's own: longest pulses, trap layouts, calibrated layouts; end to end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pulser
import pytest
from pulser.channels import Raman, Rydberg
from pulser.register.register_layout import RegisterLayout
from pulser.register.special_layouts import SquareLatticeLayout, TriangularLatticeLayout

from cudaq_target import native as native_stage
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.device import DeviceRules, resolve
from cudaq_target.errors import DeviceLimitError, OptionError, Source
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import Program, compile_circuit
from tests.target.circuits_on_atoms import state

HERE = Source("hand", 1)
LOCAL = LocalMachine()
MHZ = 2.0 * np.pi


def own_device(max_pulse_ns: int = 6000, **changes: object) -> DeviceRules:
    """A Rydberg level of 60 interacts about six times less than that of the bundled device."""
    common = {"max_targets": 1, "min_duration": 16, "clock_period": 4, "fixed_retarget_t": 0}
    device = pulser.devices.Device(
        **{
            "name": "OwnDevice",
            "dimensions": 2,
            "rydberg_level": 60,
            "max_atom_num": 60,
            "max_radial_distance": 60,
            "min_atom_distance": 4,
            "channel_objects": (
                Rydberg.Local(
                    40 * MHZ, 10 * MHZ, max_duration=max_pulse_ns, min_retarget_interval=220,
                    **common,
                ),
                Raman.Local(
                    40 * MHZ, 10 * MHZ, max_duration=10000, min_retarget_interval=220, **common
                ),
            ),
        }
        | changes
    )  # fmt: skip
    return resolve(device)


def gate(name: str, *targets: int, controls: tuple[int, ...] = (), params=()) -> Gate:
    return Gate(name, targets, HERE, controls=controls, params=tuple(params))


def random_circuit(n: int, n_gates: int, seed: int) -> Circuit:
    """Gates between any two qubits, near or far."""
    rng = np.random.default_rng(seed)
    gates: list[Gate] = []
    for _ in range(n_gates):
        a, b = (int(q) for q in rng.permutation(n)[:2])
        gates.append(gate("u3", a, params=rng.uniform(-3, 3, 3)))
        if rng.integers(2):
            gates.append(gate("x", b, controls=(a,)))
        else:
            gates.append(gate("r1", b, controls=(a,), params=(float(rng.uniform(-3, 3)),)))
    return Circuit("random", n, tuple(gates))


def longest_pulse_ns(program: Program) -> int:
    return max(slot.pulse.duration_ns for slot in program.timeline.slots if slot.beam == "rydberg")


@pytest.mark.parametrize("n", [16, 24, 30])
def test_gates_beyond_the_longest_pulse_are_reached_by_swaps(n: int) -> None:
    program = compile_circuit(random_circuit(n, 6 * n, n), own_device())
    assert program.stats.n_swaps > 0
    assert longest_pulse_ns(program) <= 6000
    assert program.sequence.get_duration() == program.stats.duration_ns


@pytest.mark.parametrize("seed", range(4))
def test_a_short_longest_pulse_leaves_the_state_exact(seed: int) -> None:
    circuit = random_circuit(4, 12, seed)
    program = compile_circuit(circuit, own_device(600))
    assert longest_pulse_ns(program) <= 600
    expected = state(native_stage.lower(circuit, ccz=False))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=1e-9)
    assert program.sequence.get_duration() == program.stats.duration_ns


def test_without_swaps_the_remedy_is_swaps() -> None:
    with pytest.raises(DeviceLimitError) as caught:
        compile_circuit(random_circuit(24, 144, 1), own_device(), route="direct")
    text = str(caught.value)
    assert "OwnDevice allows pulses up to 6000 ns. Place them at most 1" in text
    assert text.endswith(
        "(Pasqal(layout=...)), or allow SWAPs (Pasqal(route='swap'), the default)."
    )


def test_a_beam_too_slow_for_neighbours_is_named() -> None:
    one = Circuit("one", 2, (gate("h", 0), gate("h", 1), gate("z", 1, controls=(0,))))
    with pytest.raises(DeviceLimitError) as caught:
        compile_circuit(one, own_device(100))
    assert "OwnDevice allows pulses up to 100 ns. This beam is too slow even for neighbours" in str(
        caught.value
    )


def virtual_device(**changes: object) -> DeviceRules:
    device = dataclasses.replace(
        pulser.devices.MockDevice, name="OwnVirtual", min_atom_distance=4, **changes
    )
    return resolve(device)


@pytest.mark.parametrize("rules", [virtual_device(requires_layout=True), own_device()])
def test_a_given_trap_layout_is_used(rules: DeviceRules) -> None:
    traps = TriangularLatticeLayout(60, 5.0)
    circuit = random_circuit(5, 10, 3)
    program = compile_circuit(circuit, rules, layout=traps)
    assert program.timeline.traps is traps
    assert program.sequence.register.layout == traps
    again = Program.from_json(program.to_json())
    assert again.timeline.traps == traps
    assert again.layout == program.layout
    assert again.sequence.to_abstract_repr() == program.sequence.to_abstract_repr()
    expected = state(native_stage.lower(circuit, ccz=False))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=1e-9)


def test_a_register_on_traps_keeps_its_places() -> None:
    traps = TriangularLatticeLayout(60, 5.0)
    register = traps.define_register(30, 31, 22)
    program = compile_circuit(random_circuit(3, 6, 3), own_device(), layout=register)
    np.testing.assert_array_equal(program.timeline.coordinates_um, traps.coords[[30, 31, 22]])
    assert program.sequence.register.layout == traps


@pytest.mark.parametrize(
    ("traps", "words"),
    [
        (TriangularLatticeLayout(6, 5.0), r"5 atoms on a layout of 6 traps.*at most 50%.*least 10"),
        (SquareLatticeLayout(6, 6, 3.0), r"a layout of 36 traps.*Pulser says: .*distance"),
    ],
)
def test_trap_layouts_outside_the_rules_are_refused(traps: RegisterLayout, words: str) -> None:
    with pytest.raises(DeviceLimitError, match=words):
        compile_circuit(random_circuit(5, 10, 3), own_device(), layout=traps)


COARSE = SquareLatticeLayout(8, 8, 7.0)
FINE = TriangularLatticeLayout(60, 5.0)
SMALL = TriangularLatticeLayout(8, 4.0)


def calibrated(*layouts: RegisterLayout) -> DeviceRules:
    return own_device(accepts_new_layouts=False, pre_calibrated_layouts=layouts)


@pytest.mark.parametrize(("n", "wanted"), [(3, SMALL), (6, FINE), (20, FINE), (31, COARSE)])
def test_sites_are_chosen_among_calibrated_traps(n: int, wanted: RegisterLayout) -> None:
    program = compile_circuit(random_circuit(n, n, 3), calibrated(COARSE, FINE, SMALL))
    assert program.timeline.traps == wanted
    register = program.sequence.register
    assert program.rules.pulser_device.register_is_from_calibrated_layout(register)


def test_sites_on_calibrated_traps_are_found_there() -> None:
    rules = calibrated(COARSE, FINE)
    circuit = random_circuit(3, 6, 3)
    program = compile_circuit(circuit, rules, layout=FINE.coords[[30, 31, 22]])
    assert program.sequence.register.layout == FINE
    with pytest.raises(DeviceLimitError, match="only the traps of one of its 2 calibrated layouts"):
        compile_circuit(circuit, rules, layout=[[0.0, 0.1], [5.0, 0.1], [10.0, 0.1]])
    with pytest.raises(DeviceLimitError, match="only the traps of one of its 2 calibrated layouts"):
        compile_circuit(circuit, rules, layout=SMALL)


def test_too_many_qubits_for_every_calibrated_layout() -> None:
    with pytest.raises(DeviceLimitError, match="its 2 calibrated layouts, with at most 30 atoms"):
        compile_circuit(random_circuit(31, 31, 3), calibrated(FINE, SMALL))


def test_two_qubits_on_one_site() -> None:
    with pytest.raises(OptionError) as caught:
        compile_circuit(
            random_circuit(2, 2, 1), resolve("MockDevice"), layout=[[1.0, 2.0], [1.0, 2.0]]
        )
    assert str(caught.value) == (
        "layout: qubits 0 and 1 share the site (1.0, 2.0) µm. Give every qubit a site of its own "
        "in Pasqal(layout=...), or leave it out."
    )
