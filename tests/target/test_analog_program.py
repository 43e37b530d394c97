"""Programs: report, figures, JSON, sequences of Pulser's, and the ansatz."""

from __future__ import annotations

import json
import math

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulser.register.register_layout import RegisterLayout

from cudaq_target.analog.ansatz import Shape, analog_ansatz
from cudaq_target.analog.draw import draw_counts, draw_populations
from cudaq_target.analog.lower import lower
from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.program import AnalogProgram, build, read_sequence
from cudaq_target.analog.rules import analog_rules
from cudaq_target.errors import AnalogLimitError, OptionError
from tests.target.analog_specs import fresnel_like, sweep

PAIR = [(0.0, 0.0), (6.0, 0.0)]


def programs():
    local = AnalogSpec.of(
        [*PAIR, (0.0, 6.0)],
        Waveform([0, 50.5, 400], [0.0, 6.0, 1.0]),
        2.0,
        Waveform([0, 400], [0.0, 1.0]),
        local=LocalDetuning(Waveform([0, 400], [1.0, 20.0]), [1.0, 0.25, 0.0]),
    )
    square = AnalogSpec.of(
        PAIR,
        Waveform([0, 400, 800, 1200], [6.0, 0.0, 6.0, 6.0], "step"),
        3.0,
        Waveform([0, 600, 1200], [0.0, 1.0, 1.0], "step"),
    )
    shape = Shape(5, first=0.0, last=0.0)
    ansatz = analog_ansatz(PAIR, 1000, shape, Shape(4))
    return {
        "sweep": build(sweep()),
        "fresnel": build(sweep(5, 5), fresnel_like()),
        "mock": build(sweep(), "MockDevice"),
        "local": build(local, "DigitalAnalogDevice"),
        "phases": build(square),
        "eom": build(square, eom=True),
        "ansatz": ansatz.bind([5.0, 9.0, 5.0, -9.0, 0.0, 3.0, 9.0]),
        "alone": build(AnalogSpec.of([(0, 0)], Waveform.constant(100.0, 0.0))),
        "read": read_sequence(build(sweep()).sequence),
    }


PROGRAMS = programs()


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_json_comes_back_equal(name):
    program = PROGRAMS[name]
    back = AnalogProgram.from_json(program.to_json())
    ours, theirs = program.timeline, back.timeline
    for field in ("atoms_um", "amplitude", "detuning", "phase"):
        assert np.array_equal(getattr(ours, field), getattr(theirs, field)), field
    for field in ("duration_ns", "spans", "error", "eom", "traps"):
        assert getattr(ours, field) == getattr(theirs, field), field
    assert (ours.local is None) == (theirs.local is None)
    if ours.local is not None:
        assert np.array_equal(ours.local.samples, theirs.local.samples)
        assert np.array_equal(ours.local.weights, theirs.local.weights)
    assert back.stats == program.stats
    assert back.report() == program.report()
    assert json.loads(back.to_json()) == json.loads(program.to_json())
    assert json.loads(program.to_json())["sequence"]["name"] == "pulser-exported"


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_reports_and_pictures(name, tmp_path):
    program = PROGRAMS[name]
    lines = program.report().splitlines()
    assert 4 <= len(lines) <= 12
    assert max(map(len, lines)) < 140
    assert lines[0].startswith(f"{program.kernel} on {program.rules.name}")
    path = tmp_path / "analog.png"
    program.draw(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_report_to_the_word():
    assert PROGRAMS["mock"].report() == (
        "sweep on MockDevice: 6 atoms, 1.000 µs\n"
        "  register   nearest 6.000 µm apart (V = 18.5 MHz), blockade radius 9.19 µm\n"
        "  drive      1 pulse, amplitude up to 1.43 MHz, detuning -2.86 to 2.86 MHz\n"
        "  exactness  samples of 1 ns within 2.3e-02 (amplitude) and 3.0e-02 rad/µs (detuning), "
        f"areas within {_area('mock'):.1e} rad"
    )


def _area(name):
    error = PROGRAMS[name].timeline.error
    return max(error.amplitude_area_rad, error.detuning_area_rad)


def test_stats():
    stats = PROGRAMS["sweep"].stats
    c6 = pulser.AnalogDevice.interaction_coeff
    assert (stats.n_atoms, stats.n_traps, stats.n_pulses) == (6, 13, 1)
    assert stats.nearest_um == pytest.approx(6.0)
    assert stats.max_interaction_rad_per_us == pytest.approx(c6 / 6.0**6)
    assert stats.blockade_radius_um == pytest.approx((c6 / 9.0) ** (1 / 6))
    alone = PROGRAMS["alone"].stats
    assert math.isinf(alone.nearest_um)
    assert math.isinf(alone.blockade_radius_um)
    assert alone.max_interaction_rad_per_us == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no", "no JSON"),
        ("[]", "another kind"),
        ('{"format": "cudaq-target program"}', "another kind"),
        ('{"format": "cudaq-target analog program", "version": 9}', "version 9"),
        ('{"format": "cudaq-target analog program", "version": 1}', "damaged"),
        (
            '{"format": "cudaq-target analog program", "version": 1, "sequence": {}}',
            "no sequence",
        ),
    ],
)
def test_texts_that_are_no_program(text, words):
    with pytest.raises(OptionError, match=words):
        AnalogProgram.from_json(text)


def test_a_sequence_stays_the_sequence_of_its_program():
    sequence = PROGRAMS["sweep"].sequence
    program = read_sequence(sequence, "mine")
    assert program.sequence is sequence
    assert program.kernel == "mine"
    assert np.array_equal(program.modulated.amplitude, PROGRAMS["sweep"].modulated.amplitude)


def test_programs_without_parameters_cannot_be_bound():
    with pytest.raises(OptionError, match="no parameters"):
        PROGRAMS["sweep"].bind([1.0])


def test_a_layout_of_the_users():
    traps = RegisterLayout([(0, 0), (6, 0), (12, 0), (0, 6), (6, 6)])
    spec = AnalogSpec.of(PAIR, Waveform.constant(400.0, 1.0))
    assert build(spec, traps=traps).timeline.traps is traps


KINDS = ("pchip", "linear")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_members_of_the_ansatz_are_the_programs_of_their_waveforms(kind, data):
    ansatz = analog_ansatz(PAIR, 601, Shape(5, kind, first=0.0, last=0.0), Shape(3, kind))
    low, high = ansatz.bounds.T
    shares = data.draw(st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6))
    values = low + np.array(shares) * (high - low)
    program = ansatz.bind(values)
    assert program.spec.amplitude.at(np.linspace(0, 601, 5))[1:-1] == pytest.approx(
        values[:3], abs=0.3
    )
    again = lower(program.spec, analog_rules())
    assert np.abs(again.amplitude - program.timeline.amplitude).max() < 1e-9
    assert np.abs(again.detuning - program.timeline.detuning).max() < 1e-9
    assert again.duration_ns == program.timeline.duration_ns == 604
    assert program.timeline.error.amplitude_rad_per_us == pytest.approx(
        again.error.amplitude_rad_per_us, abs=1e-9
    )
    assert np.array_equal(program.timeline.atoms_um, again.atoms_um)
    pulser_device = program.sequence.device
    assert pulser_device == pulser.AnalogDevice


@pytest.mark.parametrize("kind", KINDS)
def test_curves_go_through_their_points_without_overshoot(kind):
    ansatz = analog_ansatz(PAIR, 1000, Shape(5, kind, first=0.0, last=0.0), Shape(5, kind))
    values = [12.0, 0.0, 12.0, -100.0, 100.0, 100.0, -100.0, 0.0]
    program = ansatz.bind(values)
    at = np.linspace(0.0, 1000.0, 5)
    assert program.spec.amplitude.at(at) == pytest.approx([0.0, 12.0, 0.0, 12.0, 0.0], abs=1e-12)
    assert program.spec.detuning.at(at) == pytest.approx(values[3:], abs=1e-12)
    assert program.timeline.amplitude.max() <= 12.0
    assert np.abs(program.timeline.detuning).max() <= 100.0


def test_binding_again_changes_the_waveforms_alone():
    first = PROGRAMS["ansatz"]
    second = first.bind(np.full(7, 2.0))
    assert second.timeline.atoms_um is first.timeline.atoms_um
    assert second.timeline.traps is first.timeline.traps
    assert second.timeline.amplitude.max() == pytest.approx(2.0)
    assert first.timeline.amplitude.max() > 8.0, "the first program is what it was"


def test_parameters_from_functions():
    ansatz = analog_ansatz(PAIR, 1000, Shape(5, first=0.0, last=0.0), Shape(3))
    values = ansatz.values(lambda share: 8.0 * share, lambda share: 40.0 * share - 20.0)
    assert values.tolist() == [2.0, 4.0, 6.0, -20.0, 0.0, 20.0]


def test_bounds_are_the_limits_of_the_device():
    ansatz = analog_ansatz(PAIR, 1000, Shape(3, first=0.0), Shape(2))
    drive = analog_rules().drive
    peak, edge = drive.max_amplitude_rad_per_us, drive.max_detuning_rad_per_us
    assert ansatz.bounds.tolist() == [[0, peak], [0, peak], [-edge, edge], [-edge, edge]]
    with pytest.raises(AnalogLimitError, match=r"parameter 1 \(a point of the amplitude\), -1 rad"):
        ansatz.bind([1.0, -1.0, 0.0, 0.0])
    with pytest.raises(AnalogLimitError, match=r"Nearest valid value: 125\.663706") as caught:
        ansatz.bind([1.0, 1.0, 0.0, 200.0])
    assert caught.value.nearest == pytest.approx(edge)
    assert ansatz.bind([1.0, 1.0, 0.0, edge * (1.0 + 1e-12)]).timeline.detuning.max() <= edge


@pytest.mark.parametrize("values", [[1.0], [[1.0] * 4], [math.nan, 1.0, 0.0, 0.0]])
def test_wrong_parameters(values):
    ansatz = analog_ansatz(PAIR, 1000, Shape(3, first=0.0), Shape(2))
    with pytest.raises(OptionError, match="Give 4 finite values: 2 of the amplitude, then 2"):
        ansatz.bind(values)


def test_the_mean_amplitude_is_checked():
    sites = [(6.0 * k, 0.0) for k in range(10)]
    ansatz = analog_ansatz(sites, 1000, Shape(3, first=0.0, last=0.0), Shape(2), fresnel_like())
    with pytest.raises(AnalogLimitError, match="mean amplitude"):
        ansatz.bind([0.5, 0.0, 0.0])


def test_shapes_that_are_none():
    for n_points, kind in ((1, "pchip"), (3, "cubic")):
        with pytest.raises(OptionError, match="at least 2 points"):
            Shape(n_points, kind)
    with pytest.raises(OptionError, match="Use 0 or more"):
        analog_ansatz(PAIR, 1000, Shape(3, first=-1.0), Shape(2))
    with pytest.raises(AnalogLimitError, match="absolute detuning"):
        analog_ansatz(PAIR, 1000, Shape(3), Shape(2, last=200.0))


def test_a_detuning_of_rounding_errors_is_drawn_as_a_constant():
    figure = build(AnalogSpec.of(PAIR, Waveform.constant(500, 6.0))).draw()
    low, high = figure.axes[2].get_ylim()
    assert figure.axes[2].get_ylabel().startswith("δ")
    assert high - low > 0.1


def test_populations_and_counts(tmp_path):
    times = np.linspace(0.0, 1000.0, 20)
    curves = np.sin(times[:, None] / 300.0 * np.arange(1, 4)) ** 2
    figure = draw_populations(times, curves, tmp_path / "p.svg", title="Rabi")
    (axes,) = figure.axes
    assert len(axes.lines) == 4
    assert (
        draw_populations(times, curves, labels=["a", "b", "c"]).axes[0].lines[0].get_label() == "a"
    )
    with pytest.raises(OptionError, match="one row per time"):
        draw_populations(times[1:], curves)
    figure = draw_counts({"01": 5, "10": 90, "11": 1, "00": 4}, highlighted=["10"], n_most=2)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["10", "01", "2 others"]
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == pytest.approx(1.0)
    with pytest.raises(OptionError, match="no shots"):
        draw_counts({})
    with pytest.raises(OptionError, match=r"ends in \.png"):
        draw_counts({"0": 1}, tmp_path / "x.bmp")


def test_all_public_names_load():
    from cudaq_target import analog

    assert all(hasattr(analog, name) for name in analog.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        analog.nothing  # noqa: B018
