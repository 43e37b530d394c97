"""The committed type stubs say what the compiled modules say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "coupler"


@pytest.mark.parametrize("name", ["_bench", "_native", "_ring", "_zmq"])
def test_stub_is_current(name: str, tmp_path: Path) -> None:
    made = tmp_path / f"{name}.pyi"
    module = f"cudaq_target.coupler.{name}"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", module, "-o", str(made)]
    subprocess.run(command, check=True)
    hint = f"run: python -m nanobind.stubgen -m {module} -o coupler/{name}.pyi"
    assert made.read_text() == (FOLDER / f"{name}.pyi").read_text(), hint
