"""`python -m cudaq_target.telemetry files DIRECTORY`: the dashboard and the alert rules."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

NAMES: Final = ("pasqal-alerts.yml", "pasqal-alerts-test.yml", "pasqal-dashboard.json")


def copy(directory: Path) -> list[Path]:
    """Copy the files for Prometheus and Grafana.

    Args:
        directory: Made where it does not exist.

    Returns:
        Where they are.

    Raises:
        FileExistsError: One of them is there already; nothing was changed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    places = [directory / name for name in NAMES]
    for place in places:
        if place.exists():
            raise FileExistsError(f"{place} exists; remove it, or give another directory")
    for place in places:
        place.write_bytes((files("cudaq_target.telemetry") / place.name).read_bytes())
    return places


def main(words: list[str]) -> int:
    """Run the command; 0 for success, 2 for bad input."""
    if len(words) != 2 or words[0] != "files":
        sys.stderr.write("usage: python -m cudaq_target.telemetry files DIRECTORY\n")
        return 2
    try:
        places = copy(Path(words[1]))
    except OSError as error:
        sys.stderr.write(f"cudaq_target.telemetry: {error}\n")
        return 2
    sys.stdout.writelines(f"{place}\n" for place in places)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
