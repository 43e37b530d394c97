"""Runs every docstring example and every Python block of the README and of `docs/`.

A block that cannot run in a test (it needs an account, say) is fenced as ```py instead of
```python. The blocks of one page run in order in one fresh interpreter, as a reader would.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"cudaq_target": ROOT / "cudaq_target"} | {
    f"cudaq_target.{part}": ROOT / part for part in ("coupler", "kernels")
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def modules_with_examples() -> list[str]:
    """Dotted names of all modules that contain a doctest prompt."""
    names = []
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):  # does not follow the links of the set-up
            if ">>> " in path.read_text():
                parts = path.relative_to(folder).with_suffix("").parts
                names.append(".".join([package, *parts]).removesuffix(".__init__"))
    return names


def as_script(page: str) -> str:
    """The page's Python blocks, each at its own line, so that a traceback names the page's line."""
    lines = [""] * page.count("\n")
    for block in BLOCK.finditer(page):
        first = page.count("\n", 0, block.start(1))
        code = block.group(1).splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", modules_with_examples())
def test_docstring_examples(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.py"
    # Names in shared memory are the whole machine's; another run of this test may have them.
    script.write_text(as_script(page.read_text()).replace("shm://", f"shm://{os.getpid()}-"))
    environment = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
