"""What the commands `cudaq-target watch` and `cudaq-target loop report` do."""

from __future__ import annotations

import json as json_format
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.coupler.security import ClientSecurity
    from cudaq_target.watch.words import Fact


def watch(
    source: Annotated[
        str, typer.Argument(metavar="FILE|ENDPOINT", help="Events of a loop, or a controller.")
    ],
    once: Annotated[
        bool, typer.Option("--once/--follow", help="Show what is known now, and end.")
    ] = False,
    interval_s: Annotated[
        float, typer.Option("--interval-s", min=0.05, max=3600.0, help="How often to look (s).")
    ] = 0.25,
    secret: Annotated[
        Path | None, typer.Option(help="Our .key_secret file, where a controller wants keys.")
    ] = None,
    server_key: Annotated[
        Path | None, typer.Option(help="The controller's public .key file; needs --secret.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON at the end.")] = False,
) -> None:
    """Show a loop while it runs, or a controller; until its end, or Ctrl-C."""
    security = _security(secret, server_key)
    if "://" in source:
        title, told, data = _watch_controller(source, interval_s, once, security)
    elif security is not None:
        raise OptionError("--secret", f"{source} is a file", "Leave the keys out")
    else:
        title, told, data = _watch_loop(Path(source), interval_s, once)
    if json:
        typer.echo(json_format.dumps(data, ensure_ascii=False))
    else:
        lines = [f"{fact.name:<11} {fact.text}" for fact in told]
        typer.echo("\n".join([title, *(f"  {line}" for line in lines)]))


Shown = tuple[str, "Sequence[Fact]", dict[str, Any]]


def _watch_loop(path: Path, interval_s: float, once: bool) -> Shown:
    from cudaq_target.watch import terminal  # noqa: PLC0415
    from cudaq_target.watch.follow import follow_file  # noqa: PLC0415
    from cudaq_target.watch.state import LoopState  # noqa: PLC0415
    from cudaq_target.watch.words import facts, title  # noqa: PLC0415

    state, lines = LoopState(), terminal.PlainLines()
    with terminal.live_view() as view:
        try:
            for state in follow_file(path, interval_s, is_once=once):
                if view is not None:
                    silent_s = time.time() - state.now_s
                    view.show(terminal.loop_panel(state, view.console.width, silent_s))
                elif not (once or state.has_ended):  # then standard output says it
                    lines.show(title(state, path), facts(state))
        except KeyboardInterrupt:
            pass  # the reader has seen enough; what is known follows
    return title(state, path), facts(state), terminal.data_of(state)


def _watch_controller(
    endpoint: str,
    interval_s: float,
    once: bool,
    security: ClientSecurity | None,
) -> Shown:
    from cudaq_target.watch import terminal  # noqa: PLC0415
    from cudaq_target.watch.controller_view import controller_facts  # noqa: PLC0415
    from cudaq_target.watch.follow import follow_controller  # noqa: PLC0415

    told: Sequence[Fact] = ()
    data: dict[str, Any] = {}
    lines = terminal.PlainLines()
    with terminal.live_view() as view:
        try:
            for state in follow_controller(endpoint, interval_s, is_once=once, security=security):
                told = controller_facts(state)
                data = {**state.specs, "shots_per_s": state.shots_per_s}
                if view is not None:
                    view.show(terminal.facts_panel(endpoint, told))
                elif not once:
                    lines.show(endpoint, told)
        except KeyboardInterrupt:
            pass  # as above
    return endpoint, told, data


def report(
    source: Annotated[
        Path, typer.Argument(metavar="EVENTS", help="What a loop wrote with --events.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, HTML.")] = Path(
        "report.html"
    ),
) -> None:
    """Write a report of a loop: one HTML file that needs no network."""
    from cudaq_target.watch.report import write_report  # noqa: PLC0415 - draws

    write_report(source, output)
    typer.echo(str(output))


def _security(secret: Path | None, server_key: Path | None) -> ClientSecurity | None:
    from cudaq_target.coupler.security import client_security  # noqa: PLC0415

    if (secret is None) != (server_key is None):
        reason = "a client with keys needs its own secret and the server's public key"
        raise OptionError("--secret and --server-key", reason, "Give both, or neither")
    if secret is None or server_key is None:
        return None
    return client_security(secret, server_key)
