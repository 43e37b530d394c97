"""Public names of the kernels, and what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from cudaq_target import kernels


def test_public_names_are_listed_once_for_each_reader() -> None:
    assert sorted(kernels.__all__) == sorted(kernels._MODULES)
    for_checkers = {
        alias.name
        for node in ast.walk(ast.parse(Path(kernels.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cudaq_target")
        for alias in node.names
    }
    assert for_checkers == set(kernels.__all__)
    assert set(kernels.__all__) <= set(dir(kernels))


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_name_loads(name: str) -> None:
    assert getattr(kernels, name) is not None


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'occupations'"):
        _ = kernels.occupations


def test_names_load_neither_numba_nor_cupy() -> None:
    code = (
        "import sys; from cudaq_target import kernels; "
        "[getattr(kernels, name) for name in kernels.__all__]; "
        "print(*sorted({'numba', 'cupy', 'scipy', 'cudaq'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
