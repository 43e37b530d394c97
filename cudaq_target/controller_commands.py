"""What the command `cudaq-target serve` does: a controller in the foreground."""

from __future__ import annotations

import contextlib
import gc
import json as json_format
import os
import select
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cudaq_target import telemetry
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from cudaq_target.coupler.security import ServerSecurity
    from cudaq_target.coupler.server import Server

_LOOK_S: Final = 0.2
# Python code of the machine's thread holds up answers no longer than this.
_SWITCH_S: Final = 0.0005


Bind = Annotated[
    str,
    typer.Option(
        metavar="ENDPOINT",
        help="shm://NAME, ipc://PATH, tcp://HOST:PORT or udp://HOST:PORT; port 0: a free one.",
    ),
]
MachineName = Annotated[
    str, typer.Option(help="local, qutip, emu-sv, emu-mps, auto-emulator, or one elsewhere.")
]
Device = Annotated[
    str | None, typer.Option(help="The only device whose programs run; by default any.")
]
Noise = Annotated[str | None, typer.Option(help="JSON file of a Pulser noise model.")]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Makes runs without a seed reproducible, too.")
]
Cadence = Annotated[
    float | None,
    typer.Option(help="Shots per second of all runs together; by default as fast as it can."),
]
MaxClients = Annotated[int, typer.Option(min=1, help="Clients with runs at most.")]
MaxRuns = Annotated[int, typer.Option(min=1, help="Runs under way and waiting at most.")]
Lease = Annotated[
    float, typer.Option(min=0.1, max=1e6, help="A client silent for so long loses its run (s).")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Most threads of the emulator.")]
Modulation = Annotated[
    bool, typer.Option("--modulation", help="Analog programs with the device's bandwidth.")
]
SlotBytes = Annotated[
    int, typer.Option(min=128, max=1 << 30, help="Longest frame, the same at both ends.")
]
Slots = Annotated[int, typer.Option(min=1, max=1 << 20, help="Frames under way at most.")]
Secret = Annotated[
    Path | None, typer.Option(help="Our .key_secret file, where links leave this machine.")
]
Allow = Annotated[
    list[Path] | None, typer.Option(help="Public .key file of a client; once for each.")
]
Parent = Annotated[
    int | None, typer.Option(min=1, help="End when the process of this number has ended.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=0, help="Serve metrics for Prometheus on this port of 127.0.0.1; 0: any."),
]
MetricsFile = Annotated[
    str | None, typer.Option(help="Write metrics to this file (NAME.prom) for node_exporter.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def serve(
    bind: Bind,
    machine: MachineName = "local",
    device: Device = None,
    noise: Noise = None,
    seed: Seed = None,
    cadence_hz: Cadence = None,
    max_clients: MaxClients = 16,
    max_runs: MaxRuns = 32,
    lease_s: Lease = 30.0,
    threads: Threads = None,
    modulation: Modulation = False,
    slot_bytes: SlotBytes = 4096,
    slots: Slots = 64,
    secret: Secret = None,
    allow: Allow = None,
    parent: Parent = None,
    metrics_port: MetricsPort = None,
    metrics_file: MetricsFile = None,
    json: Json = False,
) -> None:
    """Serve a machine until SIGTERM or Ctrl-C; prints where it listens when it is ready."""
    from cudaq_target import coupler  # noqa: PLC0415
    from cudaq_target.controller import controller  # noqa: PLC0415
    from cudaq_target.controller.machine import EmulatedMachine  # noqa: PLC0415 - loads emulators
    from cudaq_target.coupler.interrupts import told_to_end  # noqa: PLC0415

    with told_to_end() as stopped:
        sys.setswitchinterval(_SWITCH_S)
        security = _security(secret, allow or [])
        made = controller(
            machine,
            device=device,
            noise=noise,
            seed=seed,
            cadence_hz=cadence_hz,
            threads=threads,
            modulation=modulation,
        )
        if isinstance(made, EmulatedMachine):
            made.warm_up()
        if metrics_port is not None or metrics_file is not None:
            telemetry.start(port=metrics_port, file=metrics_file)
        gc.collect()
        gc.freeze()  # what was loaded stays, and need not be looked through again and again
        server = coupler.serve(
            made,
            bind,
            security=security,
            options=coupler.TransportOptions(slot_bytes=slot_bytes, n_slots=slots, wait="block"),
            control_options=coupler.ControlOptions(
                max_clients=max_clients, max_runs=max_runs, lease_ns=int(1e9 * lease_s)
            ),
        )
        telemetry.watch(server)
        _say_ready(server, machine, cadence_hz, is_json=json)
        is_orphan = _wait(server, stopped, parent)
        _close(server)
        _remove_folder(server.endpoint.place, is_orphan=is_orphan)
        telemetry.stop()


def _security(secret: Path | None, allow: list[Path]) -> ServerSecurity | None:
    from cudaq_target.coupler.security import server_security  # noqa: PLC0415

    if (secret is None) != (not allow):
        reason = "a server with keys needs its secret and the public keys of its clients"
        raise OptionError("--secret and --allow", reason, "Give both, or neither")
    return None if secret is None else server_security(secret, allow)


def _say_ready(server: Server, machine: str, cadence_hz: float | None, *, is_json: bool) -> None:
    """Print a line at once: a program waits for it at the other end of a pipe."""
    endpoint = str(server.endpoint)
    metrics = telemetry.url()
    if is_json:
        ready = {
            "endpoint": endpoint,
            "machine": machine,
            "cadence_hz": cadence_hz,
            "pid": os.getpid(),
        }
        line = json_format.dumps(ready | ({"metrics": metrics} if metrics else {}))
    else:
        pace = "as fast as it can" if cadence_hz is None else f"{cadence_hz:g} shots/s"
        line = f"ready at {endpoint}: {machine}, {pace}"
        line += f", metrics at {metrics}" if metrics else ""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wait(server: Server, stopped: threading.Event, parent: int | None) -> bool:
    """Return when it is told to, when the server has ended, or the parent has; then True."""
    watch = select.poll()
    handle = None
    if parent is not None:
        try:
            handle = os.pidfd_open(parent)
        except ProcessLookupError:
            return True
        watch.register(handle, select.POLLIN)
    try:
        while server.is_running and not stopped.wait(_LOOK_S):
            if watch.poll(0):
                return True
    finally:
        if handle is not None:
            os.close(handle)
    return False


def _remove_folder(path: str, *, is_orphan: bool) -> None:
    """Do what a killed parent cannot: its temporary directory, empty now, goes."""
    from cudaq_target.loops.run_folder import PREFIX  # noqa: PLC0415

    folder = Path(path).parent
    is_ours = folder.name.startswith(PREFIX) and str(folder.parent) == tempfile.gettempdir()
    if is_orphan and is_ours:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _close(server: Server) -> None:
    from cudaq_target.coupler.errors import HandlerStuckError  # noqa: PLC0415

    try:
        server.close()
    except HandlerStuckError as error:
        # Everything is given back; only the emulator goes on, and nobody wants its shots.
        sys.stderr.write(f"cudaq-target: {error}\n{_summary(server)}\n")
        telemetry.stop()
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(0)
    sys.stderr.write(f"{_summary(server)}\n")


def _summary(server: Server) -> str:
    count = server.counters()
    ends = ("done", "stopped", "deadline", "failed", "refused")
    ended = ", ".join(f"{count[name]} {name}" for name in ends if count[name])
    ended = f" ({ended})" if ended else ""
    busy = f", {count['busy_runs']} runs had no place" if count["busy_runs"] else ""
    missed = count.get("missed_ticks", 0)
    late = f", {missed} ticks of the shot clock were missed" if missed else ""
    return (
        f"cudaq-target: {count['programs']} programs, {count['runs']} runs{ended}, "
        f"{count.get('measured_shots', 0)} shots measured{busy}{late}"
    )
