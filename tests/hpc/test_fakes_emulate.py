"""What the stand-ins run: against closed forms, our own machines and Pulser's emulator."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.circuit import Circuit, Gate
from cudaq_target.device import resolve
from cudaq_target.errors import Source
from cudaq_target.fakes import devices
from cudaq_target.fakes.emulate import counts, gate_program
from cudaq_target.fakes.engines import zeros
from cudaq_target.fakes.orders import ExecutionError, Order
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import compile_circuit
from cudaq_target.shots import Shots
from tests.hpc.fake_clients import PAIR_IN_G, asymmetric, parametrised

# Five standard deviations of a frequency from 4000 shots.
N_SHOTS, CLOSE = 4000, 5 * 0.5 / math.sqrt(4000)


def run(text: str, n_shots: int = N_SHOTS, **more: Any) -> dict[str, int]:
    return counts(Order(text, n_shots, "lane", 0.0, **more), np.random.default_rng(5))


def test_atom_0_is_leftmost() -> None:
    found = run(asymmetric().to_abstract_repr())
    assert sum(found.values()) == N_SHOTS
    assert found["100"] / N_SHOTS == pytest.approx(PAIR_IN_G, abs=CLOSE)
    assert found["101"] / N_SHOTS == pytest.approx((1.0 - PAIR_IN_G) / 2.0, abs=CLOSE)
    assert found["110"] / N_SHOTS == pytest.approx((1.0 - PAIR_IN_G) / 2.0, abs=CLOSE)


@pytest.mark.parametrize(("duration_ns", "excited"), [(500, 1.0), (250, 0.5), (1000, 0.0)])
def test_variables_are_applied(duration_ns: int, excited: float) -> None:
    found = run(parametrised().to_abstract_repr(), variables={"duration": duration_ns})
    assert found.get("1", 0) / N_SHOTS == pytest.approx(excited, abs=CLOSE)


def test_a_mappable_register_takes_its_qubits() -> None:
    layout = pulser.register.RegisterLayout([(40 * k, 0) for k in range(4)])
    register = layout.make_mappable_register(2)
    sequence = pulser.Sequence(register, devices.device("EMU_FREE"))
    sequence.declare_channel("drive", "rydberg_global")
    sequence.add(pulser.Pulse.ConstantPulse(500, 2.0 * math.pi, 0.0, 0.0), "drive")
    text = sequence.to_abstract_repr()
    qubits = {"qubits": {"q0": 2, "q1": 0}}
    assert run(text, variables=qubits).keys() == {"11"}
    order = Order(text, 7, "lane", 0.0, variables=qubits)
    assert json.loads(zeros(order, np.random.default_rng())) == {"counter": {"00": 7}}


def ahs(phases_rad: tuple[float, float], filling: list[int]) -> str:
    """Two quarter turns with a phase each, on the sites that are filled."""
    times = ["0", "0.000000001", "0.00000025", "0.000000251", "0.0000005", "0.000000501"]
    rabi = str(2.0 * math.pi * 1e6)

    def field(values: list[str]) -> dict[str, Any]:
        return {"pattern": "uniform", "time_series": {"times": times, "values": values}}

    drive = {
        "amplitude": field(["0", rabi, rabi, rabi, rabi, "0"]),
        "detuning": field(["0.0"] * 6),
        "phase": field([str(phase) for phase in np.repeat(phases_rad, 3).tolist()]),
    }
    sites = [[f"{6e-5 * k:.8f}", "0.00000000"] for k in range(len(filling))]
    return json.dumps(
        {
            "setup": {"ahs_register": {"sites": sites, "filling": filling}},
            "hamiltonian": {"drivingFields": [drive], "localDetuning": []},
        }
    )


def test_ahs_programs_keep_their_phase_and_lose_empty_sites() -> None:
    assert run(ahs((0.0, 0.0), [1, 0, 1]), is_ahs=True)["11"] > 0.99 * N_SHOTS
    assert run(ahs((0.0, math.pi), [1, 0, 1]), is_ahs=True)["00"] > 0.99 * N_SHOTS


def test_gate_programs_run_as_the_local_machine_runs_them() -> None:
    here = Source("hand", 1)
    gates = (
        Gate("x", (0,), here),
        Gate("h", (1,), here),
        Gate("x", (2,), here, controls=(1,)),
        Gate("ry", (0,), here, params=(0.3,)),
    )
    program = compile_circuit(Circuit("hand", 3, gates), resolve("DigitalAnalogDevice"))
    read = gate_program(program.sequence)
    assert read is not None
    key = [(slot.start_ns, slot.end_ns, slot.beam, slot.atom) for slot in read.slots]
    assert sorted(key) == sorted(
        (slot.start_ns, slot.end_ns, slot.beam, slot.atom) for slot in program.timeline.slots
    )
    bits = LocalMachine().sample(program.timeline, 500, rng=np.random.default_rng(5))
    assert run(program.sequence.to_abstract_repr(), 500) == Shots.from_bits(bits).counts()


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["raman", "rydberg"]),
            st.integers(0, 1),
            st.integers(20, 120),
            st.floats(0.0, 12.0),
            st.floats(-8.0, 8.0),
            st.floats(0.0, 6.2),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_sequences_of_local_pulses_agree_with_pulsers_emulator(
    pulses: list[tuple[str, int, int, float, float, float]],
) -> None:
    from pulser.backend import BitStrings
    from pulser_simulation import QutipBackendV2, QutipConfig

    register = pulser.Register({"a": (0, 0), "b": (7, 0)})
    sequence = pulser.Sequence(register, devices.device("EMU_FREE"))
    for beam in ("raman", "rydberg"):
        sequence.declare_channel(beam, f"{beam}_local", initial_target="a")
    # Light on g and h throughout, so that Pulser lets the digital basis be measured.
    sequence.add(pulser.Pulse.ConstantPulse(60, 9.0, 0.0, 0.0), "raman")
    for beam, atom, duration_ns, rabi, detuning, phase in pulses:
        sequence.target("ab"[atom], beam)
        sequence.add(pulser.Pulse.ConstantPulse(duration_ns, rabi, detuning, phase), beam)
    sequence.measure("digital")
    found = run(sequence.to_abstract_repr())
    config = QutipConfig(observables=[BitStrings(num_shots=N_SHOTS, one_state="h")])
    expected = QutipBackendV2(sequence, config=config).run().final_bitstrings
    for bits in found.keys() | expected.keys():
        assert found.get(bits, 0) / N_SHOTS == pytest.approx(
            expected.get(bits, 0) / N_SHOTS, abs=2 * CLOSE
        )


def test_other_channels_run_on_pulsers_emulator() -> None:
    register = pulser.Register({"a": (0, 0), "b": (60, 0)})
    sequence = pulser.Sequence(register, devices.device("EMU_FREE"))
    sequence.declare_channel("all", "raman_global")
    sequence.declare_channel("one", "raman_local", initial_target="b")
    for channel in ("all", "one"):
        sequence.add(pulser.Pulse.ConstantPulse(500, 2.0 * math.pi, 0.0, 0.0), channel)
    assert run(sequence.to_abstract_repr(), 200)["10"] > 195


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("{}", None),
        ("no JSON", None),
        ('{"version": "1", "device": {}, "register": [], "channels": {}, "operations": []}', None),
    ],
)
def test_what_pulser_cannot_read_is_an_error(text: str, variables: dict[str, Any] | None) -> None:
    with pytest.raises(ExecutionError, match="Pulser cannot read the sequence"):
        run(text, variables=variables)


def test_variables_are_checked() -> None:
    with pytest.raises(ExecutionError, match="Pulser cannot read"):
        run(parametrised().to_abstract_repr())
    with pytest.raises(ExecutionError, match="no variables"):
        run(asymmetric().to_abstract_repr(), variables={"duration": 3})
    with pytest.raises(ExecutionError, match="register cannot be read"):
        zeros(Order("{}", 1, "lane", 0.0), np.random.default_rng())


def test_emulators_of_rydberg_levels_refuse_the_digital_basis() -> None:
    sequence = pulser.Sequence(pulser.Register({"a": (0, 0)}), devices.device("EMU_FREE"))
    sequence.declare_channel("raman", "raman_local", initial_target="a")
    sequence.add(pulser.Pulse.ConstantPulse(100, 3.0, 0.0, 0.0), "raman")
    with pytest.raises(ExecutionError, match="ground-rydberg alone"):
        run(sequence.to_abstract_repr(), rydberg_only=True)
    assert "raman_local" not in devices.device("EMU_MPS").channels
    assert devices.device("FRESNEL").channels.keys() == {"rydberg_global"}
