"""The notebooks in `examples/` run, and show what they show in the repository.

After a change: `jupyter execute --inplace examples/NAME.ipynb`.
"""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
LIMIT_S = 300
MAX_BYTES = 150_000


def shown(notebook: nbformat.NotebookNode) -> list[list[tuple[str, list[str]]]]:
    """Kind of each output, and the formats that it is given in, by cell."""
    return [
        [(output.output_type, sorted(output.get("data", {}))) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq", "ignore::RuntimeWarning:zmq")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path) -> None:
    committed = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)  # execution replaces its outputs
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(fresh, timeout=LIMIT_S, resources=resources).execute()
    assert shown(fresh) == shown(committed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_small_and_name_no_machine(path: Path) -> None:
    text = path.read_text()
    assert len(text) < MAX_BYTES
    assert str(Path.home()) not in text
    assert "/tmp/" not in text
    assert any(output for output in shown(nbformat.read(path, as_version=4)))


def test_there_are_two_notebooks() -> None:
    assert len(NOTEBOOKS) >= 2
