"""Every machine for analog programs plays one program file alike; none of this needs CUDA-Q."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pulser
import pytest

from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.program import AnalogProgram, build
from cudaq_target.emulator import memory
from cudaq_target.errors import MemoryLimitError, OptionError
from cudaq_target.machines import analog
from cudaq_target.machines.analog import for_analog
from cudaq_target.shots import Shots
from tests.target import analog_oracle

MHZ = 2.0 * np.pi
ASYMMETRIC = [(-30.0, 0.0), (5.0, 0.0), (10.0, 0.0)]


def _needs(name: str, package: str):
    missing = pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")
    return pytest.param(name, marks=missing)


EVERY = [
    _needs("local", "numpy"),
    _needs("qutip", "pulser_simulation"),
    _needs("emu-sv", "emu_sv"),
    _needs("emu-mps", "emu_mps"),
]


def program(device="MockDevice") -> AnalogProgram:
    """Asymmetric in atoms and time, with a change of the phase."""
    spec = AnalogSpec.of(
        ASYMMETRIC,
        Waveform([0, 100, 400, 600], [0.0, MHZ, MHZ, 0.0]),
        Waveform([0, 200, 600], [MHZ, 0.5 * MHZ, -MHZ]),
        Waveform([0, 320, 600], [0.0, 1.0, 1.0], "step"),
    )
    return build(spec, device)


def exact(played: AnalogProgram) -> np.ndarray:
    return np.abs(analog_oracle.played(played.timeline)) ** 2


def sampled(name, played, n_shots, seed, **options) -> Shots:
    machine = for_analog(name, played, options.get("noise")).machine
    arguments = {"noise": None, "threads": None, "modulation": False, "initial_state": None}
    packed = machine.sample_analog(
        played, n_shots, rng=np.random.default_rng(seed), **(arguments | options)
    )
    return Shots(packed, played.timeline.n_atoms)


def states(name, played, moments, **options) -> list[np.ndarray]:
    arguments = {"threads": None, "modulation": False, "initial_state": None}
    return for_analog(name, played).machine.evolve_analog(
        played, save_at_ns=moments, measure=lambda _, state: state.copy(), **(arguments | options)
    )


@pytest.mark.parametrize("name", EVERY)
def test_one_program_file_gives_statistically_equal_counts(name):
    played = AnalogProgram.from_json(program().to_json())
    n_shots = 20_000
    counts = sampled(name, played, n_shots, seed=4).counts()
    expected = n_shots * exact(played)
    found = np.array([counts.get(f"{k:03b}", 0) for k in range(8)])
    likely = expected > 5.0
    # 7 degrees of freedom at most: beyond 30 with a probability of 1e-4, for this very seed never.
    assert np.sum((found - expected)[likely] ** 2 / expected[likely]) < 30.0
    assert 0.5 * np.abs(found - expected).sum() / n_shots < 0.015


@pytest.mark.parametrize("name", EVERY)
def test_states_and_their_order(name):
    played = program()
    moments = [0.0, 250.0, 600.0]
    first, middle, last = states(name, played, moments)
    assert abs(first[0]) == pytest.approx(1.0)
    reference = analog_oracle.played(played.timeline)
    assert np.abs(last) ** 2 == pytest.approx(np.abs(reference) ** 2, abs=3e-3)
    assert abs(np.vdot(reference, last)) == pytest.approx(1.0, abs=1e-3)
    assert np.abs(middle[4:]).max() > 0.1  # atom 0 is the most significant bit


def test_the_embedded_emulator_is_exact():
    played = program()
    (state,) = states("local", played, [600.0])
    reference = analog_oracle.played(played.timeline)
    assert np.abs(state) ** 2 == pytest.approx(np.abs(reference) ** 2, abs=3e-6)


@pytest.mark.parametrize("name", EVERY)
def test_equal_seeds_give_equal_shots(name):
    one, two, three = (sampled(name, program(), 200, seed) for seed in (1, 1, 2))
    assert one.counts() == two.counts()
    assert one.counts() != three.counts()


@pytest.mark.parametrize("name", EVERY[:3])
def test_initial_states(name):
    start = np.zeros(8, dtype=complex)
    start[[0b001, 0b110]] = 0.6, 0.8j
    played = program()
    moments = [0.0, 300.0]
    here = states(name, played, moments, initial_state=start)
    reference = states("local", played, moments, initial_state=start)
    assert here[0] == pytest.approx(start)
    assert abs(np.vdot(here[1], reference[1])) == pytest.approx(1.0, abs=1e-3)
    bits = sampled(name, played, 4000, 1, initial_state=start).bits()
    ends = states("local", played, [600.0], initial_state=start)[0]
    share = [np.sum(np.abs(ends.reshape(2, 2, 2).take(1, axis=k)) ** 2) for k in range(3)]
    assert bits.mean(axis=0) == pytest.approx(share, abs=0.04)


@pytest.mark.skipif(find_spec("emu_mps") is None, reason="emu_mps is not installed")
def test_matrix_product_states_start_from_g():
    with pytest.raises(OptionError, match="emu-mps starts from all atoms in g"):
        sampled("emu-mps", program(), 10, 1, initial_state=np.eye(8, dtype=complex)[1])


@pytest.mark.parametrize("name", EVERY[:3])
def test_modulation(name):
    played = build(_square(), "AnalogDevice")
    end = float(played.modulated.duration_ns)
    assert end > played.timeline.duration_ns
    (state,) = states(name, played, [end], modulation=True)
    (reference,) = states("local", played, [end], modulation=True)
    (written,) = states("local", played, [500.0])
    assert np.abs(state) ** 2 == pytest.approx(np.abs(reference) ** 2, abs=3e-3)
    assert abs(abs(written[1]) - abs(reference[1])) > 0.003


def _square() -> AnalogSpec:
    return AnalogSpec.of(
        [(0.0, 0.0)], Waveform.constant(500, 0.8 * MHZ), Waveform.constant(500, MHZ)
    )


@pytest.mark.parametrize("name", EVERY[:3])
def test_local_detuning(name):
    spec = AnalogSpec.of(
        [(0.0, 0.0), (30.0, 0.0)],
        Waveform.constant(500, MHZ),
        local=LocalDetuning(Waveform.constant(500, -1.2 * MHZ), np.array([0.0, 1.0])),
    )
    bits = sampled(name, build(spec, "DigitalAnalogDevice"), 4000, 3).bits()
    effective = np.hypot(1.0, 1.2)
    assert bits[:, 0].mean() == pytest.approx(1.0, abs=0.01)
    expected = np.sin(0.5 * np.pi * effective) ** 2 / effective**2
    assert bits[:, 1].mean() == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("name", EVERY[:3])
def test_noise(name):
    """Relaxation and read-out errors, whose means have closed forms."""
    spec = AnalogSpec.of(
        [(0.0, 0.0)], Waveform([0, 500, 501, 2000], [MHZ, MHZ, 0.0, 0.0]), name="decay"
    )
    rate, missed = 0.4, 0.1
    noise = pulser.NoiseModel(relaxation_rate=rate, p_false_neg=missed)
    played = build(spec, "MockDevice")
    share = sampled(name, played, 4000, 5, noise=noise).bits().mean()
    assert share == pytest.approx((1.0 - missed) * np.exp(-rate * 1.5) * 0.91, abs=0.06)


def test_noise_with_an_initial_state_is_refused_where_it_is_not_emulated():
    noise = pulser.NoiseModel(dephasing_rate=0.1)
    start = np.eye(8, dtype=complex)[1]
    with pytest.raises(OptionError, match="starts noisy programs from all atoms in g"):
        sampled("local", program(), 10, 1, noise=noise, initial_state=start)


def test_the_automatic_choice(monkeypatch, caplog):
    leaking = pulser.NoiseModel(
        eff_noise_opers=[np.diag([1.0, -1.0])], eff_noise_rates=[0.1]
    )  # fmt: skip
    with caplog.at_level("INFO"):
        plain = for_analog("auto-emulator", program())
    assert (plain.name, plain.reason) == ("local", "fastest at every size that fits into memory")
    assert "local for 3 atoms" in caplog.text
    assert for_analog("auto-emulator", program(), pulser.NoiseModel(amp_sigma=0.1)).name == "local"
    noisy = for_analog("auto-emulator", program(), leaking)
    assert noisy.name == "qutip"
    assert "does not know the noise" in noisy.reason
    monkeypatch.setattr(analog, "MOST_QUTIP_ATOMS", 2)
    monkeypatch.setattr(analog, "_is_there", lambda name: name == "emu-sv")
    assert for_analog("auto-emulator", program(), leaking).name == "emu-sv"
    monkeypatch.setattr(analog, "_is_there", lambda _: False)
    with pytest.raises(OptionError, match="no machine that is installed emulates it"):
        for_analog("auto-emulator", program(), leaking)


def test_states_that_do_not_fit(monkeypatch):
    sites = [(6.0 * (k % 6), 6.0 * (k // 6)) for k in range(32)]
    wide = build(AnalogSpec.of(sites, Waveform.constant(100, 1.0)), "MockDevice")
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 30)
    monkeypatch.setattr(analog, "available_bytes", lambda: 1 << 30)
    monkeypatch.setattr(analog, "_is_there", lambda name: name == "emu-mps")
    assert for_analog("auto-emulator", wide).name == "emu-mps"
    monkeypatch.setattr(analog, "_is_there", lambda _: False)
    with pytest.raises(MemoryLimitError, match="emulating 32 qubits needs"):
        for_analog("auto-emulator", wide)
    for name in ("local", "qutip"):
        with pytest.raises(MemoryLimitError, match="emulating 32 qubits needs"):
            sampled(name, wide, 10, 1)


@pytest.mark.parametrize(("name", "package"), [("emu-sv", "emu_sv"), ("emu-mps", "emu_mps")])
def test_missing_packages_are_named(name, package):
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    with pytest.raises(OptionError, match=r"pip install 'cudaq-target\[emu-torch\]'"):
        sampled(name, program(), 10, 1)


def test_unknown_machines():
    with pytest.raises(OptionError, match="machine 'emu': no such machine"):
        for_analog("emu", program())
