"""Type checkers understand what a user writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_user_s_file_is_right_for_mypy() -> None:
    """`tests/typing/sample.py` asserts the types of the public interface, and calls it."""
    command = [sys.executable, "-m", "mypy", "--strict", "tests/typing/sample.py"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_has_types() -> None:
    assert (ROOT / "cudaq_target" / "py.typed").is_file()
