"""One harness for all benchmarks: names, turns, histograms, cores, exit codes, records."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import check, histograms, registry, suite
from benchmarks.cores import PinError, cores_of
from benchmarks.report import RESULTS, ROOT, Report, Row, machine_facts
from benchmarks.suite import CANNOT_RUN, RIGHT, UNKNOWN, WRONG, Outcome, exit_code
from benchmarks.timing import in_turns, repeated, turns

MEMBERS = {
    "right": "rows = lambda quick: [Row('one', 1.0, 's')]",
    "slow": "rows = lambda quick: [Row('late', 9.0, 's', reach='<= 1', holds=False)]",
    "wrong": "rows = lambda quick: [Row('off', 9.0, '1', holds=False, is_correctness=True)]",
    "broken": "def rows(quick): raise OSError('no such device')",
    "killed": "import os, signal\ndef rows(quick): os.kill(os.getpid(), signal.SIGKILL)",
    "peerless": "import no_such_peer",
    "absent": None,
    "affinity": "import os, subprocess, sys\ndef rows(quick):\n"
    "    code = 'import os; print(len(os.sched_getaffinity(0)))'\n"
    "    done = subprocess.run([sys.executable, '-c', code], capture_output=True, check=True)\n"
    "    return [Row('cores of a child', int(done.stdout), '1')]",
}
EXPECTED = {
    "right": "right",
    "slow": "right",
    "wrong": "WRONG",
    "broken": "FAILED",
    "killed": "FAILED, exit code -9",
    "peerless": "cannot run",
    "absent": "cannot run",
    "affinity": "right",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose benchmarks are `MEMBERS`."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("results", "__pycache__")
    package = Path(shutil.copytree(ROOT / "benchmarks", root / "benchmarks", ignore=ignored))
    for name, code in MEMBERS.items():
        if code is not None:
            text = f"from benchmarks.report import Row\n{code}\n"
            (package / f"{name}.py").write_text(text)
    with (package / "registry.py").open("a") as file:
        file.write(
            f"BENCHMARKS = tuple(Benchmark(n, (n,), n, 1) for n in {tuple(MEMBERS)!r})\n"
            "BY_NAME = {one.name: one for one in BENCHMARKS}\n"
            "GROUPS = {'all': tuple(BY_NAME)}\n"
            "NAMES = (*BY_NAME, *GROUPS)\n"
        )
    return root


def called(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.run", *words]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


def test_every_benchmark_is_registered() -> None:
    registered = [module for one in registry.BENCHMARKS for module in one.modules]
    assert len(set(registered)) == len(registered)
    assert len(registry.BY_NAME) == len(registry.BENCHMARKS)
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name in ("rows", "measured"):
                arguments = [argument.arg for argument in node.args.args]
                assert arguments[:1] != ["quick"] or path.stem in registered, path.name
    assert set(registry.GROUPS["all"]) == set(registry.BY_NAME)
    assert all(set(group) <= set(registry.BY_NAME) for group in registry.GROUPS.values())
    listed = [line.split()[0] for line in registry.listing().splitlines()]
    assert listed == list(registry.NAMES)


def test_every_record_is_of_a_benchmark_and_of_the_present_format() -> None:
    found = check.checked()
    assert set(found) <= set(registry.BY_NAME)
    assert not {name for name, problems in found.items() if problems}


def test_a_record_that_is_amiss_is_told_from_one_that_is_not() -> None:
    samples = tuple(np.linspace(1.0, 2.0, 1000).tolist())
    rows = (Row("time", 1.0, "s", samples=samples), Row("gpu", None, "s", note="no GPU"))
    command = "python -m benchmarks.run digital"
    report = Report("digital", rows, command, machine_facts(), seconds=1.0)
    record = json.loads(json.dumps(report.record()))
    assert check.problems(record, "digital") == []
    assert "not by python -m benchmarks.run gpu" in check.problems(record, "gpu")[0]
    assert "no benchmark is called x" in check.problems(record, "x")[0]
    quick = record | {"command": f"{command} --quick"}
    assert check.problems(quick, "digital") == ["it is from a quick run"]
    assert check.problems({"bench": "digital"}, "digital") == ["it is of format 1, not 2"]
    record["rows"][0]["histogram"] = None
    record["rows"][1]["note"] = ""
    assert check.problems(record, "digital") == [
        "time: 1000 repeats and no histogram",
        "gpu: no figure, and no word why",
    ]
    del record["seconds"]
    assert check.problems(record, "digital") == ["it has no seconds"]


@given(st.lists(st.floats(1e-3, 1e6) | st.just(0.0), min_size=1, max_size=200))
def test_a_histogram_gives_every_value_back_within_two_percent(values: list[float]) -> None:
    highest, counts = histograms.buckets(histograms.encoded(values))
    again = np.repeat(highest, counts)
    np.testing.assert_allclose(again, np.sort(values), rtol=0.015)


def test_histograms_stay_small_and_take_no_negative_value() -> None:
    times = np.random.default_rng(1).lognormal(1.0, 1.0, 200_000)
    record = histograms.encoded(times)
    assert len(json.dumps(record)) < 4096
    highest, counts = histograms.buckets(record)
    p99 = highest[np.searchsorted(np.cumsum(counts), 0.99 * len(times))]
    assert p99 == pytest.approx(np.quantile(times, 0.99), rel=0.02)
    for bad in ([], [1.0, -1.0]):
        with pytest.raises(ValueError, match="none below 0"):
            histograms.encoded(bad)
    few = Report("x", (Row("a", 1.0, "s", samples=(1.0,) * 999),), "").record()
    negative = Report("x", (Row("a", 1.0, "s", samples=(-1.0,) * 1000),), "").record()
    assert few["rows"][0]["histogram"] is negative["rows"][0]["histogram"] is None


def test_contenders_take_turns_after_a_warm_up() -> None:
    order: list[str] = []

    def runs(name: str, value: float) -> float:
        order.append(name)
        return value

    found = turns({name: lambda name=name: runs(name, 1.0) for name in "ABC"}, 2, warm_ups=1)
    assert "".join(order) == "ABC" * 3
    assert found == {"A": [1.0] * 2, "B": [1.0] * 2, "C": [1.0] * 2}
    pair = in_turns(lambda: runs("A", 1.0), lambda: runs("B", 3.0), 2)
    assert "".join(order[-4:]) == "ABAB"
    assert (pair.ours, pair.peer, pair.ratio) == (1.0, 3.0, 3.0)
    assert repeated(lambda: runs("A", 2.0), 3, warm_ups=2) == (2.0,) * 3


def test_all_goes_on_after_a_failure(checkout: Path, tmp_path: Path) -> None:
    done = called(checkout, "all", "--quick", "--json", "--output-dir", str(tmp_path))
    assert done.returncode == WRONG
    printed = json.loads(done.stdout)
    assert {one["bench"]: one["results"] for one in printed["benchmarks"]} == EXPECTED
    assert [row["name"] for row in printed["rows"]] == ["one", "late", "off", "cores of a child"]
    assert printed["machine"]["cores"] >= 1
    assert {path.stem for path in tmp_path.iterdir()} == {"right", "slow", "wrong", "affinity"}
    assert f"[3/{len(MEMBERS)}] wrong: WRONG" in done.stderr
    assert "no_such_peer is not installed" in done.stderr
    assert "this checkout has no benchmarks/absent.py" in done.stderr


def test_pinning_is_asked_for_and_recorded(checkout: Path, tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    done = called(checkout, "affinity", "--pin", core, "--output", str(tmp_path / "x.json"))
    assert done.returncode == RIGHT, done.stderr
    record = json.loads((tmp_path / "x.json").read_text())
    assert record["machine"]["pinning"] == f"core {core}"
    assert record["command"] == f"python -m benchmarks.run affinity --pin {core}"
    assert record["rows"][0]["value"] == 1
    assert called(checkout, "affinity", "--pin", "99999").returncode == UNKNOWN


def test_lists_of_cores() -> None:
    mine = sorted(os.sched_getaffinity(0))
    assert cores_of(f"{mine[0]}-{mine[0]},{mine[0]}") == (mine[0],)
    for text in ("", "a", "1-", "-1", "1-0", "99999", "0-99999999999"):
        with pytest.raises(PinError):
            cores_of(text)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([RIGHT, RIGHT], RIGHT),
        ([RIGHT, CANNOT_RUN], CANNOT_RUN),
        ([CANNOT_RUN, WRONG], WRONG),
        ([RIGHT, UNKNOWN], WRONG),
        ([RIGHT, -11], WRONG),
        ([RIGHT, None], WRONG),
    ],
)
def test_the_worst_member_decides(codes: list[int | None], expected: int) -> None:
    found = [Outcome("x", 1.0, code, None) for code in codes]
    assert exit_code(found) == expected
    assert "x" in suite.summary(found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("all", "--output", "x.json"), "--output-dir takes as many as there are"),
        (("right", "--frames", "3"), "option of the benchmark `stream`"),
        (("right", "--quick", "--output-dir", str(RESULTS)), "leave --quick out"),
        ((), "see --list"),
    ],
)
def test_options_that_do_not_go_together(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import run

    given_words = ["digital" if word == "right" else word for word in words]
    with pytest.raises(SystemExit) as ended:
        run.parse(given_words)
    assert ended.value.code == UNKNOWN
    assert message in capsys.readouterr().err
