"""The AHS schema: CUDA-Q's own text, exact digits, and what the schema cannot hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.analog import ahs
from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.errors import OptionError, RegisterError, WaveformError
from tests.target.analog_specs import sweep

TEXT = {
    "setup": {"ahs_register": {"sites": [["0.0", "0.0"], ["5e-6", "1.25e-6"]], "filling": [1, 0]}},
    "hamiltonian": {
        "drivingFields": [
            {
                "amplitude": {
                    "pattern": "uniform",
                    "time_series": {"times": ["0", "0.0000015"], "values": ["0", "6283185.307"]},
                },
                "detuning": {"time_series": {"times": [0, 1.5e-6], "values": [-3.3e6, 2]}},
                "phase": {
                    "pattern": "uniform",
                    "time_series": {"times": [0, 1e-7, 1.5e-6], "values": [0, 1.5, 1.5]},
                },
            }
        ],
        "localDetuning": [],
    },
}


def changed(**changes):
    """Return the text with one entry of the driving field replaced, or left out where None."""
    content = json.loads(json.dumps(TEXT))
    field = content["hamiltonian"]["drivingFields"][0]
    for key, value in changes.items():
        if value is None:
            del field[key]
        else:
            field[key] = value
    return content


def test_digits_are_read_exactly():
    spec = ahs.loads(json.dumps(TEXT))
    assert spec.sites_um.tolist() == [[0.0, 0.0], [5.0, 1.25]]
    assert spec.filling.tolist() == [True, False]
    assert spec.amplitude.times_ns.tolist() == [0.0, 1500.0]
    assert spec.amplitude.values.tolist() == [0.0, 6.283185307]
    assert spec.detuning.values.tolist() == [-3.3, 2e-6]
    assert spec.phase.kind == "step"
    assert spec.phase.times_ns.tolist() == [0.0, 100.0, 1500.0]
    assert spec.phase.values.tolist() == [0.0, -1.5, -1.5]


def test_missing_detuning_and_phase_are_zero():
    spec = ahs.loads(json.dumps(changed(detuning=None, phase=None)))
    assert not spec.detuning.values.any()
    assert not spec.phase.values.any()


@given(
    st.lists(
        st.tuples(st.floats(-90, 90), st.floats(-90, 90)), min_size=1, max_size=4, unique=True
    ).map(lambda sites: [(100.0 * k + x, y) for k, (x, y) in enumerate(sites)]),
    st.lists(st.floats(0.0, 50.0), min_size=3, max_size=3),
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
    st.lists(st.floats(-7.0, 7.0), min_size=3, max_size=3),
    st.floats(0.001, 0.999),
)
def test_full_precision_comes_back_to_the_last_bit(sites, amplitude, detuning, phase, middle):
    times = [0.0, 3000.0 * middle, 3000.0]
    spec = AnalogSpec.of(
        sites,
        Waveform(times, amplitude),
        Waveform(times, detuning),
        Waveform(times, phase, "step"),
        local=LocalDetuning(Waveform(times, detuning), np.linspace(0.0, 0.7, len(sites))),
    )
    back = ahs.loads(ahs.dumps(spec))
    assert np.array_equal(back.sites_um, spec.sites_um)
    for name in ("amplitude", "detuning", "phase"):
        found, wanted = getattr(back, name), getattr(spec, name)
        assert np.array_equal(found.times_ns, wanted.times_ns)
        assert np.array_equal(found.values, wanted.values)
    assert np.array_equal(back.local.weights, spec.local.weights)
    assert np.array_equal(back.local.waveform.values, spec.local.waveform.values)


def test_eight_decimals_are_what_cudaq_writes():
    runtime = pytest.importorskip("cudaq.mlir._mlir_libs._quakeDialects").cudaq_runtime.ahs
    spec = AnalogSpec.of(
        [(0.0, 0.0), (5.0, 1.25)],
        Waveform([0, 1000], [0.0, 6.283]),
        Waveform([0, 1000], [-3.3, 2.0]),
        Waveform([0, 1000], [-1.5, -1.5], "step"),
        filling=[1, 0],
    )

    def field(values):
        made = runtime.PhysicalField()
        made.time_series = runtime.TimeSeries([(value, time) for time, value in values])
        return made

    atoms, drive, program = runtime.AtomArrangement(), runtime.DrivingField(), runtime.Program()
    atoms.sites, atoms.filling = [(0.0, 0.0), (5e-6, 1.25e-6)], [1, 0]
    drive.amplitude = field([(0.0, 0.0), (1e-6, 6.283e6)])
    drive.detuning = field([(0.0, -3.3e6), (1e-6, 2.0e6)])
    drive.phase = field([(0.0, 1.5), (1e-6, 1.5)])
    program.setup.ahs_register = atoms
    program.hamiltonian.drivingFields = [drive]
    program.hamiltonian.localDetuning = []
    theirs = program.to_json()
    assert json.loads(ahs.dumps(spec, decimals=ahs.CUDAQ_DECIMALS)) == json.loads(theirs)
    assert ahs.loads(theirs).phase.values.tolist() == [-1.5, -1.5]


def test_times_that_fall_together_when_rounded():
    spec = AnalogSpec.of([(0, 0)], Waveform([0, 101, 104, 200], [0, 1, 1, 0]))
    ahs.dumps(spec)
    with pytest.raises(OptionError, match="two times of the amplitude at 104 ns fall together"):
        ahs.dumps(spec, decimals=8)


def test_times_that_cudaq_rounded_together_are_named():
    field = {"time_series": {"times": [0, 1e-8, 1e-8], "values": [0, 1, 1]}}
    with pytest.raises(WaveformError, match="amplitude at 10 ns: the time of point 2"):
        ahs.loads(json.dumps(changed(amplitude=field)))


def test_steps_become_short_ramps_of_the_same_area_on_request():
    step = Waveform([0, 400, 800, 1200], [6.0, 0.0, 3.0, 3.0], "step", "amplitude")
    spec = AnalogSpec.of([(0, 0)], step)
    with pytest.raises(OptionError, match=r"amplitude has steps.*ramp_ns"):
        ahs.dumps(spec)
    back = ahs.loads(ahs.dumps(spec, ramp_ns=2.0)).amplitude
    assert back.times_ns.tolist() == [0.0, 399.0, 401.0, 799.0, 801.0, 1200.0]
    assert back.values.tolist() == [6.0, 6.0, 0.0, 0.0, 3.0, 3.0]
    assert float(back.integral(0, 1200)) == pytest.approx(float(step.integral(0, 1200)), abs=1e-12)


def test_smooth_phases_are_refused():
    spec = AnalogSpec.of([(0, 0)], Waveform.constant(100.0, 1.0), 0.0, Waveform([0, 100], [0, 1]))
    with pytest.raises(OptionError, match="phases of the schema are piecewise constant"):
        ahs.dumps(spec)


def test_empty_sites_have_no_weight():
    spec = AnalogSpec.of(
        [(0, 0), (5, 0), (9, 0)], Waveform.constant(100.0, 1.0), filling=[0, 1, 1],
        local=LocalDetuning(Waveform.constant(100.0, 2.0), [0.5, 1.0]),
    )  # fmt: skip
    text = ahs.dumps(spec)
    pattern = json.loads(text)["hamiltonian"]["localDetuning"][0]["magnitude"]["pattern"]
    assert [float(weight) for weight in pattern] == [0.0, 0.5, 1.0]
    assert ahs.loads(text).local.weights.tolist() == [0.5, 1.0]


def broken(path, value):
    content = json.loads(json.dumps(TEXT))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(content)


FIELD = TEXT["hamiltonian"]["drivingFields"][0]
AT = ("hamiltonian", "drivingFields", 0)
SERIES = {"times": ["0", "0.0000015"], "values": ["0", "-1e6"]}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", OptionError, "JSONDecodeError"),
        ("[]", OptionError, "not readable"),
        ("{}", OptionError, "KeyError: 'setup'"),
        (broken(("hamiltonian", "drivingFields"), []), OptionError, "0 driving fields"),
        (broken(("hamiltonian", "drivingFields"), [FIELD] * 2), OptionError, "2 driving fields"),
        (broken((*AT, "amplitude", "pattern"), ["1", "0"]), OptionError, "pattern over the atoms"),
        (
            broken((*AT, "amplitude", "time_series", "values"), ["x", "1"]),
            OptionError,
            "'x' is no number",
        ),
        (
            broken((*AT, "amplitude", "time_series", "values"), ["1e99999999", "1"]),
            OptionError,
            "'1e99999999' is no number",
        ),
        (
            broken(
                ("hamiltonian", "localDetuning"),
                [{"magnitude": {"pattern": ["0", "1", "1"], "time_series": SERIES}}],
            ),
            OptionError,
            "3 weights for 2 sites",
        ),
        (
            broken((*AT, "amplitude", "time_series"), {"times": [], "values": []}),
            WaveformError,
            "no points",
        ),
        (
            broken((*AT, "detuning", "time_series", "values"), ["NaN", "1"]),
            WaveformError,
            "detuning at 0 ns: the value of point 0 is nan",
        ),
        (broken(("setup", "ahs_register", "sites"), []), RegisterError, "no sites"),
    ],
)
def test_texts_that_are_no_program(text, error, words):
    with pytest.raises(error, match=words):
        ahs.loads(text)


def test_si_values_and_their_errors():
    times = [0.0, 1e-6]
    spec = ahs.spec_from_si([(0, 0), (6e-6, 0)], times, [0, 6e6], [-1e6, 1e6], [0.0, 0.5])
    assert spec.sites_um == pytest.approx(np.array([[0, 0], [6, 0]]))
    assert spec.phase.kind == "step"
    with pytest.raises(WaveformError, match="amplitude: values that are no real numbers"):
        ahs.spec_from_si([(0, 0)], times, [0, 6j], [0, 0], [0, 0])
    with pytest.raises(WaveformError, match="no points"):
        ahs.spec_from_si([(0, 0)], [], [], [], [])


def test_a_sweep_survives_cudaqs_precision():
    back = ahs.loads(ahs.dumps(sweep(), decimals=ahs.CUDAQ_DECIMALS))
    assert back.amplitude.values == pytest.approx(sweep().amplitude.values, abs=1e-12)
