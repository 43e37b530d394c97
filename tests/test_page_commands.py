"""Blocks on pages that are not Python: commands parse, files are well formed, output is as shown.

`tests/test_documentation.py` runs the Python blocks.
"""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import run as benchmark_run
from cudaq_target.coupler.schedule import parse_schedule
from cudaq_target.options import PARSERS, check

ROOT = Path(__file__).parents[1]
NAMES = ("benchmarks/README.md", "coupler/FORMAT.md", "CONTRIBUTING.md", "examples/README.md")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *(ROOT / one for one in NAMES)]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
OURS = re.compile(r"(?:^|[\"`=]|/bin/|-c \d+ )cudaq-target ([a-z][^\n`\"]*)", re.MULTILINE)
MODULES = re.compile(r"\bpython -m ((?:benchmarks|cudaq_target)[\w.]*)([^\n`\"]*)")
FILES = re.compile(r"\bpython ((?:examples|docs|benchmarks)/[a-z_/\d]+\.py)|(examples/\w+\.sh)")
pytestmark = pytest.mark.filterwarnings("ignore:The CUDA-Q:FutureWarning")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block that is not Python."""
    text = page.read_text()
    fenced = [(one[1], one[2]) for one in FENCED.finditer(text)]
    rest = FENCED.sub("", text)
    indented = [("", re.sub(r"^ {4}", "", one[0], flags=re.M)) for one in INDENTED.finditer(rest)]
    return [block for block in fenced + indented if block[0] not in ("python", "py")]


def joined(text: str) -> str:
    """A shell's text with continued lines made one."""
    return re.sub(r"\\\n\s*", " ", text)


def words_of(line: str) -> list[str]:
    """Words of a command, without comment, redirection and what stands for more."""
    kept = re.split(r" #|\.\.\.|…| &|; | && | > |'$", line)[0]
    return shlex.split(kept)


def parse(words: list[str], *, whole: bool) -> None:
    """Let the command line parse a command; what it reads need not be there.

    Args:
        words: After `cudaq-target`.
        whole: The command could be typed as it stands; else only its options are looked at.
    """
    import click
    from typer.main import get_command

    from cudaq_target.commands import app

    command: Any = get_command(app)
    said = shlex.join(["cudaq-target", *words])
    while words and hasattr(command, "commands"):
        name, words = words[0], words[1:]
        if "|" in name or name.startswith("-"):
            return
        assert name in command.commands, f"no such command: {said}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    named = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    assert named <= known | {"--help"}, said
    if not whole or "--help" in named or hasattr(command, "commands"):
        return
    try:
        command.make_context(command.name, words)
    except click.BadParameter as error:
        if "does not exist" not in str(error):
            pytest.fail(f"{said}: {error}")
    except click.UsageError as error:
        pytest.fail(f"{said}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse(page: Path) -> None:
    shown = [joined(text) for _, text in blocks(page)]
    for line in [found[1] for text in shown for found in OURS.finditer(text)]:
        parse(words_of(line), whole="..." not in line and "…" not in line)
    for line in [found[1] for found in OURS.finditer(joined(page.read_text()))]:
        parse(words_of(line), whole=False)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_and_files_that_pages_run_are_there(page: Path) -> None:
    text = joined(page.read_text())
    for found in MODULES.finditer(text):
        module, words = found[1].rstrip("."), words_of(found[2].partition(" &")[0])
        assert find_spec(module) is not None, found[0]
        if module == "benchmarks.run" and words and words[0].islower():
            benchmark_run.parse(words)
    for found in FILES.finditer(text):
        assert (ROOT / (found[1] or found[2])).is_file(), found[0]
    for example in re.findall(r"site show ([a-z][\w.]*)", text):
        assert (ROOT / "cudaq_target" / "site" / f"{example}.example").is_file(), example
    for target in re.findall(r"(?:^ {4}|`)make ([\w-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


@pytest.mark.skipif(shutil.which("bash") is None, reason="not installed: bash")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_shell_blocks_are_shell(page: Path) -> None:
    for language, text in blocks(page):
        if language in ("sh", "bash"):
            done = subprocess.run(
                ["bash", "-n"], input=text, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_other_blocks_are_of_a_kind_that_is_checked(page: Path) -> None:
    kinds = {language for language, _ in blocks(page)}
    assert kinds <= {"", "sh", "ini", "toml"}, "add a check of this kind of block"
    for language, text in blocks(page):
        if language == "ini":
            unit = configparser.ConfigParser(interpolation=None)
            unit.read_string(text)
            assert {"Unit", "Service", "Install"} <= set(unit)
        if language == "toml":
            assert check(tomllib.loads(text))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_that_is_not_run_is_python(page: Path) -> None:
    for language, text in FENCED.findall(page.read_text()):
        if language == "py":
            ast.parse(text)


def test_the_page_of_settings_has_all_of_them() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    cells = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(PARSERS)


def test_the_schedule_on_the_page_of_the_coupler_is_one() -> None:
    (text,) = [text for _, text in blocks(ROOT / "docs" / "coupler.md") if "<trigger>" in text]
    assert [event.operation for event in parse_schedule(text)][:2] == ["reset", "stream"]


def test_the_readmes_shell_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick commands, in order, on the kernel of the first block; the report is as shown."""
    from cudaq_target.commands import app

    readme = (ROOT / "README.md").read_text()
    kernel = readme.partition("```python\n")[2].partition('cudaq.set_target("pasqal")')[0]
    (tmp_path / "ghz.py").write_text(kernel)
    monkeypatch.chdir(tmp_path)
    session = readme.partition("## From a shell")[2]
    lines = [one[1] for one in OURS.finditer(joined(re.sub(r"^ {4}", "", session, flags=re.M)))]
    quick = [words_of(line) for line in lines if re.match("devices|compile|draw|run ghz", line)]
    assert [words[0] for words in quick] == ["devices", "compile", "draw", "run"]
    said = ""
    for words in quick:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        said += done.stdout + done.stderr
    assert {"ghz.json", "ghz.png"} <= {path.name for path in tmp_path.iterdir()}
    (report,) = [text for _, text in blocks(ROOT / "README.md") if "DigitalAnalogDevice:" in text]
    shown = [line.strip() for line in report.splitlines() if line.strip() != "..."]
    assert [line for line in shown if line not in said] == []
