"""The benchmarks run and keep their output contract; no test looks at a time."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import accuracy, circuits, digital, kernels, qiskit_peer, run, table
from benchmarks import compile as lowering
from benchmarks.report import Goal, Report, Row, machine_facts, summary, write
from benchmarks.report import table as report_table
from tests.target.simulate import state_of

KEYS = ["name", "value", "unit", "peer", "ratio", "reach", "holds"]
GHZ = circuits.Case("ghz-3", "ghz", 3)
# mqt.bench imports what it does not need, and mqt.core has an extension without a module name.
pytestmark = pytest.mark.filterwarnings("default")


def check(row):
    """Check one row against the contract, through JSON."""
    public = json.loads(json.dumps(row.public()))
    assert list(public) == KEYS
    assert isinstance(public["name"], str)
    assert isinstance(public["unit"], str)
    assert public["value"] is None or isinstance(public["value"], int | float)
    assert public["ratio"] is None or public["ratio"] > 0
    assert public["holds"] in (True, False, None)
    assert public["reach"] is not None or public["holds"] is None
    return public


def test_rows_of_one_circuit():
    pytest.importorskip("mqt.bench")
    rows = [check(row) for row in lowering.circuit_rows(GHZ, n_seeds=1)]
    names = [row["name"] for row in rows]
    assert names[0] == "entangling gates ghz-3"
    assert {"duration ghz-3", "duration ghz-3, best schedule"} < set(names)
    assert names[-1] == "state error ghz-3"
    assert rows[0]["value"] == 2
    assert "a tie" in rows[0]["peer"]
    assert rows[-1]["holds"]


def test_a_circuit_that_is_lost_is_a_row(monkeypatch):
    """Two of four qubits are idle: Qiskit plays nothing on them, ours the random input."""
    pytest.importorskip("mqt.bench")
    case = circuits.Case("bv-4", "bv", 4)
    monkeypatch.setattr(circuits, "MORE", (case,))
    rows = list(lowering.circuit_rows(case, n_seeds=1))
    by_name = {row.name: row for row in rows}
    assert by_name["duration bv-4"].holds is None
    assert "the peer wins" in by_name["duration bv-4"].peer
    assert by_name["duration bv-4, both on the random input"].ratio > 0
    lost = {row.name: row for row in lowering.tally_rows(rows)}
    assert lost["circuits on which ours has the shorter sequence"].value == 0
    assert "column: 1, a tie on 0" in lost["circuits on which ours has the shorter sequence"].peer


def test_a_wrong_state_is_a_wrong_result(monkeypatch):
    pytest.importorskip("mqt.bench")
    monkeypatch.setattr(accuracy, "infidelity", lambda _ideal, _state: 1e-6)
    row = lowering.state_row(lowering.lowered(GHZ))
    assert row.is_correctness
    assert row.holds is False


def test_the_circuits_are_the_same_in_every_run():
    pytest.importorskip("mqt.bench")
    entry = circuits.case("graphstate-16")
    first = circuits.circuit(entry)
    circuits.circuit.cache_clear()
    assert circuits.circuit(entry) == first
    assert len(circuits.CASES) == 12
    assert len(circuits.MORE) == 10
    assert max(case.n_qubits for case in circuits.MORE) <= 16


def test_bind_rows():
    for row in lowering.bind_rows(3, 1, repeats=1):
        assert check(row)["value"] > 0


def test_ghz_against_pulser_simulation():
    pytest.importorskip("pulser_simulation")
    (row,) = digital.ghz_rows(2, repeats=1)
    assert check(row)["ratio"] > 0


def test_what_cannot_run_has_no_verdict(monkeypatch):
    def fail(*_, **__):
        raise digital.ProbeError("no memory")

    monkeypatch.setattr(digital, "probe", fail)
    monkeypatch.setattr(digital, "cold_probe", fail)
    (row,) = digital.large_rows("ghz-24", repeats=1, peer_repeats=0)
    assert check(row)["holds"] is None
    assert "no memory" in row.note
    assert all(check(row)["holds"] is None for row in digital.overhead_rows(1))
    wrong = digital.error_row("corpus", quick=True)
    assert check(wrong)["holds"] is False
    assert not Report("digital", (wrong,), "command").is_correct


def test_errors_of_a_circuit_on_a_random_input():
    pytest.importorskip("mqt.bench")
    errors = list(accuracy.input_errors(("grover-4",), 1))
    assert [error.case for error in errors] == ["grover-4, input 0"]
    assert errors[0].infidelity < 1e-9


def test_infidelity_counts_leakage():
    ideal = np.array([1.0, 0.0], dtype=complex)
    assert accuracy.infidelity(ideal, np.sqrt(0.75) * ideal) == pytest.approx(0.25)


def test_circuits_mean_what_they_say():
    state = state_of(kernels.ghz(3))
    assert np.abs(state[[0, 7]]) == pytest.approx(np.full(2, np.sqrt(0.5)))
    layers = kernels.random_layers(5, 3)
    assert len(layers.gates) == 3 * (5 + 2)
    assert len(kernels.ring(10, [0.1] * 50).gates) == 100
    assert kernels.generic_input(layers, 1).gates[5:] == layers.gates


def test_same_gates_in_cudaq():
    import cudaq

    circuit = kernels.random_layers(3, 2)
    cudaq.set_target("qpp-cpu")
    expected = np.array(cudaq.get_state(kernels.to_cudaq(circuit))).reshape((2,) * 3)
    ours = state_of(circuit).reshape((2,) * 3)
    assert abs(np.vdot(expected.transpose().ravel(), ours.ravel())) == pytest.approx(1.0)


def test_sites_of_the_peers():
    grid = qiskit_peer.sites("grid", 6)
    assert grid.max(axis=0).tolist() == [2.0, 1.0]
    triangular = qiskit_peer.sites("triangular", 7)
    assert np.linalg.norm(triangular, axis=1) == pytest.approx([0.0] + [1.0] * 6)
    assert len(qiskit_peer.edges(qiskit_peer.COLUMNS[3], 7)) == 7 * 6


def test_time_of_one_cz_of_the_peers():
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    # π, 220 ns until the beam may turn, 116 ns, 220 ns after the last turn, π.
    at_um = qiskit_peer.sites("grid", 2) * qiskit_peer.SPACING_UM
    assert qiskit_peer.scheduled_ns(circuit, at_um) == 492


def test_time_of_a_cz_grows_with_distance():
    c6 = 5420158.53
    lengths = [qiskit_peer.cz_ns(distance, c6) for distance in (4.0, 8.0, 10.0, 12.0, 14.0)]
    assert lengths[:3] == [116, 212, 668]
    assert lengths == sorted(lengths)


def test_goal():
    assert str(Goal(8.0)) == "<= 8"
    assert Goal(8.0).met_by(8.0)
    assert not Goal(8.0, strict=True).met_by(8.0)


def test_summary_of_repeats():
    assert summary(()) is None
    found = summary([float(k) for k in range(1, 101)])
    assert (found["p50"], found["p99"], found["max"]) == (50.5, 100.0, 100.0)


def test_record_and_table(tmp_path):
    rows = (
        Row(
            "time | of things", 1.5, "ms", "peer: 3 ms", 2.0, "<= 2", True, samples=(1.0, 1.5, 2.0)
        ),
        Row("not run", None, "s", reach="<= 1", note="could not run: no such device"),
        Row("not run either", None, "s", note="could not run: no such device"),
    )
    report = Report("example", rows, "python -m benchmarks.run example", machine_facts())
    assert report_table(report).endswith("\n\nno such device")
    write(report, tmp_path / "example.json")
    text = table.tables(tmp_path)
    assert "| time \\| of things | 1.5 | ms | min 1, p99 2, max 2, n 3 | peer: 3 ms | 2× |" in text
    assert "could not run" in text
    framed = table.with_tables(f"a\n{table.BEGIN}\nold\n{table.END}\nb", "new")
    assert framed == f"a\n{table.BEGIN}\n\nnew\n\n{table.END}\nb"


def test_readme_holds_the_recorded_tables():
    text = table.README.read_text()
    assert table.with_tables(text, table.tables()) == text


def test_json_on_standard_output(capsys, monkeypatch):
    monkeypatch.setattr(digital, "rows", lambda _: iter([Row("one", 1.0, "ms")]))
    assert run.main("digital", quick=True, json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["machine", "rows"]
    assert printed["machine"]["cores"] >= 1
    assert [list(row) for row in printed["rows"]] == [KEYS]


def test_a_wrong_result_fails_and_a_slow_one_does_not(capsys, monkeypatch):
    slow = Row("slow", 9.0, "ms", reach="<= 1", holds=False)
    wrong = Row("wrong", 1.0, "1 - F", reach="<= 1e-9", holds=False, is_correctness=True)
    for rows, code in (([slow], 0), ([slow, wrong], 1)):
        monkeypatch.setattr(digital, "rows", lambda _, rows=rows: iter(rows))
        assert run.main("digital", quick=True) == code
        assert "NO" in capsys.readouterr().out


def test_unknown_name(capsys):
    assert run.main("nothing") == 2
    assert "compile, digital" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_named(monkeypatch, capsys):
    def fail(*_):
        raise ModuleNotFoundError("No module named 'mqt'", name="mqt")

    monkeypatch.setattr(run, "measure", fail)
    assert run.main("compile", quick=True) == 3
    assert "mqt is not installed; `make bench`" in capsys.readouterr().err


def test_probe_prints_json():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.probes", "run_ours", "ghz-2"],
        cwd=table.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stdout)) == {"import_s", "seconds", "compile_s"}
