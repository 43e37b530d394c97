"""Every command says in its `--help` how it is called, and shells complete it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from cudaq_target.cli import main
from cudaq_target.command_examples import EXAMPLES
from cudaq_target.commands import app

ROOT = typer.main.get_command(app)


def every_command(command=ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*path, name))


def command_at(words: list[str]):
    """The command that these words lead to, and the words that are left for it."""
    command = ROOT
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_help_ends_with_an_example(path: tuple[str, ...], capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*path, "--help"]) == 0
    example = f"Example: cudaq-target {EXAMPLES[' '.join(path)]}"
    assert example in capsys.readouterr().out
    assert example.startswith(" ".join(["Example: cudaq-target", *path]))


@pytest.mark.parametrize("example", sorted(set(EXAMPLES.values())))
def test_examples_are_calls_that_the_command_takes(example: str) -> None:
    command, words = command_at(shlex.split(example))
    with command.make_context(command.name, words, resilient_parsing=False) as context:
        assert context.params


def test_no_example_is_of_a_command_that_does_not_exist() -> None:
    assert set(EXAMPLES) == {" ".join(path) for path in every_command()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The script asks the command itself, which then names what may follow."""
    called = [sys.executable, "-m", "cudaq_target"]
    detection = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [*called, "--show-completion", shell],
        env=os.environ | detection, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "_COMPLETE=complete_" + shell in script.replace(" ", "").replace("'", "")


@pytest.mark.parametrize(
    ("typed", "possible"),
    [("loop ", {"vqe", "mis", "drift", "memory"}), ("serve --cad", {"--cadence-hz"})],
)
def test_completion_names_commands_and_options(typed: str, possible: set[str]) -> None:
    asked = {
        "_CUDAQ_TARGET_COMPLETE": "complete_bash",
        "COMP_WORDS": f"cudaq-target {typed}",
        "COMP_CWORD": "2",
    }
    answer = subprocess.run(
        [Path(sys.executable).with_name("cudaq-target")],
        env=os.environ | asked, check=False, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert possible <= set(answer)
