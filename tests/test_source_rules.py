"""Rules about the source that no linter of ours knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for part in ("cudaq_target", "coupler", "kernels") for path in (ROOT / part).rglob("*.py")
)
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60
MAY_TOUCH_EXPERIMENTAL = {"endpoint.py", "target.py"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_fit_a_reader(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert not long


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_handler_of_every_error_says_why(path: Path) -> None:
    wide = re.compile(r"except \(?(Base)?Exception\b")
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert not [line for line in lines if wide.match(line) and "  # " not in line]


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_two_files_touch_the_experimental_interface() -> None:
    touching = {path.name for path in FILES if "cudaq._experimental" in imported_modules(path)}
    assert touching <= MAY_TOUCH_EXPERIMENTAL


def test_importing_the_package_imports_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import cudaq_target; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*sorted(new - sys.stdlib_module_names - {'cudaq_target'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("cudaq_target.coupler", {"cudaq", "numba", "numpy", "pulser", "scipy", "zmq"}),
        ("cudaq_target.kernels", {"cudaq", "cupy", "numba", "pulser", "scipy"}),
        ("cudaq_target.loops", {"cudaq", "matplotlib", "numba", "pulser", "scipy"}),
        ("cudaq_target.cli", {"cudaq", "matplotlib", "numba", "pulser", "qiskit", "scipy"}),
        ("cudaq_target.commands", {"cudaq", "matplotlib", "numba", "pulser", "qiskit", "scipy"}),
    ],
)
def test_heavy_modules_are_loaded_when_they_are_used(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not absent & set(done.stdout.split())


def test_importing_and_naming_everything_warns_of_nothing() -> None:
    """CUDA-Q's own announcement at its import apart; warnings would stop `python -W error`."""
    code = (
        "import warnings; warnings.filterwarnings('ignore', 'The CUDA-Q', FutureWarning)\n"
        "import cudaq_target, cudaq_target.coupler, cudaq_target.kernels\n"
        "for package in (cudaq_target, cudaq_target.coupler, cudaq_target.kernels):\n"
        "    [getattr(package, name) for name in package.__all__]\n"
        "import cudaq\n"
        "cudaq.set_target('pasqal', seed=1)\n"
        "kernel, angle = cudaq.make_kernel(float)\n"
        "q = kernel.qalloc(2)\n"
        "kernel.ry(angle, q[0])\n"
        "kernel.cx(q[0], q[1])\n"
        "assert len(cudaq_target.shots_of(cudaq.sample(kernel, 0.3, shots_count=10))) == 10\n"
        "cudaq_target.compile(kernel, 0.3).draw()\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
