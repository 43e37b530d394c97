"""Reports of manifests: the tracker's fields, openQSE's card, text and page."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from cudaq_target import cli, manifest
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.errors import OptionError
from cudaq_target.manifest.model import Result, write
from cudaq_target.manifest.openqse import CLASSES, DIMENSIONS, card, read_record
from cudaq_target.manifest.page import page
from cudaq_target.manifest.tracker import FIELDS, submission
from cudaq_target.manifest.words import text

ROOT = Path(__file__).parents[2]
RECORDS = [ROOT / "benchmarks" / "results" / f"{name}.json" for name in ("rtt", "stream")]
TEXT, NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
# The tracker's issue templates; what they parse as numbers must be numbers.
TRACKER = {
    "name": TEXT, "hamiltonian": TEXT, "circuit": TEXT, "qubits": NUMBER, "gates": NUMBER,
    "energy": NUMBER, "observableValue": NUMBER, "value": NUMBER, "errorBoundLow": NUMBER,
    "errorBoundHigh": NUMBER, "method": TEXT, "methodProof": TEXT, "authors": TEXT,
    "institutions": TEXT, "runtimeQuantum": NUMBER, "runtimeClassical": NUMBER,
    "computeResourcesQuantum": TEXT, "computeResourcesClassical": TEXT, "notes": TEXT,
}  # fmt: skip


@pytest.fixture(scope="module")
def found():
    ramp = Waveform([0, 250, 750, 1000], [0.0, 9.0, 9.0, 0.0])
    program = build(AnalogSpec.of([(0, 0), (7, 0)], ramp, name="blockade"))
    return manifest.run(program, 100, machine="local", seed=5)[1]


@pytest.fixture(scope="module")
def energy(found):
    """The same run, as if it were a loop that found an energy."""
    return dataclasses.replace(
        found,
        kind="loop",
        name="vqe",
        program=None,
        estimate=None,
        loop={"name": "vqe", "settings": {"system": "h2", "seed": 1}, "record": None},
        result=Result(
            quantity="energy", value=-1.137, unit="Ha", standard_error=0.002,
            interval=(-1.146, -1.128), confidence=0.95, method="loop", n_used=900,
            figures={"n_qubits": 2, "system": "h2-2", "n_lost": 0, "machine_seconds": 4.0,
                     "rtt_ns": {"p50": 200_000, "p90": 300_000, "p99": 900_000, "max": 2_000_000}},
        ),
        events="/somewhere/events.jsonl",
    )  # fmt: skip


def called(capsys, *words):
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("path", FIELDS)
def test_the_tracker_gets_exactly_its_fields(energy, path) -> None:
    fields = submission(energy, path)
    assert tuple(fields) == FIELDS[path]
    schema = {
        "type": "object",
        "required": list(FIELDS[path]),
        "additionalProperties": False,
        "properties": {name: TRACKER[name] for name in FIELDS[path]},
    }
    Draft202012Validator(schema).validate(json.loads(json.dumps(fields, allow_nan=False)))


def test_an_energy_has_its_bounds_and_an_emulator_is_classical(energy) -> None:
    fields = submission(energy)
    assert (fields["energy"], fields["hamiltonian"], fields["qubits"]) == (-1.137, "h2-2", 2)
    assert (fields["errorBoundLow"], fields["errorBoundHigh"]) == (-1.146, -1.128)
    assert fields["runtimeQuantum"] is fields["computeResourcesQuantum"] is None
    assert fields["runtimeClassical"] == energy.seconds["total"]
    assert "emulator local" in fields["computeResourcesClassical"]
    assert fields["authors"] is fields["institutions"] is fields["methodProof"] is None


def test_a_qpu_is_quantum_and_an_unknown_machine_is_nothing(energy) -> None:
    seconds = {"run": 10.0, "total": 10.0, "machine": 4.0}
    qpu = {"name": "FRESNEL", "is_emulator": False}
    fields = submission(dataclasses.replace(energy, machine=qpu, seconds=seconds))
    assert (fields["runtimeQuantum"], fields["runtimeClassical"]) == (4.0, 6.0)
    assert fields["computeResourcesQuantum"] == "FRESNEL (AnalogDevice)"
    unknown = {"name": "qrmi", "is_emulator": None}
    fields = submission(dataclasses.replace(energy, machine=unknown, seconds=seconds))
    assert fields["runtimeQuantum"] is fields["runtimeClassical"] is None
    assert fields["computeResourcesQuantum"] is None


def test_a_standard_error_alone_gives_bounds_that_say_so(energy) -> None:
    result = dataclasses.replace(energy.result, interval=None, confidence=None)
    fields = submission(dataclasses.replace(energy, result=result))
    assert fields["errorBoundHigh"] - fields["energy"] == pytest.approx(1.96 * 0.002, rel=1e-3)
    assert "1.96 standard errors" in fields["notes"]


def test_counts_are_no_value(found) -> None:
    fields = submission(found)
    assert fields["observableValue"] is fields["errorBoundLow"] is None
    with pytest.raises(OptionError, match="the tracker has none"):
        submission(found, "fastest")


def test_a_card_without_evidence_is_tbd() -> None:
    empty = card()
    assert tuple(row.dimension for row in empty.rows) == DIMENSIONS
    assert {row.status for row in (*empty.rows, empty.loop)} == {"TBD"}
    assert {row.text for row in empty.rows} == {"TBD"}
    assert empty.updated == "TBD"


def test_a_card_takes_figures_from_records_alone() -> None:
    records = [read_record(path) for path in RECORDS]
    rows = {row.dimension: row for row in card(None, records).rows}
    first = next(
        entry
        for entry in records[0]["latency"]
        if entry["bytes"] == 64 and entry["case"].startswith("connect()")
    )
    assert (first["transport"], first["wait"]) == ("shm", "busy")
    assert rows["Latency"].text.startswith(f"shm 64 B: p50 {1000.0 * first['p50']:.0f} ns, p99 ")
    assert "benchmark rtt, 2026" in rows["Latency"].evidence
    assert "benchmark stream" in rows["Failure behavior"].evidence
    assert "pyzmq" not in rows["Latency"].text  # a peer's figure is not ours
    within = re.match(r"shm: two clocks compared within ±(\d+) ns", rows["Synchronization"].text)
    assert within is not None
    assert abs(float(within[1]) - 500.0 * first["min"]) <= 1.0
    for dimension in ("Program size", "Instruction safety"):
        assert rows[dimension].status == "TBD"


def test_a_card_of_a_memory_says_how_well_its_rounds_kept_time(energy) -> None:
    figures = {"lateness_ns": {"p50": 1_500, "p99": 40_000, "max": 90_000}, "n_lost": 0}
    kept = dataclasses.replace(energy, result=dataclasses.replace(energy.result, figures=figures))
    rows = {row.dimension: row.text for row in card(kept).rows}
    assert rows["Synchronization"].startswith(
        "rounds leave by one clock, p50 1.5 µs, p99 40 µs after their time"
    )


def test_a_card_of_a_loop_has_its_round_trips(energy, found) -> None:
    filled = card(energy)
    assert filled.loop.status == "Observed"
    assert filled.loop.text.startswith(f"{CLASSES[1]} (p99 900 µs")
    rows = {row.dimension: row for row in filled.rows}
    assert "p50 200 µs" in rows["Latency"].text
    assert rows["Jitter"].text.startswith("loop: p99 − p50 = 700 µs")
    assert rows["Failure behavior"].text == "0 shots lost in the loop"
    assert rows["Synchronization"].text.startswith("not applicable: decisions count shots")
    assert rows["Synchronization"].status == "Observed"
    assert "/somewhere" not in filled.markdown()
    rows = {row.dimension: row for row in card(found).rows}
    n_bytes = len(found.program["text"].encode())
    assert rows["Program size"].text.startswith(f"{n_bytes:,} B, 1.000 µs")
    assert "AnalogDevice" in rows["Instruction safety"].text
    again = manifest.rerun(found).manifest
    rows = {row.dimension: row for row in card(again).rows}
    assert rows["Determinism"].text == "repeated with its seed: identical"


def test_tables_of_a_card_hold_together(energy) -> None:
    named = dataclasses.replace(energy, name="a|b\nc")
    lines = card(named, [read_record(path) for path in RECORDS]).markdown().splitlines()
    cells = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")]
    assert set(cells) == {3, 5, 7}  # tables of 2, 4 and 6 columns
    assert sum(line.startswith(f"| {name} |") for line in lines for name in DIMENSIONS) == 10


@pytest.mark.parametrize("content", ["", "[]", '{"bench": "x"}'])
def test_other_files_are_no_records(content, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(OptionError, match="no record of a benchmark"):
        read_record(path)


def test_text_says_the_result_first_and_no_escape_codes(found, energy) -> None:
    lines = text(energy).splitlines()
    assert lines[1].split() == ["energy", "-1.1370", "±", "0.0020", "Ha"]
    assert "counts" in text(found)
    evil = dataclasses.replace(found, name="\x1b[2Jclear", command="a\nb")
    assert "\x1b" not in text(evil)


def test_a_page_is_whole_and_escaped(found) -> None:
    class Reader(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []

        def handle_starttag(self, tag, attributes):
            self.tags.append(tag)
            assert tag not in ("script", "link", "img")
            assert not any(name in ("src", "href") for name, _ in attributes)

    evil = dataclasses.replace(found, name="<script>alert(1)</script>", events='"><img src=x>')
    drawn = page(evil)
    reader = Reader()
    reader.feed(drawn)
    assert reader.tags.count("rect") == len(found.result.counts)
    assert "&lt;script&gt;" in drawn
    assert drawn.endswith("</html>\n")


def test_the_command_tells_files_apart(found, energy, tmp_path: Path, capsys) -> None:
    path, out = tmp_path / "m.json", tmp_path / "out"
    write(energy, path)
    code, said, _ = called(capsys, "report", path, "--format", "tracker", "--authors", "A, B")
    assert (code, json.loads(said)["authors"]) == (0, "A, B")
    code, said, _ = called(
        capsys, "report", path, "--format", "openqse", "--bench", RECORDS[0], "-o", out
    )
    assert (code, said.strip()) == (0, str(out))
    assert out.read_text().startswith("# UC-04")
    code, said, _ = called(capsys, "report", path, "--format", "openqse", "--json")
    assert [row["dimension"] for row in json.loads(said)["rows"]] == list(DIMENSIONS)
    code, said, _ = called(capsys, "report", path, "--format", "html", "-o", out)
    assert out.read_text().startswith("<!DOCTYPE html>")
    code, said, _ = called(capsys, "report", path, "--json")
    assert json.loads(said)["format"] == "cudaq-target manifest"
    program = tmp_path / "p.json"
    program.write_text(found.program["text"])
    code, said, _ = called(capsys, "report", program)
    assert (code, said.startswith("blockade on AnalogDevice")) == (0, True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("{program}", "--format", "tracker"), "has not run"),
        (("{program}", "--authors", "A"), "is no manifest"),
        (("{manifest}", "--bench", "x.json"), "--format openqse"),
        (("{manifest}", "--format", "openqse", "--bench", "x.json"), "no record of a benchmark"),
        (("{manifest}", "--format", "tracker", "--path", "x"), "the tracker has none"),
        (("{manifest}", "-o", "/no/such/place"), "cannot be written"),
        (("nothing.json",), "cannot be read"),
        (("nothing",), "cannot be read"),
        (("{manifest}", "--format", "pdf"), "pdf"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_named(found, words, reason, tmp_path: Path, capsys) -> None:
    places = {"program": tmp_path / "p.json", "manifest": tmp_path / "m.json"}
    places["program"].write_text(found.program["text"])
    write(found, places["manifest"])
    code, _, err = called(capsys, "report", *(word.format(**places) for word in words))
    assert code == 2
    assert reason in err.replace("\n", " ")
