"""Names in running text on the pages: errors, modules, metrics, variables and options exist."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"(?:cudaq_target|coupler|kernels)(?:\.\w+)+")
FOREIGN = {"--install-completion"}  # Typer's
pytestmark = pytest.mark.filterwarnings("ignore:The CUDA-Q:FutureWarning")


@cache
def sources() -> str:
    folders = [ROOT / name for name in ("cudaq_target", "coupler", "kernels")]
    return "\n".join(path.read_text() for one in folders for path in sorted(one.rglob("*.py")))


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name in one."""
    parts = dotted.split(".")
    parts = parts if parts[0] == "cudaq_target" else ["cudaq_target", *parts]
    for n_modules in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:n_modules]))
        except ModuleNotFoundError:
            continue
        for name in parts[n_modules:]:
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


def is_known(word: str) -> bool:
    """Whether a word of code on a page is a name of ours that exists, or none of ours."""
    if re.fullmatch(r"[A-Z][a-z]\w*Error", word):
        return f"class {word}" in sources()
    if DOTTED.fullmatch(word) and not word.endswith((".py", ".json", ".toml")):
        return resolves(word)
    if re.fullmatch(r"(?:CUDAQ_TARGET|PASQAL)_[A-Z_]+[A-Z]", word):
        setting = word.removeprefix("CUDAQ_TARGET_").lower()
        return word in sources() or f"    {setting}:" in sources()
    if re.fullmatch(r"pasqal_\w+_\w+", word):
        return word.removesuffix("_total") in sources()
    if re.fullmatch(r"--[a-z][a-z-]+", word):
        return f'"{word}"' in sources() or word.removeprefix("--").replace("-", "_") in sources()
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_on_pages_exist(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    words = {re.split(r"[\s(=]", code)[0] for code in CODE.findall(text)} - FOREIGN
    assert sorted(word for word in words if not is_known(word)) == []


def test_names_that_are_not_there_are_found() -> None:
    for word in ("NoSuchThingError", "coupler.nothing", "CUDAQ_TARGET_NOWHERE", "--no-such-thing"):
        assert not is_known(word), word
