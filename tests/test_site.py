"""The documentation: the site builds strictly, links lead somewhere, figures are measured."""

from __future__ import annotations

import inspect
import json
import re
import runpy
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page_tables, table
from benchmarks.page_tables import MARKED, with_rows

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PACKAGES = ("cudaq_target", "cudaq_target.coupler", "cudaq_target.kernels")
BUILDERS = ("latex2mathml", "material", "mkdocs", "mkdocstrings", "mkdocstrings_handlers")
MISSING = [name for name in BUILDERS if find_spec(name) is None]


def script(*parts: str) -> dict[str, Any]:
    """A script beside the pages, which are no package."""
    return runpy.run_path(str(ROOT.joinpath("docs", *parts)), run_name="script")


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; see `make docs`")
def test_the_site_builds_strictly_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    site = script("site", "build.py")
    done = site["build"](tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    assert site["problems"](tmp_path / "site") == []
    physics = (tmp_path / "site" / "physics.html").read_text()
    assert "<math" in physics
    assert "arithmatex" not in physics
    assert "\\" not in "".join(re.findall(r"<math.*?</math>", physics, re.DOTALL))
    reference = (tmp_path / "site" / "reference" / "coupler.html").read_text()
    assert 'id="cudaq_target.coupler.link.connect"' in reference


def test_wrong_links_and_foreign_addresses_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="x"></h1><a href="b.html#y"></a><a href="#x"></a>')
    (tmp_path / "b.html").write_text(
        '<a href="c.html"></a><img src="//elsewhere.example/i.png"><a href="https://a.example">'
    )
    assert script("site", "build.py")["problems"](tmp_path) == [
        "a.html links to b.html#y, which has no such anchor",
        "b.html fetches //elsewhere.example/i.png",
        "b.html links to c.html, which is not there",
    ]


def public_names() -> list[tuple[str, str]]:
    return [(package, name) for package in PACKAGES for name in import_module(package).__all__]


@pytest.mark.filterwarnings("ignore:The CUDA-Q:FutureWarning")
def test_every_public_name_says_what_it_is() -> None:
    silent = []
    for package, name in public_names():
        value = getattr(import_module(package), name)
        if inspect.isclass(value):
            members = [member for member in vars(value) if not member.startswith("_")]
            silent += [
                f"{package}.{name}.{member}"
                for member in members
                if (inspect.isroutine(getattr(value, member)) or is_property(value, member))
                and not inspect.getdoc(getattr(value, member))
            ]
        if callable(value) and not inspect.getdoc(value) and name != "Backend":  # a type alias
            silent.append(f"{package}.{name}")
    assert silent == []


def is_property(owner: type, name: str) -> bool:
    return isinstance(vars(owner)[name], property)


@pytest.mark.parametrize("page", page_tables.pages(), ids=lambda page: page.name)
def test_pages_hold_the_figures_of_the_records(page: Path) -> None:
    assert page_tables.renewed(page) == page.read_text(), "renew it: python -m benchmarks.table"


def test_the_tables_of_all_records_are_current() -> None:
    text = table.README.read_text()
    assert table.with_tables(text, table.tables()) == text, "renew it: python -m benchmarks.table"


def test_tables_name_their_record_and_ask_for_rows_that_exist() -> None:
    text = "<!-- rows of digital.json: state error -->\nold\n<!-- end of rows -->\n"
    new = with_rows(text)
    assert "benchmarks/results/digital.json" in new
    assert "old" not in new
    assert with_rows(new) == new
    with pytest.raises(LookupError, match="no such row"):
        with_rows(text.replace("state error", "no such row"))
    assert sum(len(MARKED.findall(page.read_text())) for page in PAGES) >= 5


@pytest.mark.parametrize(
    ("field", "form", "written"),
    [
        ("value", ".1f", "22.0"),
        ("ratio", ".1f", "89.3"),
        ("peer/1000", ".1f", "2.0"),
        ("p90", "g", "25"),
    ],
)
def test_figures_within_sentences_come_from_a_record(
    tmp_path: Path, field: str, form: str, written: str
) -> None:
    row = {"name": "a step", "value": 22.02, "peer": "wait=True: 1967 ms", "ratio": 89.33}
    record = {"rows": [row | {"name": "a stop"}, row | {"samples": {"p90": 25.0}}]}
    (tmp_path / "steps.json").write_text(json.dumps(record))
    text = f"takes <!-- steps.json: a step; {field}; {form} -->?<!-- end --> ms, once"
    assert with_rows(text, tmp_path) == text.replace("?", written)
    with pytest.raises(LookupError, match="a stop has no p90"):
        with_rows(text.replace("a step", "a stop").replace(field, "p90"), tmp_path)


@pytest.mark.skipif(find_spec("grimp") is None, reason="not installed: grimp, with import-linter")
def test_the_import_picture_shows_every_layer(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "imports.svg"
    monkeypatch.setattr(sys, "argv", ["imports.py", str(path)])
    picture = script("pictures", "imports.py")
    picture["main"]()
    drawn = path.read_text()
    committed = (ROOT / "docs" / "architecture-imports.svg").read_text()
    for module, storey in picture["storey_of_modules"]().items():
        assert storey, module
        assert module in drawn
        assert module in committed, "renew it: python docs/pictures/imports.py"
