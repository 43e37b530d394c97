"""Reports of real loops: whole pages that hold what they need, and escape the rest."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cudaq_target import cli
from cudaq_target.controller import controller
from cudaq_target.controller.drifting import DriftingMachine, DriftLaw
from cudaq_target.coupler import serve
from cudaq_target.coupler.loops.memory import Server, memory_experiment
from cudaq_target.errors import EventFileError, OptionError
from cudaq_target.loops.drift import DriftSettings, track_drift
from cudaq_target.loops.graphs import unit_disk_graph
from cudaq_target.loops.mis import MisSettings, find_mis
from cudaq_target.watch.plots import VARIABLES
from cudaq_target.watch.reader import read_file
from cudaq_target.watch.report import report_page, write_report
from cudaq_target.watch.state import state_of
from cudaq_target.watch.style import STYLE
from tests.target.loop_events import minimum

_VOID = {"meta", "br", "path", "use", "rect", "line"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=y> $\\frac{ & 漢 --> \x1b[2J"


class Page(HTMLParser):
    """Elements, ids and references of a page; complains where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.names: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes) -> None:
        self._note(tag, attributes)
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self._note(tag, attributes)

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        if self._open and self._open[-1] != "style":
            self.text.append(data)

    def _note(self, tag, attributes) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            self.names.add(name)
            if name == "id":
                self.ids.append(value)
            if name in {"href", "src", "xlink:href", "data", "action"}:
                self.references.append(value)
            self.references += re.findall(r"url\(([^)]*)\)", value or "")


def vqe_like(path: Path) -> None:
    minimum(path, name="H2 of coins", unit="Ha", reference=-0.5, baseline_shots=4000)


def mis(path: Path) -> None:
    graph = unit_disk_graph([(0, 0), (1, 0), (2, 0)], radius=1.0, name="chain")
    with serve(controller("local", device="AnalogDevice", seed=1), "tcp://127.0.0.1:0") as server:
        settings = MisSettings(duration_ns=1000, n_points=4)
        find_mis(graph, settings, endpoint=str(server.endpoint), events=path)


def drift(path: Path) -> None:
    machine = DriftingMachine(DriftLaw(rabi_per_min=0.01, rabi_start=0.97))
    settings = DriftSettings(detuning_per_min=0.0)
    track_drift(emulated=machine, n_shots=70, settings=settings, events=path)


def memory(path: Path) -> None:
    """A server in Python and a cadence that some rounds of it will miss."""
    memory_experiment(
        "repetition", p=0.02, shots=300, cadence_s=1e-3, deadline_s=1e-5,
        server=Server(is_native=False), events=path,
    )  # fmt: skip


LOOPS = {
    "vqe": (vqe_like, "H2 of coins", ["Value over shots", "Shots of each point", "Round trips"]),
    "mis": (mis, "largest independent set of chain", ["Value over shots", "Shots of each point"]),
    "drift": (drift, "drift", ["Tracked: rabi", "Shots of each setting", "Round trips"]),
    "memory": (memory, "memory", ["Value over shots", "Missed deadlines", "Round trips"]),
}


@pytest.fixture(scope="module", params=LOOPS)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    run, title, figures = LOOPS[request.param]
    run(folder / "events.jsonl")
    write_report(folder / "events.jsonl", folder / "report.html")
    return folder, title, figures


def test_a_report_needs_nothing_else(made) -> None:
    folder, title, figures = made
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("svg") == text.count("<figcaption>") >= len(figures)
    assert f"<h1>{title}</h1>" in text
    for figure in figures:
        assert f"<h2>{figure}</h2>" in text
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference.removeprefix("#") for reference in page.references} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not any(name.startswith("on") for name in page.names)
    assert "http" not in text
    assert "@import" not in text
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(page.text))
    assert 'name="viewport"' in text


def test_a_report_says_what_the_loop_found(made) -> None:
    folder, *_ = made
    state = state_of(read_file(folder / "events.jsonl"))
    said = " ".join(Page((folder / "report.html").read_text()).text)
    assert "finished" in said
    assert f"{state.n_measured:,} measured" in said
    assert state.start["command"] in said
    assert "cudaq-target" in said
    if state.misses:
        assert state.n_misses > 0
        assert f"{state.n_misses:,} of 1,200 rounds missed" in said
    for name in state.known:
        assert name.split("_")[0] in said


def test_colours_follow_the_page(made) -> None:
    folder, *_ = made
    text = (folder / "report.html").read_text()
    body = text[text.index("<body>") :]
    assert not [colour for colour in VARIABLES if colour in body]
    for variable in set(re.findall(r"var\((--\w+)\)", body)):
        assert STYLE.count(f"{variable}:") == 2  # light and dark
    assert set(re.findall(r"#[0-9a-f]{6}\b", body)) <= {"#000000", "#ffffff", "#808080"}


def test_everything_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "events"
    minimum(path, fails_after=200)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        if event["event"] == "start":
            event.update(dict.fromkeys(("loop", "unit", "policy", "command"), EVIL))
            event.update(settings=[EVIL, EVIL], versions={EVIL: EVIL}, parameters=[EVIL])
            event["machine"] = {"name": EVIL, EVIL: EVIL}
        if event["event"] == "fault":
            event.update(error=EVIL, text=EVIL)
        if event["event"] == "end":
            event["status"] = EVIL
        if event["event"] == "step":
            event["known"] = {EVIL: [1.0, 0.1]}
    for known in (True, False):
        if not known:
            events = [{k: v for k, v in event.items() if k != "known"} for event in events]
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        text = report_page(state_of(read_file(path)))
        page = Page(text)
        assert not {"script", "img"} & set(page.tags)
        assert "onerror" not in page.names
        assert "\x1b" not in text
        assert "<script>alert(1)</script>" in "".join(page.text)


def test_a_loop_that_failed_has_a_report(tmp_path: Path) -> None:
    path = tmp_path / "events"
    minimum(path, fails_after=20)
    said = " ".join(Page(report_page(state_of(read_file(path)))).text)
    assert "FAILED" in said
    assert "MachineFailedError" in said
    assert "the laser went out" in said


@pytest.mark.parametrize("n_events", [1, 2, 4])
def test_a_loop_that_goes_on_has_a_report(tmp_path: Path, n_events: int) -> None:
    path = tmp_path / "events"
    minimum(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:n_events]) + lines[n_events][:30])
    said = " ".join(Page(report_page(state_of(read_file(path)))).text)
    assert "had not ended" in said


def test_the_command_writes_it(tmp_path: Path, capsys) -> None:
    events, output = tmp_path / "events", tmp_path / "loop.html"
    minimum(events)
    assert cli.main(["loop", "report", str(events), "-o", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    assert output.read_text().startswith("<!DOCTYPE html>")


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EventFileError):
        write_report(tmp_path / "none", tmp_path / "report.html")
    events = tmp_path / "events"
    minimum(events)
    with pytest.raises(OptionError, match="cannot be written"):
        write_report(events, tmp_path / "no" / "where.html")
