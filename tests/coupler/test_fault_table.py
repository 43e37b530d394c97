"""The table of faults in the documentation names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coupler.md").read_text()
TABLE = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
KERNELS = Path(__file__).parents[1] / "kernels"


def known_tests() -> dict[str, bool]:
    """Names of all test functions of coupler and GPU, and whether a long form is marked."""
    found = {}
    paths = [*Path(__file__).parent.glob("test_*.py"), *KERNELS.glob("test_gpu_*.py")]
    for path in sorted(paths):
        blocks = re.split(r"^(?=def |class |@)", path.read_text(), flags=re.MULTILINE)
        decorators = ""
        for block in blocks:
            name = re.match(r"def (test_\w+)", block)
            if block.startswith("@"):
                decorators += block
                continue
            if name is not None:
                found[name[1]] = "mark.soak" in decorators
            decorators = ""
    return found


def test_every_row_has_a_test():
    assert [int(number) for number, *_ in TABLE] == list(range(1, 35))
    known = known_tests()
    for number, _, _, cell in TABLE:
        named = re.findall(r"(\*?)`(test_\w+)`", cell)
        assert named, f"row {number} names no test"
        for star, name in named:
            assert name in known, f"row {number} names {name}"
            assert known[name] == bool(star), f"row {number}: long form of {name}"
