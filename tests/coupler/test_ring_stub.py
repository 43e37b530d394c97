"""The committed type stub says what the compiled module says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STUB = Path(__file__).parents[2] / "coupler" / "_ring.pyi"


def test_stub_is_current(tmp_path: Path) -> None:
    made = tmp_path / "_ring.pyi"
    module = "cudaq_target.coupler._ring"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", module, "-o", str(made)]
    subprocess.run(command, check=True)
    hint = f"run: python -m nanobind.stubgen -m {module} -o coupler/_ring.pyi"
    assert made.read_text() == STUB.read_text(), hint
