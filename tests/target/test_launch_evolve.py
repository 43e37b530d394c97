"""`cudaq.evolve` on this target: closed forms, bit order, results, futures."""

from __future__ import annotations

import cudaq
import numpy as np
import pytest
from cudaq import ScalarOperator, Schedule
from cudaq import operators as ops

import cudaq_target
from cudaq_target import Pasqal, shots_of
from cudaq_target.analog.ansatz import Shape, analog_ansatz
from cudaq_target.device import bundled_devices
from cudaq_target.errors import OptionError

pytestmark = pytest.mark.usefixtures("stock_target")

MHZ = 2.0 * np.pi * 1e6  # rad/s
SAVE = cudaq.IntermediateResultSave
# Isolated atom 0 and a blockaded pair.
ASYMMETRIC = [(-30e-6, 0.0), (5e-6, 0.0), (10e-6, 0.0)]


def const(value):
    return ScalarOperator.const(value)


def hamiltonian(sites=((0.0, 0.0),), amplitude=MHZ, detuning=0.0, phase=0.0, **more):
    operators = [
        value if isinstance(value, ScalarOperator) else const(value)
        for value in (amplitude, phase, detuning)
    ]
    return cudaq.RydbergHamiltonian(list(sites), *operators, **more)


def times(duration_s, n_steps=2):
    return Schedule(np.linspace(0.0, duration_s, n_steps), ["t"])


def excited(program, schedule, n_atoms=1, **options):
    """Exact population in r of each atom."""
    numbers = [ops.number(k) for k in range(n_atoms)]
    result = cudaq.evolve(program, schedule=schedule, observables=numbers, **options)
    return [each.expectation() for each in result.final_expectation_values()]


@pytest.mark.parametrize("device", ["AnalogDevice", "MockDevice"])
@pytest.mark.parametrize("duration_ns", [100, 101.3, 248, 257.5, 500])
def test_rabi(device, duration_ns):
    cudaq.set_target("pasqal", device=device)
    (value,) = excited(hamiltonian(), times(duration_ns * 1e-9))
    assert value == pytest.approx(np.sin(np.pi * duration_ns * 1e-3) ** 2, abs=1e-6)


@pytest.mark.parametrize("detuning", [-1.5, 0.7])
def test_detuned_rabi(detuning):
    cudaq.set_target("pasqal")
    (value,) = excited(hamiltonian(detuning=detuning * MHZ), times(360e-9))
    effective = np.hypot(1.0, detuning)
    expected = np.sin(np.pi * effective * 0.36) ** 2 / effective**2
    assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_atoms", [2, 3])
def test_blockade_enhances_the_rabi_frequency_by_the_root_of_n(n_atoms):
    angles = 2.0 * np.pi * np.arange(n_atoms) / n_atoms
    radius = 2e-6 / np.sin(np.pi / n_atoms)  # nearest atoms are 4 µm apart
    sites = [(radius * np.cos(a), radius * np.sin(a)) for a in angles]
    cudaq.set_target("pasqal", device="MockDevice")
    duration = 400e-9
    values = excited(hamiltonian(sites, 0.5 * MHZ), times(duration), n_atoms)
    expected = np.sin(0.25 * MHZ * np.sqrt(n_atoms) * duration) ** 2
    assert sum(values) == pytest.approx(expected, abs=5e-3)  # (Ω/V)², of a finite blockade


def test_landau_zener():
    rate = 2.0 * MHZ / 1e-6  # of the detuning, rad/s²
    rabi, half = 0.6 * MHZ, 40e-6
    # Without limits on detuning and duration, so that the sweep is long enough for the formula.
    cudaq.set_target("pasqal", device="MockDevice")
    sweep = ScalarOperator(lambda t: rate * (t.real - half))
    (value,) = excited(hamiltonian(amplitude=rabi, detuning=sweep), times(2.0 * half))
    assert value == pytest.approx(1.0 - np.exp(-0.5 * np.pi * rabi**2 / rate), abs=0.01)


@pytest.mark.parametrize("jump", [0.0, 1.0, 2.5, np.pi])
def test_phase_jump_on_resonance(jump):
    cudaq.set_target("pasqal", device="MockDevice")
    schedule = Schedule([0.0, 250e-9, 500e-9], ["t"])  # two half turns
    phase = ScalarOperator(lambda t: 0.0 if t.real < 240e-9 else jump)
    (value,) = excited(hamiltonian(phase=phase), schedule)
    assert value == pytest.approx(0.5 * (1.0 + np.cos(jump)) * 1.0, abs=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_phase_has_the_sign_of_the_ahs_schema(sign):
    """Ω/2 (e^{iφ}|g><r| + h.c.) - Δ|r><r|: with a detuning the sign of φ shows in populations."""
    cudaq.set_target("pasqal", device="MockDevice")
    first, second, delta = 0.2, 0.3, 0.8 * 2.0 * np.pi  # µs, µs, rad/µs
    phase = ScalarOperator(lambda t: 0.0 if t.real < 190e-9 else sign * 1.1)
    schedule = Schedule([0.0, first * 1e-6, (first + second) * 1e-6], ["t"])
    (value,) = excited(hamiltonian(detuning=0.8 * MHZ, phase=phase), schedule)

    def turned(phase_rad, duration):
        drive = np.pi * np.array([[0.0, np.exp(1j * phase_rad)], [np.exp(-1j * phase_rad), 0.0]])
        energies, vectors = np.linalg.eigh(drive - delta * np.diag([0.0, 1.0]))
        return vectors @ np.diag(np.exp(-1j * energies * duration)) @ vectors.conj().T

    state = turned(sign * 1.1, second) @ turned(0.0, first) @ np.array([1.0, 0.0])
    assert value == pytest.approx(abs(state[1]) ** 2, abs=1e-5)


@pytest.mark.parametrize("machine", ["local", "qutip", "auto-emulator"])
def test_atom_0_is_the_leftmost_character(machine):
    cudaq.set_target("pasqal", machine=machine, seed=5)
    result = cudaq.evolve(hamiltonian(ASYMMETRIC), schedule=times(500e-9), shots_count=2000)
    assert set(result) <= {"100", "101", "110", "111"}
    assert result.count("111") < 60  # of a blockade that is finite
    assert result.count("101") == pytest.approx(result.count("110"), abs=200)
    assert shots_of(result).bits()[:, 0].all()


def test_empty_sites_have_no_bit():
    cudaq.set_target("pasqal", seed=1)
    sites = [(-30e-6, 0.0), (0.0, 0.0), (30e-6, 0.0)]
    program = hamiltonian(sites, atom_filling=[1, 0, 1])
    result = cudaq.evolve(program, schedule=times(500e-9), shots_count=50)
    assert dict(result.items()) == {"11": 50}


def test_a_schedule_is_not_used_up():
    cudaq.set_target("pasqal", seed=3)
    schedule = times(300e-9, 4)
    next(schedule)
    first = cudaq.evolve(hamiltonian(), schedule=schedule, shots_count=100)
    assert schedule.current_step == 0.0
    cudaq.set_target("pasqal", seed=3)
    again = cudaq.evolve(hamiltonian(), schedule=schedule, shots_count=100)
    assert dict(first.items()) == dict(again.items())


def test_counts_say_where_they_come_from():
    cudaq.set_target(Pasqal(machine="auto-emulator", shots=30))
    result = cudaq.evolve(hamiltonian(), schedule=times(300e-9))
    assert result.get_total_shots() == 30
    said = result.annotations
    assert (said["machine"], said["device"]) == ("local", "AnalogDevice")
    assert said["job_id"]
    assert "fits into memory" in said["machine_chosen_because"]
    assert cudaq.evolve(
        hamiltonian(), schedule=times(300e-9), shots_count=0
    ).get_total_shots() == 0  # fmt: skip


def test_operators_of_several_parameters_take_what_the_schedule_says():
    cudaq.set_target("pasqal")
    schedule = Schedule(
        [0.0, 200e-9, 500e-9], ["t", "scale"], lambda name, t: t if name == "t" else 0.5 + 1e6 * t
    )
    amplitude = ScalarOperator(lambda t, scale: MHZ * scale.real * (1.0 - 1e6 * t.real))
    (value,) = excited(hamiltonian(amplitude=amplitude), schedule)
    points = [(t, 2.0 * np.pi * (0.5 + t) * (1.0 - t)) for t in (0.0, 0.2, 0.5)]
    area = np.trapezoid([rabi for _, rabi in points], [t for t, _ in points])
    assert value == pytest.approx(np.sin(0.5 * area) ** 2, abs=1e-6)


def test_intermediate_results():
    cudaq.set_target("pasqal")
    steps = np.linspace(0.0, 500e-9, 6)
    call = {"schedule": Schedule(steps, ["t"]), "observables": [ops.number(0), cudaq.spin.y(0)]}
    everything = cudaq.evolve(hamiltonian(), store_intermediate_results=SAVE.ALL, **call)
    rows = [[each.expectation() for each in row] for row in everything.expectation_values()]
    angle = MHZ * steps
    assert np.array(rows) == pytest.approx(
        np.stack([0.5 * (1.0 - np.cos(angle)), -np.sin(angle)], axis=1), abs=1e-6
    )
    states = everything.intermediate_states()
    assert [abs(state.amplitude("1")) ** 2 for state in states] == pytest.approx(
        [row[0] for row in rows], abs=1e-6
    )
    values = cudaq.evolve(hamiltonian(), store_intermediate_results=SAVE.EXPECTATION_VALUE, **call)
    assert len(values.expectation_values()) == 6
    assert len(values.intermediate_states()) == 1
    bare = cudaq.evolve(
        hamiltonian(), schedule=call["schedule"], store_intermediate_results=SAVE.ALL
    )
    assert bare.expectation_values() is None
    assert abs(bare.final_state().amplitude("1")) == pytest.approx(1.0, abs=1e-6)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old = cudaq.evolve(hamiltonian(), store_intermediate_results=True, **call)
    assert len(old.intermediate_states()) == 6


def test_states_and_observables_count_atoms_alike():
    cudaq.set_target("pasqal")
    numbers = [ops.number(k) for k in range(3)]
    flip = cudaq.operators.define("flip", [2], lambda: np.array([[0, 1], [1, 0]], dtype=complex))
    assert flip is None
    product = ops.number(0) * ops.instantiate("flip", 1)
    result = cudaq.evolve(
        hamiltonian(ASYMMETRIC, detuning=0.3 * MHZ),
        schedule=times(430e-9),
        observables=[*numbers, product],
    )
    values = [each.expectation() for each in result.final_expectation_values()]
    state = result.final_state()
    strings = [f"{k:03b}" for k in range(8)]
    amplitude = {string: state.amplitude(string) for string in strings}
    for atom in range(3):
        share = sum(abs(amplitude[s]) ** 2 for s in strings if s[atom] == "1")
        assert values[atom] == pytest.approx(share, abs=1e-9)
    flipped = sum(
        np.conj(amplitude[f"1{b}{c}"]) * amplitude[f"1{1 - b}{c}"] for b in (0, 1) for c in (0, 1)
    )
    assert values[3] == pytest.approx(flipped.real, abs=1e-9)


def test_initial_states():
    cudaq.set_target("pasqal")
    pair = [(0.0, 0.0), (30e-6, 0.0)]
    upper = np.array([0.0, 1.0, 0.0, 0.0], dtype=complex)  # CUDA-Q's order: atom 0 in r
    states = [cudaq.State.from_data(upper), upper, cudaq.InitialStateType.ZERO, None]
    results = cudaq.evolve(
        hamiltonian(pair),
        schedule=times(500e-9),
        initial_state=states,
        observables=[ops.number(0), ops.number(1)],
    )
    found = [[v.expectation() for v in each.final_expectation_values()] for each in results]
    assert np.array(found) == pytest.approx(np.array([[0, 1], [0, 1], [1, 1], [1, 1]]), abs=1e-6)
    counts = cudaq.evolve(
        hamiltonian(pair), schedule=times(500e-9), initial_state=upper, shots_count=20
    )
    assert dict(counts.items()) == {"01": 20}
    even = cudaq.evolve(
        hamiltonian(pair, amplitude=0.0),
        schedule=times(100e-9),
        initial_state=cudaq.InitialStateType.UNIFORM,
        observables=[cudaq.spin.x(0), ops.number(1)],
    )
    values = [v.expectation() for v in even.final_expectation_values()]
    assert values == pytest.approx([1.0, 0.5], abs=1e-3)


def test_several_hamiltonians():
    cudaq.set_target("pasqal", seed=1)
    programs = [hamiltonian(amplitude=rabi * MHZ) for rabi in (0.5, 1.0)]
    results = cudaq.evolve(programs, schedule=times(500e-9), observables=[ops.number(0)])
    values = [each.final_expectation_values()[0].expectation() for each in results]
    assert values == pytest.approx([0.5, 1.0], abs=1e-6)
    futures = cudaq.evolve_async(programs, schedule=times(500e-9), shots_count=10)
    assert dict(futures[1].get().items()) == {"1": 10}
    with pytest.raises(OptionError, match="3 states for 2 Hamiltonians"):
        cudaq.evolve(programs, schedule=times(500e-9), initial_state=[None] * 3)
    with pytest.raises(OptionError, match="the list is empty"):
        cudaq.evolve([], schedule=times(500e-9))


def test_async():
    cudaq.set_target("pasqal", seed=1)
    future = cudaq.evolve_async(hamiltonian(ASYMMETRIC), schedule=times(500e-9), shots_count=40)
    assert future.get().get_total_shots() == 40
    assert future.done()
    failing = cudaq.evolve_async(hamiltonian(), schedule=None)
    with pytest.raises(OptionError, match="NoneType is no schedule"):
        failing.get()


def test_sampled_observables():
    cudaq.set_target("pasqal", seed=11)
    program, schedule = hamiltonian(ASYMMETRIC), times(400e-9, 3)
    numbers = [ops.number(0), ops.number(0) * ops.number(1)]
    exact = cudaq.evolve(program, schedule=schedule, observables=numbers)
    for kept, n_rows in ((SAVE.NONE, 1), (SAVE.EXPECTATION_VALUE, 3)):
        drawn = cudaq.evolve(
            program,
            schedule=schedule,
            observables=numbers,
            shots_count=4000,
            store_intermediate_results=kept,
        )
        assert len(drawn.expectation_values()) == n_rows
        for value, reference in zip(
            drawn.final_expectation_values(), exact.final_expectation_values(), strict=True
        ):
            assert value.expectation() == pytest.approx(reference.expectation(), abs=0.04)
        assert drawn.final_state() is None
    with pytest.raises(OptionError, match="observable term X0"):
        cudaq.evolve(program, schedule=schedule, observables=[cudaq.spin.x(0)], shots_count=5)


def test_noise():
    import pulser

    noise = pulser.NoiseModel(p_false_neg=0.25)
    cudaq.set_target("pasqal", noise=noise, seed=2, shots=4000)
    result = cudaq.evolve(hamiltonian(), schedule=times(500e-9))
    assert result.probability("1") == pytest.approx(0.75, abs=0.03)
    (value,) = excited(hamiltonian(), times(500e-9))
    assert value == pytest.approx(0.75, abs=0.03)
    with pytest.raises(OptionError, match="a noisy program is measured once"):
        cudaq.evolve(
            hamiltonian(),
            schedule=times(500e-9),
            observables=[ops.number(0)],
            store_intermediate_results=SAVE.ALL,
        )


def test_local_detuning():
    program = cudaq_target.RydbergHamiltonian(
        [(0.0, 0.0), (30e-6, 0.0)],
        const(MHZ),
        const(0.0),
        const(0.0),
        delta_local=(const(-1.2 * MHZ), [0.0, 1.0]),
    )
    later = hamiltonian([(0.0, 0.0), (30e-6, 0.0)])
    later.delta_local = program.delta_local
    cudaq.set_target("pasqal", device="DigitalAnalogDevice")
    effective = np.hypot(1.0, 1.2)
    expected = [1.0, np.sin(0.5 * np.pi * effective) ** 2 / effective**2]
    for each in (program, later):
        assert excited(each, times(500e-9), 2) == pytest.approx(expected, abs=1e-3)


def test_modulation_lengthens_the_pulse_and_keeps_its_area():
    cudaq.set_target("pasqal", modulation=True)
    (resonant,) = excited(hamiltonian(), times(400e-9))
    assert resonant == pytest.approx(np.sin(0.4 * np.pi) ** 2, abs=1e-3)
    (detuned,) = excited(hamiltonian(detuning=MHZ), times(400e-9))
    cudaq.set_target("pasqal", modulation=False)
    (written,) = excited(hamiltonian(detuning=MHZ), times(400e-9))
    assert abs(detuned - written) > 0.01


def test_compile_shows_the_program_before_it_runs():
    cudaq.set_target("pasqal")
    program = cudaq_target.compile(hamiltonian(ASYMMETRIC), times(500e-9))
    assert isinstance(program, cudaq_target.AnalogProgram)
    assert (program.rules.name, program.timeline.duration_ns) == ("AnalogDevice", 500)
    assert program.bind(hamiltonian(ASYMMETRIC), times(300e-9)).timeline.duration_ns == 300
    mock = bundled_devices()["MockDevice"]
    assert cudaq_target.compile(
        hamiltonian(), schedule=times(500e-9), device=mock
    ).rules.name == "MockDevice"  # fmt: skip
    with pytest.raises(OptionError, match="0 were given"):
        cudaq_target.compile(hamiltonian())


def test_compiled_programs_and_members_of_an_ansatz_run_as_hamiltonians_do():
    cudaq.set_target("pasqal", seed=3)
    program, schedule = hamiltonian(ASYMMETRIC), times(0.5e-6)
    expected = cudaq.evolve(program, schedule=schedule, shots_count=200)
    compiled = cudaq_target.compile(program, schedule)
    with Pasqal(seed=3):
        assert dict(cudaq.evolve(compiled, shots_count=200).items()) == dict(expected.items())
        again = cudaq_target.AnalogProgram.from_json(compiled.to_json())
        assert dict(cudaq.evolve_async(again, shots_count=10).get().items()).keys() <= {
            "100", "101", "110", "111",
        }  # fmt: skip
        assert excited(compiled, None, 3) == pytest.approx(excited(program, schedule, 3))
        ansatz = analog_ansatz([(0, 0)], 252, Shape(2), Shape(2))
        quarter = np.pi / 0.252
        pulses = [ansatz.bind([angle, angle, 0.0, 0.0]) for angle in (quarter, 0.5 * quarter)]
        numbers = [ops.number(0)]
        results = cudaq.evolve(pulses, observables=numbers)
        found = [each.final_expectation_values()[0].expectation() for each in results]
        assert found == pytest.approx([1.0, 0.5], abs=1e-6)
        path = cudaq.evolve(
            pulses[0],
            schedule=Schedule([0.0, 126e-9, 252e-9], ["t"]),
            observables=numbers,
            store_intermediate_results=SAVE.EXPECTATION_VALUE,
        )
        found = [each[0].expectation() for each in path.expectation_values()]
        assert found == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)
        with pytest.raises(OptionError, match="it ends at 200 ns, the program at 252 ns"):
            cudaq.evolve(pulses[0], schedule=times(200e-9))


def test_other_targets_stay_as_they_were():
    cudaq.set_target("pasqal")
    cudaq.set_target("qpp-cpu")
    result = cudaq.evolve(
        cudaq.spin.x(0),
        {0: 2},
        times(0.3, 20),
        cudaq.State.from_data(np.array([1.0, 0.0j])),
        observables=[cudaq.spin.z(0)],
    )
    value = result.final_expectation_values()[0].expectation()
    assert value == pytest.approx(np.cos(0.6), abs=1e-3)
