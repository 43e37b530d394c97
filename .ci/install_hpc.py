"""Installs the Debian packages that `make test-hpc` runs: MUNGE, Slurm, Grid Engine, promtool.

Where apt or the rights are missing it says what to install and ends well: each test then skips by
the name of what it misses. Nothing that it installs is started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Program that shows that a package is there, and the packages that bring it.
NEEDED = {
    "munged": ("munge", "libmunge2"),
    "slurmctld": ("slurm-wlm",),
    "sge_qmaster": (
        "gridengine-master",
        "gridengine-exec",
        "gridengine-client",
    ),
    "promtool": ("prometheus",),
}
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"))
ANSWERS = """\
gridengine-master shared/gridengineconfig boolean true
gridengine-master shared/gridenginecell string default
gridengine-master shared/gridenginemaster string localhost
"""
# Package scripts ask this file whether they may start a daemon.
POLICY = Path("/usr/sbin/policy-rc.d")
N_TAIL_LINES = 15
QUIET = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def missing_packages() -> list[str]:
    """Packages whose programs this machine lacks."""
    return [
        package
        for program, packages in NEEDED.items()
        if shutil.which(program, path=SEARCH_PATH) is None
        for package in packages
    ]


def say(sentence: str) -> None:
    """One line of progress on standard error."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def run(*command: str, given: str | None = None) -> bool:
    """Run a command; its last lines are shown when it fails.

    Returns:
        Whether it succeeded.
    """
    done = subprocess.run(
        command,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=QUIET,
        check=False,
    )
    if done.returncode != 0:
        say("\n".join(done.stdout.splitlines()[-N_TAIL_LINES:]))
    return done.returncode == 0


def install(packages: list[str]) -> bool:
    """Install packages without starting what they bring.

    Returns:
        Whether they are installed.
    """
    is_ours = not POLICY.exists()
    if is_ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        return (
            run("apt-get", "update", "-qq")
            and run("debconf-set-selections", given=ANSWERS)
            and run("apt-get", "install", "-y", "--no-install-recommends", *packages)
        )
    finally:
        if is_ours:
            POLICY.unlink()


def main() -> None:
    """Install what is missing, or say what is."""
    packages = missing_packages()
    if not packages:
        return
    wanted = "apt-get install {}".format(" ".join(packages))
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        say(f"This machine lacks schedulers; tests that need them are skipped. As root: {wanted}")
        return
    say("Installing {}".format(" ".join(packages)))
    if not install(packages):
        say(f"Not installed; tests that need them are skipped. By hand: {wanted}")


if __name__ == "__main__":
    main()
