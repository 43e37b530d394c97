"""Drift tracking over a controller, against the drift of the emulated machine."""

from __future__ import annotations

import json
from math import pi

import numpy as np
import pytest

from cudaq_target import manifest
from cudaq_target.analog.ansatz import Shape, analog_ansatz
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.controller.drifting import DriftingMachine, DriftLaw
from cudaq_target.coupler import ProgramRefusedError, RemoteCallError, connect, serve
from cudaq_target.errors import OptionError
from cudaq_target.kernels.estimation import OutcomeErrors, outcome_probabilities
from cudaq_target.loops.drift import DriftSettings, read_payload, replay_drift, track_drift
from cudaq_target.loops.probes import probe_set

SITES = [(0, 0), (6, 0), (12, 0), (18, 0)]


@pytest.fixture(scope="module")
def probes():
    return probe_set(4)


@pytest.fixture(scope="module")
def payload():
    return build(AnalogSpec.of(SITES, Waveform.constant(1000, 6.0), name="payload"))


def shares(machine: DriftingMachine, text: str, n_shots: int) -> float:
    run = machine.begin(machine.load(text), np.zeros(0), n_shots, 1)
    return float(np.bitwise_count(run.measure(n_shots)).sum()) / (n_shots * run.n_qubits)


def test_probes_are_the_formulas(probes) -> None:
    # The emulator solves the pulses of all atoms, with their interactions.
    machine = DriftingMachine(DriftLaw(0.0, 0.0, 1.02, 0.15), held_shots=4000)
    point = [[1.02 * probes.rabi_rad_per_us, 0.15, 0.0]]
    for experiment, text in list(zip(probes.experiments, probes.texts, strict=True))[::5]:
        exact = outcome_probabilities(point, [experiment])[0, 0]
        assert shares(machine, text, 4000) == pytest.approx(exact, abs=0.005 + 4 * 0.5 / 126)


def test_the_machine_drifts_with_its_shots(probes) -> None:
    machine = DriftingMachine(DriftLaw(0.02, 0.0), shots_per_s=5.0, held_shots=1)
    run = machine.begin(machine.load(probes.texts[31]), np.zeros(0), 10**6, 3)
    first = np.concatenate([run.measure(100) for _ in range(20)])
    assert len(first) == 20
    machine.n_measured = 300
    assert machine.law.at(machine.n_measured / 5.0)[0] == pytest.approx(1.02)
    scale, shift = DriftLaw(0.01, -0.1, turn_s=30.0).at([0.0, 15.0, 30.0, 45.0, 60.0])
    np.testing.assert_allclose(scale, [1.0, 1.0025, 1.005, 1.0025, 1.0])
    np.testing.assert_allclose(shift, [0.0, -0.025, -0.05, -0.025, 0.0])
    again = DriftingMachine(DriftLaw(0.02, 0.0), shots_per_s=5.0, held_shots=1)
    other = again.begin(again.load(probes.texts[31]), np.zeros(0), 20, 3)
    np.testing.assert_array_equal(np.concatenate([other.measure(1) for _ in range(20)]), first)


def test_read_out_errors_are_made(probes) -> None:
    errors = OutcomeErrors(0.1, 0.3)
    machine = DriftingMachine(DriftLaw(0.0), errors=errors, held_shots=5000)
    for number in (5, 10):
        exact = outcome_probabilities(
            [[probes.rabi_rad_per_us, 0.0, 0.0]], [probes.experiments[number]], errors
        )[0, 0]
        assert shares(machine, probes.texts[number], 5000) == pytest.approx(exact, abs=0.02)


def test_both_parameters_are_followed_while_a_payload_runs(probes, payload, tmp_path) -> None:
    law = DriftLaw(0.01, 0.05, rabi_start=0.97, detuning_start=0.1)
    seen, events = [], []
    result = track_drift(
        payload,
        emulated=DriftingMachine(law, seed=2),
        n_shots=500,
        probes=probes,
        on_payload=lambda rows: seen.append(rows.copy()),
        seed=3,
        events=events.append,
        record=tmp_path / "drift.rec",
    )
    rabi, detuning = result.errors_against(law)
    assert len(rabi) == 500
    assert np.sqrt(np.mean(rabi**2)) < 0.004
    assert np.sqrt(np.mean(detuning**2)) < 0.06
    assert result.calibration.is_known
    data = result.as_data()
    assert data["n_probe_shots"] + data["n_payload_shots"] == 500
    assert data["n_payload_shots"] > 300
    assert sum(map(len, seen)) == data["n_payload_shots"]
    assert data["n_relocks"] == 0
    assert json.loads(json.dumps(data)) == data
    assert "of nominal" in result.text()
    assert events[0]["loop"] == "drift"
    assert events[-1]["status"] == "done"
    replayed = replay_drift(tmp_path / "drift.rec", payload, n_shots=500, probes=probes)
    np.testing.assert_array_equal(replayed.track.means, result.track.means)
    np.testing.assert_array_equal(replayed.track.settings, result.track.settings)
    assert replayed.as_data() == data


def test_equal_seeds_give_equal_tracks(probes, payload) -> None:
    tracks = [
        track_drift(payload, emulated=DriftingMachine(DriftLaw(), seed=s), n_shots=60,
                    probes=probes, seed=5).track.means
        for s in (1, 1, 2)
    ]  # fmt: skip
    np.testing.assert_array_equal(tracks[0], tracks[1])
    assert tracks[0].shape != tracks[2].shape or (tracks[0] != tracks[2]).any()


def test_a_payload_can_make_up_for_the_drift() -> None:
    # A pulse of 8 pi on atoms far apart returns them to g, where its area is right.
    ansatz = analog_ansatz(
        [(20, 20), (-20, 20), (20, -20), (-20, -20)],
        2140,
        Shape(2, "linear"),
        Shape(2, "linear"),
        name="return",
    )
    nominal = 8 * pi / 2.14
    law = DriftLaw(0.0, 0.0, rabi_start=0.95)
    excited = {}
    for is_corrected in (True, False):
        ones = []

        def correct(scale: float, detuning: float, follows=is_corrected) -> tuple[float, ...]:
            amplitude = nominal / scale if follows else nominal
            shift = -detuning if follows else 0.0
            return (amplitude, amplitude, shift, shift)

        settings = DriftSettings(detuning_per_min=0.0)
        track_drift(
            ansatz,
            emulated=DriftingMachine(law, seed=4),
            n_shots=200,
            settings=settings,
            correct=correct,
            on_payload=lambda rows, ones=ones: ones.append(np.bitwise_count(rows).mean() / 4),
        )
        excited[is_corrected] = np.mean(ones)
    assert excited[False] > 0.2
    assert excited[True] < 0.02


def test_two_loops_share_a_controller(probes, payload, tmp_path) -> None:
    law = DriftLaw(0.01, 0.0)
    machine = DriftingMachine(law, seed=6)
    settings = DriftSettings(detuning_per_min=0.0)
    endpoint = f"ipc://{tmp_path}/c"
    with serve(machine, endpoint), connect(endpoint) as other:
        from cudaq_target.coupler import ControlClient

        client = ControlClient(other.caller(10.0), slot_bytes=other.slot_bytes)
        run = client.run(client.load_program(payload.to_json()), 40)
        result = track_drift(endpoint=endpoint, n_shots=40, settings=settings, probes=probes)
        n_theirs = sum(batch.n_shots for batch in run.batches())
    assert n_theirs == 40
    assert result.track.n_probe_shots == 40
    assert machine.n_measured == 80 + result.calibration.n_shots


def test_programs_that_do_not_fit_are_refused(probes, tmp_path) -> None:
    machine = DriftingMachine(DriftLaw())
    with pytest.raises(ProgramRefusedError, match="a controller knows"):
        machine.load("{}")
    with pytest.raises(ProgramRefusedError, match="takes 0 parameters, 2 came"):
        machine.begin(machine.load(probes.texts[0]), np.zeros(2), 1, 0)
    endpoint = f"ipc://{tmp_path}/c"
    with serve(machine, endpoint), connect(endpoint) as link:
        from cudaq_target.coupler import ControlClient

        with pytest.raises(RemoteCallError, match="no JSON"):
            ControlClient(link.caller(10.0), slot_bytes=link.slot_bytes).load_program("nothing")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: DriftLaw(turn_s=0.0), "times above 0"),
        (lambda: DriftLaw(rabi_start=-1.0), "times above 0"),
        (lambda: DriftingMachine(DriftLaw(), shots_per_s=0.0), "positive numbers"),
        (lambda: probe_set(40), "turn one another by"),
        (lambda: probe_set(0), "at least 1 atom"),
        (lambda: probe_set(4, rabi_rad_per_us=50.0), "up to 12.5664 rad/µs"),
        (lambda: track_drift(correct=lambda *_: ()), "Give both, or neither"),
        (
            lambda: track_drift(endpoint="ipc:///x", emulated=DriftingMachine(DriftLaw())),
            "Give one of the two",
        ),
    ],
)
def test_refused(call, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        call()


def test_payloads_of_other_sizes_are_refused(probes) -> None:
    small = build(AnalogSpec.of(SITES[:2], Waveform.constant(1000, 6.0)))
    with pytest.raises(OptionError, match="the probes have 4"):
        track_drift(small, probes=probes)


def test_payloads_are_read_from_files(payload, tmp_path) -> None:
    path = tmp_path / "program.json"
    path.write_text(payload.to_json())
    assert read_payload(path).stats == payload.stats
    with pytest.raises(OptionError, match="cannot be read"):
        read_payload(tmp_path / "none.json")
    shapes = Shape(2, "linear"), Shape(2, "linear")
    path.write_text(analog_ansatz(SITES, 1000, *shapes).to_json())
    with pytest.raises(OptionError, match="without parameters"):
        read_payload(path)


def test_command(payload, tmp_path, capsys) -> None:
    from cudaq_target.commands import run

    path = tmp_path / "program.json"
    path.write_text(payload.to_json())
    record = tmp_path / "drift.rec"
    words = ["loop", "drift", str(path), "--shots", "60", "--detuning-per-min", "0", "--json"]
    files = ["--manifest", str(tmp_path / "manifest.json"), "--record", str(record)]
    assert run([*words, *files]) == 0
    found = json.loads(capsys.readouterr().out)
    written = manifest.read(tmp_path / "manifest.json")
    assert written.result.value == found["rabi_scale"]
    assert (written.n_shots, written.result.n_used) == (60, found["n_probe_shots"])
    assert found["n_probe_shots"] + found["n_payload_shots"] == 60
    assert found["is_calibrated"]
    assert run([*words, "--replay", str(record)]) == 0
    assert json.loads(capsys.readouterr().out) == found
    repeated = manifest.rerun(written)
    assert repeated.agreement == "identical"
    assert repeated.manifest.result.figures == written.result.figures


def test_what_is_no_record_of_a_drift_is_not_replayed(tmp_path, probes) -> None:
    from cudaq_target.coupler.loops.errors import LoopRecordError
    from cudaq_target.coupler.loops.record import LoopRecorder

    record = tmp_path / "other.rec"
    LoopRecorder(record, 4, 2, 1, 0, "another loop").close()
    with pytest.raises(LoopRecordError, match="no calibration"):
        replay_drift(record, probes=probes)
