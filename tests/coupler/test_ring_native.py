"""The native rings and dispatcher under the sanitizers, which see what a run alone seldom shows.

The plain build is there for the doorbell: no sanitizer knows the kernel's barrier, so that nothing
but its real timing shows a lost wake-up.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

SOURCES = sorted(Path(__file__).parent.glob("*_stress.cpp"))
COMPILER = shlex.split(os.environ.get("CXX", "c++"))
# GCC warns that its thread sanitizer ignores fences; no data hang on the doorbell's, flags publish.
FLAGS = ["-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-tsan", "-pthread"]
UNAVAILABLE = "unexpected memory mapping"  # older runtimes on kernels with more address bits


def build(source: Path, program: Path, sanitizers: str) -> subprocess.CompletedProcess[str]:
    chosen = [f"-fsanitize={sanitizers}"] if sanitizers else ["-O2"]
    command = [*COMPILER, *FLAGS, *chosen, str(source), "-o", str(program)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("sanitizers", ["thread", "address,undefined", ""])
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_two_sides_race(source: Path, sanitizers: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.cpp"
    empty.write_text("int main() {}\n")
    if build(empty, tmp_path / "empty", sanitizers).returncode != 0:
        pytest.skip(f"{COMPILER[0]} cannot build with sanitizer {sanitizers!r} here")
    program = tmp_path / source.stem
    built = build(source, program, sanitizers)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program)], check=False, capture_output=True, text=True)
    if UNAVAILABLE in done.stderr:
        pytest.skip(f"the runtime of sanitizer {sanitizers} does not start on this kernel")
    assert (done.returncode, done.stderr) == (0, "")
