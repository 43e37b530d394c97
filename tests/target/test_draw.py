"""Pictures: what is in them, that files are written, that no global state is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from cudaq_target.draw import program_above
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


def test_there_is_room_below_a_program() -> None:
    figure, room = program_above(programs()["ghz4"], 3.0)
    room.subplots()
    assert len(figure.subfigs) == 2
    assert len(figure.subfigs[0].axes) == 2
    assert figure.get_size_inches()[1] > 6.0


def test_drawing_opens_no_pyplot_figure() -> None:
    from matplotlib import pyplot

    programs()["single"].draw()
    assert pyplot.get_fignums() == []
