"""Installs the Debian packages that `make test-hpc` runs: MUNGE, Slurm, Grid Engine, promtool.

Where apt, the rights or a package are missing it says what to install and ends well: each test then
skips by the name of what it misses. Nothing that it installs is started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What installs or fails in one piece: the program that shows that a package is there, and the
# packages that bring it.
GROUPS = {
    "Slurm and MUNGE": {"munged": ("munge", "libmunge2"), "slurmctld": ("slurm-wlm",)},
    "Grid Engine": {
        "sge_qmaster": ("gridengine-master", "gridengine-exec", "gridengine-client"),
    },
    "promtool": {"promtool": ("prometheus",)},
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


def missing_packages() -> dict[str, list[str]]:
    """Packages whose programs this machine lacks, by group; groups that are there are left out."""
    missing = {
        group: [
            package
            for program, packages in needed.items()
            if shutil.which(program, path=SEARCH_PATH) is None
            for package in packages
        ]
        for group, needed in GROUPS.items()
    }
    return {group: packages for group, packages in missing.items() if packages}


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


@contextmanager
def nothing_starts() -> Iterator[None]:
    """Keep package scripts from starting what they bring."""
    is_ours = not POLICY.exists()
    if is_ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if is_ours:
            POLICY.unlink()


def by_hand(packages: Iterable[str]) -> str:
    """The command that installs packages."""
    return "apt-get install {}".format(" ".join(packages))


def install(missing: dict[str, list[str]]) -> None:
    """Install each group by itself, so that a package that cannot be had takes no other along."""
    with nothing_starts():
        # A list that cannot be refreshed may still do; so may answers that nobody asks for.
        run("apt-get", "update", "-qq")
        run("debconf-set-selections", given=ANSWERS)
        for group, packages in missing.items():
            say("Installing {}: {}".format(group, " ".join(packages)))
            if not run("apt-get", "install", "-y", "--no-install-recommends", *packages):
                say(f"{group}: not installed; its tests are skipped. By hand: {by_hand(packages)}")


def main() -> None:
    """Install what is missing, or say what is."""
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        wanted = by_hand(package for packages in missing.values() for package in packages)
        names = ", ".join(missing)
        say(f"This machine lacks {names}; tests that need them are skipped. As root: {wanted}")
        return
    install(missing)


if __name__ == "__main__":
    main()
