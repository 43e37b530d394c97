"""Gives operators the hook as one file, its scripts for both schedulers, and example files."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Final

from cudaq_target.errors import OptionError
from cudaq_target.site.hook import ENTRIES

HERE: Final = Path(__file__).parent
HOOK: Final = "qpu_hook.pyz"
EXAMPLES: Final = (
    "qrmi_config.json",
    "qpu_hook.json",
    "slurm.conf",
    "gres.conf",
    "grid_engine_complexes",
    "grid_engine_host",
    "grid_engine_queue",
    "tmpfiles.conf",
)
_PARTS: Final = ("config", "requests", "sessions", "state", "hook")
_AS_USER: Final = ("slurm-task-prolog", "sge-starter")
_MAIN: Final = """\
import sys
from pathlib import Path
from cudaq_target.site.hook import main
sys.exit(main(sys.argv[1:], Path(sys.argv[0]).absolute().parent))
"""
# 1980-01-01, the first time of the format: equal sources make equal files.
_TIME: Final = (1980, 1, 1, 0, 0, 0)


def example(name: str) -> str:
    """Return an example file.

    Args:
        name: One of `EXAMPLES`.

    Raises:
        OptionError: There is none of this name.
    """
    if name not in EXAMPLES:
        raise OptionError(f"example {name!r}", "there is none", f"There are {', '.join(EXAMPLES)}")
    return (HERE / f"{name}.example").read_text(encoding="utf-8")


def packed_hook() -> bytes:
    """Return the hook as one file that Python 3.9 and later run."""
    content = {"__main__.py": _MAIN, "cudaq_target/__init__.py": ""}
    for part in ("__init__", *_PARTS):
        content[f"cudaq_target/site/{part}.py"] = (HERE / f"{part}.py").read_text(encoding="utf-8")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def install(
    directory: Path, *, root_python: str = sys.executable, user_python: str = "/usr/bin/python3"
) -> list[Path]:
    """Write the hook and a script for each place in a scheduler's configuration.

    A configuration that is there stays as it is.

    Args:
        directory: Where; usually /etc/qrmi. It is made where it is missing.
        root_python: Interpreter with QRMI, for what runs as root.
        user_python: Interpreter that every user may run; it needs no packages.

    Returns:
        The files that were written.

    Raises:
        OptionError: The directory cannot be written.
    """
    directory = directory.absolute()
    files: dict[Path, tuple[bytes, int]] = {directory / HOOK: (packed_hook(), 0o644)}
    for entry in ENTRIES:
        python = user_python if entry in _AS_USER else root_python
        # -I: no variable of a user's job leads Python to other modules.
        script = f'#!/bin/sh\nexec {python} -I {directory / HOOK} {entry} "$@"\n'
        files[directory / entry.replace("-", "_")] = (script.encode(), 0o755)
    for name in ("qrmi_config.json", "qpu_hook.json"):
        if not (directory / name).exists():
            files[directory / name] = (example(name).encode(), 0o640 if "qrmi" in name else 0o644)
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, (content, mode) in files.items():
            path.write_bytes(content)
            path.chmod(mode)
    except OSError as error:
        raise OptionError(str(directory), str(error.strerror), "Give one, as root") from None
    return list(files)
