"""What the commands of operators do: `cudaq-target site …`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cudaq_target.site import pack

site = typer.Typer(help="Hooks and example files for Slurm and Grid Engine.", no_args_is_help=True)


@site.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="Which example; by default their list.")
    ] = None,
) -> None:
    """Print an example file."""
    text = "\n".join(pack.EXAMPLES) + "\n" if name is None else pack.example(name)
    typer.echo(text, nl=False)


@site.command()
def install(
    directory: Annotated[Path, typer.Argument(help="Usually /etc/qrmi.")],
    python: Annotated[
        str, typer.Option(help="Interpreter with QRMI, for what runs as root.")
    ] = sys.executable,
    user_python: Annotated[
        str, typer.Option(help="Interpreter that every user may run; it needs no packages.")
    ] = "/usr/bin/python3",
) -> None:
    """Write the hook, its scripts and first configuration files."""
    for path in pack.install(directory, root_python=python, user_python=user_python):
        typer.echo(path)
