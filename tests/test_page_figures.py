"""No figure stands on a page without the record it came from.

What looks measured (a time, a rate, a ratio, a share, an error) stands between marks that
`benchmarks/page_tables.py` renews from a record, or in `ALLOWED` with the reason why it is none.
Code is left out: blocks are run or checked by other tests.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import page_tables
from benchmarks.page_tables import INLINE, MARKED

ROOT = Path(__file__).parents[1]
MORE = ("CHANGELOG.md", "CONTRIBUTING.md", "coupler/FORMAT.md", "examples/README.md")
PAGES = [*page_tables.pages(), *(ROOT / name for name in MORE)]
HISTORY = "## Measuring mistakes we made"

_UNITS = (
    "ns|µs|us|ms|s|min|h|seconds?|minutes?|hours?|days?|times|%|per cent|[kMGT]i?B|[MGT]B/s|mHa|"
    r"(?:[kM]?shots|frames|calls|messages)/(?:s|min)"
)
MEASURED = re.compile(
    r"(?<![\w.^])\d[\d.,]*(?:e-?\d+)?(?: (?:to|and|or) \d[\d.,]*)?\s*"
    rf"(?:(?:{_UNITS})(?!\w)|×(?!\s*\d))"
    r"|(?<!\w)\d[\d.]*e-\d+(?!\w)"
)
TABLES = re.compile(r"<!-- tables, written by.*?<!-- end of tables -->", re.DOTALL)
CODE = re.compile(r"^```.*?^```$|^ {4}.*?$|`[^`\n]+`", re.DOTALL | re.MULTILINE)

DEFAULT = "a default or a limit in the code"
TEST = "what a test does, or the bound that it keeps"
SETTING = "how the measurement is set up"
# What looks measured and is not: page, phrases, why.
ALLOWED: dict[str, dict[str, str]] = {
    "README.md": {"times in steps of 10 ns, positions": "CUDA-Q's rounding"},
    "docs/analog.md": {
        "1 ns samples with exact areas": "Pulser's resolution",
        "no sample by more than 2e-3 of": TEST,
        "rtol 1e-8": DEFAULT,
        "Krylov steps of 10 ns": "emu-sv's default",
        "matrix product states, steps of 10 ns": "emu-mps's default",
        "(1e-13 in the tests' complex128)": TEST,
        "at most 1e-3 (2-norm": DEFAULT,
        "is below 1 %. States": "follows from the tolerance in the sentence before",
        "`store_intermediate_results` keep 1e-6": DEFAULT,
    },
    "docs/cluster.md": {
        "`machine_timeout_s` (30 s)": DEFAULT,
        "after 20 ms, then": DEFAULT,
        "it has taken, at most 2 s": DEFAULT,
        "after 2 ms, growing to 2 s": DEFAULT,
        "writes every 15 s": DEFAULT,
        "The cycle of 0.2 s per shot": "an assumption, said to be one, with its source",
        "the 1e-9 rad/µs that Pulser rounds to": "Pulser's rounding",
    },
    "docs/coupler.md": {
        "at least 4 × `n_slots`": DEFAULT,
        "waits 5 s for a function": DEFAULT,
        "reordered, 5 % each": TEST,
        "p50 within 10 %": TEST,
    },
    "docs/kernels.md": {
        "1e-12 of the range": TEST,
        "1e-12, one step of the grid": TEST,
        "1e-12 of the overhead": TEST,
        "| 1e-12 | Lindley": TEST,
    },
    "docs/limitations.md": {"A deadline of 1 ms takes": SETTING},
    "docs/loops.md": {
        "ask for shots for 30 s": DEFAULT,
        "turns below 5 ms": DEFAULT,
        "for 0.2 ms before it sleeps": DEFAULT,
        "`machine_timeout_s` (30 s)": DEFAULT,
        "final state is within 1.6 mHa": SETTING,
        "succeed in 95 % of 200 loops": SETTING,
        "error of at most 0.3 %": SETTING,
        "deadline of 1 ms on a machine": SETTING,
    },
    "docs/operators.md": {"| `--lease-s` | 30 s |": DEFAULT},
    "docs/physics.md": {"(10 % spread of $V$, 1 %\nof $\\Omega$)": DEFAULT},
    "benchmarks/README.md": {
        "at most 1.15 × the peer's time\"": "an example of how to read a goal",
        "their HDR histogram, within 1 %": "width of the histograms' buckets",
        "52 ns for Raman": SETTING,
        "116, 128, 212, 400, 668 ns": "computed by the pulse solver",
        "16 ns of padding": DEFAULT,
        "against steps of 2 ns": SETTING,
        "1 ms is the": SETTING,
        "sleeps after about 40 µs": DEFAULT,
        "run over 8 GiB of random shots": SETTING,
        "(2 GiB with `--quick`)": SETTING,
    },
}
# A bullet that is a reckoning, and says so in its first words.
RECKONING = re.compile(
    r"^- `gpu`, \*estimated, not measured\*:.*?(?=^- )", re.DOTALL | re.MULTILINE
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def unmarked(name: str, text: str) -> list[str]:
    """Return what looks measured and stands outside of marks, code and what is allowed."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    text = text.partition(HISTORY)[0]
    for allowed in ALLOWED.get(name, {}):
        text = text.replace(allowed, re.sub(r"[^\n]", " ", allowed))
    for pattern in (TABLES, MARKED, INLINE, RECKONING, CODE):
        text = pattern.sub(blank, text)
    lines = text.splitlines()
    return [
        f"{name}:{number + 1}: {found[0]}"
        for number, line in enumerate(lines)
        for found in MEASURED.finditer(line)
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_figure_stands_without_its_record(page: Path) -> None:
    text = page.read_text()
    assert unmarked(name_of(page), text) == []
    stale = [phrase for phrase in ALLOWED.get(name_of(page), {}) if phrase not in text]
    assert stale == [], "no longer on the page"


@pytest.mark.parametrize(
    "sentence",
    [
        "takes 22 ms", "8.2× fewer", "2.5 times ours", "12.5 % of them", "an error of 3e-4",
        "40 µs each", "2 to 3 s", "up to 28 GB/s", "14.9 shots/min", "p50 21 µs, longest 0.94 ms",
    ],
)  # fmt: skip
def test_figures_are_seen(sentence: str) -> None:
    assert len(unmarked("x.md", f"It {sentence}.")) >= 1


@pytest.mark.parametrize(
    "sentence", ["4 × 4 atoms", "`sleep(2 ms)`", "R^6", "2.0.1 says", "96 bit"]
)
def test_other_numbers_are_not(sentence: str) -> None:
    assert unmarked("x.md", sentence) == []


def test_every_mistake_names_the_change_that_ended_it() -> None:
    section = (ROOT / "benchmarks" / "README.md").read_text().partition(HISTORY)[2]
    told = re.split(r"^- ", section, flags=re.MULTILINE)[1:]
    assert len(told) >= 10
    assert [one for one in told if not re.search(r"`[0-9a-f]{7}`", one)] == []
