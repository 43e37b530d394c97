"""Creates `.venv` and installs the project into it; the Makefile calls this once.

Runs on any Python from 3.7 on, without packages, so that a machine with an unsuitable one is told
what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOG = VENV / "install.log"
OLDEST, NEWEST = (3, 11), (3, 13)
CANDIDATES = ("python3.11", "python3.12", "python3.13")
REQUIREMENTS = ("-e", ".[cu12,cli,draw,emu]", "--group", "test", "--group", "lint")
N_TAIL_LINES = 40


def is_supported(version: tuple[int, int]) -> bool:
    """Whether this (major, minor) is one that the project and its dependencies run on."""
    return OLDEST <= version <= NEWEST


def continue_with_supported_python() -> None:
    """Start over with another interpreter of this machine, when this one does not fit."""
    if is_supported(sys.version_info[:2]):
        return
    for name in CANDIDATES:
        path = shutil.which(name)
        # A launcher may exist for an interpreter that does not.
        if path and subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, *sys.argv])
    sys.exit(
        "Python 3.11, 3.12 or 3.13 is needed; this is {}.{}. Install one:\n"
        "  Debian 12:  apt-get install python3.11 python3.11-venv python3.11-dev\n"
        "  Debian 13:  apt-get install python3.13 python3.13-venv python3.13-dev\n"
        "or name one: make PYTHON=/path/to/python3.11 test".format(*sys.version_info[:2])
    )


def missing_packages() -> list[str]:
    """Debian packages that building the extension needs and this machine lacks."""
    python = "python{}.{}".format(*sys.version_info[:2])
    missing = []
    try:
        import ensurepip  # noqa: F401, PLC0415
    except ImportError:
        missing.append(python + "-venv")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        missing.append(python + "-dev")
    compiler = os.environ.get("CXX", "c++").split()[0]
    if not (shutil.which(compiler) or shutil.which("g++")):
        missing.append("g++")
    return missing


def say(sentence: str) -> None:
    """One line of progress on standard error."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def run(*command: str | Path) -> None:
    """Run a command with its output in the log; stop with the log's end when it fails."""
    with LOG.open("a") as log:
        log.write("$ {}\n".format(" ".join(map(str, command))))
        log.flush()
        status = subprocess.call(
            [str(part) for part in command], cwd=str(ROOT), stdout=log, stderr=subprocess.STDOUT
        )
    if status != 0:
        tail = LOG.read_text(errors="replace").splitlines()[-N_TAIL_LINES:]
        say("\n".join(tail))
        sys.exit(f"The installation failed; the lines above end {LOG}")


def main() -> None:
    """Check the machine, then create the environment and install into it."""
    continue_with_supported_python()
    missing = missing_packages()
    if missing:
        sys.exit("This machine lacks: apt-get install {}".format(" ".join(missing)))
    python = VENV / "bin" / "python"
    works = python.is_file() and subprocess.call([str(python), "-c", ""]) == 0
    if not works:
        say(f"Creating {VENV.name} with {sys.executable}")
        # Not into the log: its folder is what this command creates.
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", str(VENV)])
    LOG.write_text("")
    say(f"Installing into {VENV.name} (about 4 GB at first; log: {LOG})")
    quiet = ("--disable-pip-version-check", "--no-input")
    run(python, "-m", "pip", "install", "--upgrade", "pip>=25.1", *quiet)
    run(python, "-m", "pip", "install", *REQUIREMENTS, *quiet)
    say("Compiling loops for this machine, once")
    run(VENV / "bin" / "cudaq-target", "warm-up")
    say("Installed.")


if __name__ == "__main__":
    main()
