"""Message passing through the rings, here and on arm64, and the instructions that keep its order.

qemu runs arm64 code on this machine's memory, which is ordered more strongly than arm64's: the run
shows that the code is right, not that its fences suffice. For those the assembly is read: every
flag and every cursor is published by `stlr` and seen by `ldar` or `ldapr`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "ring_litmus.cpp"
FLAGS = ["-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
HERE = shlex.split(os.environ.get("CXX", "c++"))
ARM64 = "aarch64-linux-gnu-g++"
QEMU = "qemu-aarch64"
STEPS = {
    "litmus_send": ("stlr", 1),
    "litmus_answer": ("stlr", 2),  # the tx flag, then the rx flag
    "litmus_push": ("stlr", 1),
    "litmus_release": ("stlr", 1),
    "litmus_has_request": ("ldar|ldapr", 1),
    "litmus_has_answer": ("ldar|ldapr", 1),
    "litmus_has_room": ("ldar|ldapr", 1),
    "litmus_is_empty": ("ldar|ldapr", 1),
}


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"this machine has no {program}")


def test_every_message_is_whole(tmp_path: Path) -> None:
    need(HERE[0])
    program = tmp_path / "litmus"
    subprocess.run([*HERE, *FLAGS, str(SOURCE), "-o", str(program)], check=True)
    subprocess.run([str(program)], check=True)


def test_every_message_is_whole_on_arm64(tmp_path: Path) -> None:
    need(ARM64)
    need(QEMU)
    program = tmp_path / "litmus"
    subprocess.run([ARM64, *FLAGS, "-static", str(SOURCE), "-o", str(program)], check=True)
    subprocess.run([QEMU, str(program)], check=True)


def test_flags_are_published_and_seen_in_order_on_arm64(tmp_path: Path) -> None:
    need(ARM64)
    listing = tmp_path / "litmus.s"
    subprocess.run([ARM64, *FLAGS, "-S", str(SOURCE), "-o", str(listing)], check=True)
    assembly = listing.read_text()
    for step, (instruction, n_least) in STEPS.items():
        body = re.search(rf"^{step}:$(.*?)^\s*\.size\s+{step},", assembly, re.DOTALL | re.MULTILINE)
        assert body is not None, step
        found = re.findall(rf"^\s*(?:{instruction})\s", body[1], re.MULTILINE)
        assert len(found) >= n_least, f"{step} lacks {instruction}:{body[1]}"
