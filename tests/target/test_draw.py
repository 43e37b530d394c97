"""Pictures: what is in them, that files are written, that no global state is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cudaq_target.draw import draw_convergence
from cudaq_target.errors import OptionError
from tests.target.compiled import programs


@pytest.mark.parametrize("name", sorted(programs()))
def test_every_program_can_be_drawn(name: str, tmp_path: Path) -> None:
    program = programs()[name]
    path = tmp_path / "program.png"
    figure = program.draw(path)
    register, pulses = figure.axes
    assert path.read_bytes().startswith(b"\x89PNG")
    labels = [label.get_text() for label in pulses.get_yticklabels()]
    assert len(labels) == program.stats.n_atoms
    assert labels[0].startswith("atom 0")
    numbers = {text.get_text() for text in register.texts}
    assert {str(k) for k in range(program.stats.n_atoms)} <= numbers
    assert pulses.get_xlim() == (0.0, pytest.approx(program.stats.duration_ns / 1e3))


def test_one_patch_for_each_pulse_and_one_line_for_each_pair() -> None:
    program = programs()["ghz4"]
    register, pulses = program.draw().axes
    assert len(pulses.patches) == len(program.timeline.slots)
    assert len(register.lines) == 3


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_picture_formats(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{suffix}"
    programs()["single"].draw(path)
    assert path.stat().st_size > 1000


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"ends in \.png, \.pdf or \.svg"):
        programs()["single"].draw(tmp_path / "picture.bmp")


def test_convergence_holds_register_pulses_energy_and_error(tmp_path: Path) -> None:
    energies = -1.0 - 0.1 * (1.0 - 0.5 ** np.arange(8))
    figure = draw_convergence(
        programs()["ghz4"], energies, np.full(8, 1e-3), -1.1, tmp_path / "loop.png", "a loop"
    )
    assert len(figure.axes) == 4
    assert (tmp_path / "loop.png").stat().st_size > 10_000
    assert any("−1.10000" in text.get_text() for text in figure.axes[2].texts)


def test_convergence_of_an_exact_step_has_a_finite_scale() -> None:
    figure = draw_convergence(programs()["single"], [-1.0, -1.1], [0.1, 0.1], -1.1)
    assert 0.0 < figure.axes[3].get_ylim()[0] < 1.0


def test_drawing_opens_no_pyplot_figure() -> None:
    from matplotlib import pyplot

    programs()["single"].draw()
    assert pyplot.get_fignums() == []
