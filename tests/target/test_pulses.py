import dataclasses
import logging
import math
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from cudaq_target import pulse_cache, pulses
from cudaq_target.device import interaction_rad_per_us, resolve
from cudaq_target.errors import DeviceLimitError, PulseNotFoundError
from cudaq_target.pulse_cache import PulseCache, default_cache
from tests.target import programs
from tests.target.emulator_oracle import final_state

DAD = resolve("DigitalAnalogDevice")
MOCK = resolve("MockDevice")


def with_raman(**changes):
    return dataclasses.replace(DAD, raman=dataclasses.replace(DAD.raman, **changes))


def with_rydberg(**changes):
    return dataclasses.replace(DAD, rydberg=dataclasses.replace(DAD.rydberg, **changes))


def logical(program):
    """Exact final state in the kernel's frame: dense exponentials of the model's Hamiltonian."""
    from cudaq_target.machines.qutip import kernel_state

    n = len(program.coordinates_um)
    raw = final_state(program).reshape((3,) * n)[(slice(0, 2),) * n]
    return kernel_state(program, raw)


@given(st.floats(1e-6, math.pi), st.floats(-10.0, 10.0), st.sampled_from([DAD, MOCK]))
def test_a_raman_pulse_turns_by_its_area(theta, phase, rules):
    pulse = pulses.raman_pulse(rules, theta, phase)
    area = float((pulse.rabi_rad_per_us * pulse.durations_ns).sum()) * 1e-3
    assert area == pytest.approx(theta, rel=1e-12)
    assert (pulse.phase_rad - phase) / (2 * math.pi) == pytest.approx(
        round((pulse.phase_rad - phase) / (2 * math.pi)), abs=1e-9
    )
    assert 0 <= pulse.phase_rad < 2 * math.pi
    assert pulse.duration_ns % rules.raman.clock_ns == 0
    assert pulse.duration_ns >= rules.raman.min_duration_ns
    assert pulse.rabi_rad_per_us.max() <= rules.raman.max_rabi_rad_per_us
    shorter_ns = pulse.duration_ns - rules.raman.clock_ns
    fits = theta <= rules.raman.max_rabi_rad_per_us * shorter_ns * 1e-3 * (1 - 1e-9)
    assert shorter_ns < rules.raman.min_duration_ns or not fits


@pytest.mark.parametrize(("rules", "expected_ns"), [(DAD, 52), (MOCK, 50)])
def test_pi_pulses_are_the_shortest_on_the_clock(rules, expected_ns):
    assert pulses.pi_pulse(rules).duration_ns == expected_ns
    assert pulses.raman_pulse(rules, math.pi, 0.0).duration_ns == expected_ns


def test_weak_raman_pulses_gain_two_turns_where_the_channel_has_a_lowest_amplitude():
    rules = with_raman(min_average_rabi_rad_per_us=1.0)
    pulse = pulses.raman_pulse(rules, 1e-3, 0.5)
    area = float((pulse.rabi_rad_per_us * pulse.durations_ns).sum()) * 1e-3
    assert area == pytest.approx(4 * math.pi + 1e-3)
    generator = np.array([[0, np.exp(0.5j)], [np.exp(-0.5j), 0]]) / 2
    assert np.allclose(expm(-1j * area * generator), expm(-1e-3j * generator), atol=1e-12)


@given(
    st.floats(1e-6, math.pi),
    st.floats(0.0, 9.5).map(lambda mhz: 2 * math.pi * mhz),
    st.integers(1, 300).map(lambda ticks: 4 * ticks),
)
def test_resonant_pulses_keep_the_smallest_mean_whatever_the_shortest_length(area, mean, least_ns):
    changes = {"min_average_rabi_rad_per_us": mean, "min_duration_ns": least_ns}
    for pulse, wanted in (
        (pulses.raman_pulse(with_raman(**changes), area, 0.0), area),
        (pulses.pi_pulse(with_rydberg(**changes)), math.pi),
    ):
        assert mean <= pulse.rabi_rad_per_us[0] <= DAD.raman.max_rabi_rad_per_us
        assert pulse.duration_ns >= least_ns
        turns = (pulse.rabi_rad_per_us[0] * pulse.duration_ns * 1e-3 - wanted) / (4 * math.pi)
        assert turns == pytest.approx(round(turns), abs=1e-9)


def test_beams_too_slow_for_a_half_turn_say_so():
    with pytest.raises(DeviceLimitError) as caught:
        pulses.pi_pulse(with_rydberg(max_duration_ns=48))
    assert str(caught.value) == (
        "a resonant pulse of area 3.142 rad on channel rydberg_local: DigitalAnalogDevice allows "
        "Rabi frequency at most 10 MHz, detuning at most 20 MHz, length at most 48 ns. This beam "
        "is too slow; use another device (Pasqal(device=...))"
    )
    with pytest.raises(DeviceLimitError, match=r"mean Rabi frequency 10 MHz or more"):
        pulses.raman_pulse(with_raman(min_average_rabi_rad_per_us=62.831853), 1.0, 0.0)


def test_gate_times_on_the_digital_device():
    near, far = (interaction_rad_per_us(DAD, d) for d in (5.0, 10.0))
    assert pulses.gate_time_ns(DAD, near, math.pi) == 220
    assert pulses.gate_time_ns(DAD, near, 0.01) == 220
    assert 620 <= pulses.gate_time_ns(DAD, far, math.pi) <= 644
    assert pulses.free_time_ns(DAD.rydberg) == 220
    assert pulses.free_time_ns(MOCK.rydberg) == 0


def test_the_sign_of_theta_matters():
    v = interaction_rad_per_us(MOCK, 8.0)
    cheap, dear = (pulses.gate_time_ns(MOCK, v, s * math.pi / 4) for s in (-1, 1))
    assert cheap < 130
    assert dear > 300


@given(st.lists(st.floats(0.1, 2000.0), min_size=1, max_size=20), st.floats(-7.0, 7.0))
def test_gate_times_for_many_pairs_are_those_for_each(interactions, theta):
    many = pulses.gate_times_ns(DAD, np.array(interactions), theta)
    assert many.tolist() == [pulses.gate_time_ns(DAD, v, theta) for v in interactions]
    assert not (many % DAD.rydberg.clock_ns).any()


@given(
    st.lists(st.floats(0.0, 2000.0), min_size=2, max_size=20),
    st.floats(-7.0, 7.0),
    st.sampled_from([0.0, 1.0, 20.0, 70.0]),
)
def test_a_stronger_interaction_never_predicts_a_longer_pulse(interactions, theta, mean):
    rules = with_rydberg(max_duration_ns=1000, min_average_rabi_rad_per_us=mean)
    times_ns = pulses.gate_times_ns(rules, np.sort(interactions), theta)
    assert (np.diff(times_ns) <= 0).all()
    assert times_ns.min() > 0


def test_impossible_gate_times_still_tell_how_far_away_they_are():
    rules = with_rydberg(max_duration_ns=1000)
    times_ns = pulses.gate_times_ns(rules, np.array([0.5, 1.0, 2.0, 4.0]), math.pi)
    assert np.allclose(times_ns, [6340, 3200, 1628, 844], atol=4)
    assert pulses.gate_times_ns(rules, np.zeros(1), math.pi)[0] > 10**12


def test_time_beyond_the_longest_pulse_is_not_free():
    rules = with_rydberg(max_duration_ns=202)
    assert pulses.free_time_ns(rules.rydberg) == 200
    assert pulses.gate_time_ns(rules, 300.0, 1.0) == 200


@settings(deadline=None, max_examples=150)
@given(
    st.floats(4.0, 11.0),
    st.floats(-math.pi, math.pi).filter(lambda angle: abs(angle) > 1e-9),
    st.sampled_from([DAD, MOCK]),
)
def test_predicted_gate_times_hold(distance_um, theta, rules):
    v = interaction_rad_per_us(rules, distance_um)
    predicted_ns = pulses.gate_time_ns(rules, v, theta)
    found = pulses.cphase_pulse(rules, v, theta)
    assert predicted_ns <= found.duration_ns <= predicted_ns + 2 * rules.rydberg.clock_ns


@settings(max_examples=40)
@given(
    st.floats(4.0, 9.0),
    st.floats(-math.pi, math.pi).filter(lambda angle: abs(angle) > 1e-3),
    st.floats(0.1, 4.0).map(lambda mhz: 2 * math.pi * mhz),
)
@example(9.0, -0.015625, 2 * math.pi * 3.0)  # reached a turn later
def test_target_pulses_keep_the_smallest_mean(distance_um, theta, mean):
    rules = with_rydberg(min_average_rabi_rad_per_us=mean)
    found = pulses.cphase_pulse(rules, interaction_rad_per_us(rules, distance_um), theta)
    area = float(found.pulse.rabi_rad_per_us @ found.pulse.durations_ns)
    assert area / found.duration_ns >= mean
    turns = (found.phase_blocked_rad - found.target_shift_rad) / (2 * math.pi)
    assert turns == pytest.approx(round(turns), abs=1e-10)


def test_a_pulse_is_solved_once_and_angles_are_taken_modulo_a_turn():
    v = interaction_rad_per_us(DAD, 5.0)
    first = pulses.cphase_pulse(DAD, v, 1.25)
    assert pulses.cphase_pulse(DAD, v + 1e-11, 1.25 - 2 * math.pi) is first
    assert pulses.cphase_pulse(DAD, v, -1.25) is not first
    assert first.target_shift_rad == pytest.approx(first.phase_free_rad + 1.25)
    turns = (first.phase_blocked_rad - first.target_shift_rad) / (2 * math.pi)
    assert turns == pytest.approx(round(turns), abs=1e-10)


@pytest.mark.parametrize("rules", [DAD, MOCK], ids=["digital", "mock"])
@pytest.mark.parametrize("name", ["single", "bell", "fan_out", "permuted"])
def test_pulses_and_virtual_rotations_make_the_ideal_state(rules, name):
    program, ideal = getattr(programs, name)(rules), getattr(programs, f"{name}_state")()
    assert np.abs(logical(program) - ideal).max() < 1e-10


def test_atoms_too_far_apart_are_refused():
    with pytest.raises(DeviceLimitError, match="pulses of at most 67108864 ns"):
        pulses.cphase_pulse(DAD, 1e-6, math.pi)
    with pytest.raises(DeviceLimitError):
        pulses.cphase_pulse(DAD, 0.0, math.pi)


def test_refusals_advise_what_is_true():
    rules = with_rydberg(max_duration_ns=400)
    with pytest.raises(DeviceLimitError) as caught:
        pulses.cphase_pulse(rules, interaction_rad_per_us(rules, 10.0), math.pi)
    assert str(caught.value) == (
        "CPhase(3.1416 rad) at interaction 5.42 rad/µs needs a pulse of about 640 ns: "
        "DigitalAnalogDevice allows pulses of at most 400 ns. Place the atoms closer "
        "(Pasqal(layout=...)): 4.0 µm would do. If route='direct' was chosen, the default "
        "route='swap' moves qubits together as well"
    )
    rules = with_rydberg(max_duration_ns=80)
    with pytest.raises(DeviceLimitError, match=r"too slow: atoms 4\.0 µm apart would fail as well"):
        pulses.cphase_pulse(rules, interaction_rad_per_us(rules, 5.0), math.pi)


def test_lengths_beyond_the_longest_pulse_are_not_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(pulses, "_solved", lambda *request: tried.append(request[-1]))
    with pytest.raises(PulseNotFoundError, match="no pulse up to 228 ns"):
        pulses.cphase_pulse(with_rydberg(max_duration_ns=230), 300.0, math.pi)
    assert max(tried) == 228


def test_a_device_on_which_nothing_works_says_so():
    """Without detuning the two return conditions and the phase cannot all be met."""
    rules = with_rydberg(max_detuning_rad_per_us=1e-9)
    with pytest.raises(
        PulseNotFoundError, match=r"no pulse up to \d+ ns within the limits of Dig"
    ) as caught:
        pulses.cphase_pulse(rules, 300.0, 1.0)
    assert "This beam is too slow" in str(caught.value)


class TestCache:
    def test_values_survive(self, tmp_path):
        cache = PulseCache(tmp_path / "deep" / "pulses.sqlite")
        values = (1.0, -0.1, math.pi, 5e-324)
        assert cache.get("key") is None
        cache.put("key", values)
        cache.put("none", ())
        assert cache.get("key") == values
        cache.close()
        assert cache.get("key") == values
        again = PulseCache(tmp_path / "deep" / "pulses.sqlite")
        assert again.get("key") == values
        assert again.get("none") == ()
        again.close()
        cache.close()

    def test_a_pulse_from_disk_is_the_same_pulse(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CUDAQ_TARGET_CACHE_DIR", str(tmp_path))
        v = interaction_rad_per_us(DAD, 5.1234)
        pulses._solved.cache_clear()
        solved = pulses.cphase_pulse(DAD, v, 0.77)
        pulses._solved.cache_clear()
        monkeypatch.setattr(pulses, "_solve", None)
        default_cache().close()
        loaded = pulses.cphase_pulse(DAD, v, 0.77)
        default_cache().close()
        assert loaded is not solved
        for name in ("durations_ns", "rabi_rad_per_us", "detuning_rad_per_us"):
            assert np.array_equal(getattr(loaded.pulse, name), getattr(solved.pulse, name))
        assert loaded.phase_free_rad == solved.phase_free_rad
        assert loaded.infidelity == solved.infidelity

    def test_a_broken_file_is_reported_and_worked_around(self, tmp_path, caplog):
        path = tmp_path / "pulses.sqlite"
        path.write_bytes(b"this is no database" * 100)
        cache = PulseCache(path)
        with caplog.at_level(logging.WARNING):
            assert cache.get("key") is None
            cache.put("key", (1.0,))
            assert cache.get("key") is None
            cache.close()
        (record,) = caplog.records
        assert "is not usable (file is not a database); pulses are solved anew" in record.message

    def test_a_broken_value_is_reported_and_worked_around(self, tmp_path, caplog):
        path = tmp_path / "pulses.sqlite"
        cache = PulseCache(path)
        cache.put("key", (1.0,))
        cache.close()
        connection = sqlite3.connect(path)
        connection.execute("UPDATE pulse SET value = 'text'")
        connection.commit()
        connection.close()
        assert cache.get("key") is None
        assert "not usable" in caplog.text

    def test_an_impossible_directory_is_reported(self, tmp_path, caplog):
        (tmp_path / "file").write_text("in the way")
        cache = PulseCache(tmp_path / "file" / "pulses.sqlite")
        cache.put("key", (1.0,))
        assert cache.get("key") == (1.0,)
        cache.close()
        assert cache.get("key") is None
        assert "set CUDAQ_TARGET_CACHE_DIR to a writable directory" in caplog.text

    def test_off_keeps_nothing(self, tmp_path, monkeypatch):
        code = (
            "from cudaq_target import pulses; from cudaq_target.device import resolve; "
            "from cudaq_target.pulse_cache import default_cache; "
            "pulses.cphase_pulse(resolve(), 300.0, 1.0); print(default_cache().path)"
        )
        monkeypatch.setenv("CUDAQ_TARGET_CACHE_DIR", "off")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        assert done.stdout.split() == [b"None"]
        assert not list(tmp_path.rglob("*.sqlite"))

    def test_several_processes_share_it(self, tmp_path):
        path = tmp_path / "pulses.sqlite"
        with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
            assert all(pool.map(_write_many, [(path, first) for first in (0, 100, 200)]))
        cache = PulseCache(path)
        assert all(cache.get(f"key {k}") == (float(k),) for k in range(300))
        cache.close()

    def test_a_full_cache_forgets_its_older_half(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pulse_cache, "MAX_ROWS", 10)
        caches = [PulseCache(tmp_path / "pulses.sqlite") for _ in range(2)]
        for k in range(33):
            caches[k % 2].put(f"key {k}", (1.0,))
            caches[k % 2].close()
        kept = [k for k in range(33) if caches[0].get(f"key {k}")]
        caches[0].close()
        assert kept == list(range(kept[0], 33))
        assert 5 <= len(kept) <= 10

    def test_rewriting_a_value_makes_it_new(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pulse_cache, "MAX_ROWS", 4)
        cache = PulseCache(tmp_path / "pulses.sqlite")
        for k in (0, 1, 2, 3, 0, 4):
            cache.put(f"key {k}", (1.0,))
            cache.close()
        assert [k for k in range(5) if cache.get(f"key {k}")] == [0, 4]
        cache.close()

    def test_pulses_of_beams_that_differ_in_the_smallest_mean_are_kept_apart(self):
        weak = pulses.cphase_pulse(DAD, 300.0, 0.6)
        mean = 1.2 * float((weak.pulse.rabi_rad_per_us * weak.pulse.durations_ns).sum())
        rules = with_rydberg(min_average_rabi_rad_per_us=mean / weak.duration_ns)
        strong = pulses.cphase_pulse(rules, 300.0, 0.6)
        assert (strong.pulse.rabi_rad_per_us * strong.pulse.durations_ns).sum() >= mean

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_opens_its_own_connection(self, tmp_path):
        cache = PulseCache(tmp_path / "pulses.sqlite")
        cache.put("parent", (1.0,))
        cache.close()
        assert cache.get("parent") == (1.0,)
        code = (
            "import os, sys; from pathlib import Path; "
            "from cudaq_target.pulse_cache import PulseCache; "
            "cache = PulseCache(Path(sys.argv[1])); assert cache.get('parent') == (1.0,); "
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    cache.put('child', (2.0,)); cache.close(); os._exit(0)\n"
            "os.waitpid(pid, 0); assert cache.get('child') == (2.0,); cache.close()"
        )
        subprocess.run([sys.executable, "-c", code, str(cache.path)], check=True)
        cache.close()


def _write_many(job):
    path, first = job
    cache = PulseCache(path)
    for k in range(first, first + 100):
        cache.put(f"key {k}", (float(k),))
    cache.close()
    return True
