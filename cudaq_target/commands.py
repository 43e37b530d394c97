"""What each command of `cudaq-target` does; `cli` turns errors into exit codes."""

from __future__ import annotations

import json as json_format
import subprocess
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cudaq_target import (
    controller_commands,
    coupler_commands,
    job_commands,
    kernel_file,
    loop_commands,
    manifest_commands,
    program_file,
    watch_commands,
)
from cudaq_target import doctor as diagnosis
from cudaq_target.command_examples import add_examples
from cudaq_target.device import bundled_devices, rules
from cudaq_target.errors import OptionError, UnsuitableDeviceError
from cudaq_target.site import commands as site_commands
from cudaq_target.target import Pasqal, Session

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.program import Program

app = typer.Typer(
    name="cudaq-target",
    help="CUDA-Q kernels as pulses on neutral atoms.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# Arguments of kernels may start with a minus sign.
_TAKES_VALUES = {"ignore_unknown_options": True}

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Source = Annotated[
    str, typer.Argument(metavar="FILE.py:KERNEL|PROGRAM.json", help="What to work on.")
]
Values = Annotated[
    list[str] | None, typer.Argument(metavar="[ARGUMENTS]...", help="The kernel's, as JSON.")
]
Device = Annotated[str | None, typer.Option(help="Name of a device, or a device file.")]
Layout = Annotated[str | None, typer.Option(help="JSON file with x and y of each site (µm).")]
Route = Annotated[str | None, typer.Option(help="swap or direct.")]
Seed = Annotated[int | None, typer.Option(help="Makes the result reproducible.")]
Manifest = Annotated[
    Path | None, typer.Option(help="Write what ran, where, and what came out to this JSON file.")
]


def run(arguments: list[str]) -> int:
    """Run one command.

    Args:
        arguments: Words after the command's name.

    Returns:
        The exit code.

    Raises:
        TargetError: Whatever the command meets.
    """
    try:
        app(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(metadata.version("cudaq-target"))
        raise typer.Exit


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed, what works, and what to do about the rest."""
    findings = diagnosis.examine()
    healthy = diagnosis.is_healthy(findings)
    if json:
        _print_json({"healthy": healthy, "findings": diagnosis.as_data(findings)})
    else:
        width = max(len(finding.name) for finding in findings)
        colours = {"ok": "green", "off": "yellow", "problem": "red"}
        for finding in findings:
            status = typer.style(f"{finding.status:<8}", fg=colours[finding.status])
            typer.echo(f"{status}{finding.name:<{width}}  {finding.found}")
            if finding.remedy and finding.status != "ok":
                typer.echo(f"{'':<{8 + width}}  -> {finding.remedy}")
    _exit(0 if healthy else 1)


@app.command(name="warm-up")
def warm_up(json: Json = False) -> None:
    """Compile the loops for this machine now, not at the first program (some seconds, once)."""
    from cudaq_target import warm  # noqa: PLC0415

    seconds = warm.warm_up()
    if json:
        _print_json({"seconds": seconds})
    else:
        typer.echo(f"ready after {seconds:.1f} s")


@app.command()
def devices(json: Json = False) -> None:
    """List the known devices and say which run gate kernels."""
    rows = [_device_row(name, device) for name, device in sorted(bundled_devices().items())]
    if json:
        _print_json(rows)
        return
    for row in rows:
        atoms = "any number of" if row["max_atoms"] is None else f"up to {row['max_atoms']}"
        typer.echo(
            f"{row['name']}: {atoms} atoms, at least {row['min_distance_um']:g} µm apart, "
            f"Rydberg level {row['rydberg_level']}"
        )
        verdict = "yes" if row["runs_gate_kernels"] else f"no: {row['reason']}"
        typer.echo(f"  gate kernels: {verdict}")


@app.command(name="compile", context_settings=_TAKES_VALUES)
def compile_(
    source: Source,
    values: Values = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the program to this JSON file.")
    ] = None,
    device: Device = None,
    layout: Layout = None,
    route: Route = None,
    shots: Annotated[int, typer.Option(min=0, help="Shots to estimate the time of.")] = 1000,
    json: Json = False,
) -> None:
    """Lower a kernel to pulses and report what came out; nothing runs."""
    program = _program(source, values, device=device, layout=layout, route=route)
    if output is not None:
        _write(output, program.to_json())
    estimate = program.estimate(shots)
    if json:
        place = None if output is None else str(output)
        _print_json({**_summary(program), "estimate": estimate.as_data(), "output": place})
    else:
        typer.echo(program.report())
        typer.echo(f"  {'estimate':<11}{estimate}")
        if output is not None:
            typer.echo(f"  written to {output}")


@app.command(context_settings=_TAKES_VALUES)
def draw(
    source: Source,
    values: Values = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write (.png, .pdf, .svg).")
    ] = Path("program.png"),
    device: Device = None,
    layout: Layout = None,
    route: Route = None,
    json: Json = False,
) -> None:
    """Draw the register and the pulses of a kernel or a program."""
    program = _program(source, values, device=device, layout=layout, route=route)
    try:
        program.draw(output)
    except OSError as error:
        raise _unwritable(output, error) from error
    if json:
        _print_json({"picture": str(output)})
    else:
        typer.echo(str(output))


@app.command(name="run", context_settings=_TAKES_VALUES)
def run_(
    source: Source,
    values: Values = None,
    shots: Annotated[int | None, typer.Option(help="Number of shots.")] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            help="local, qutip, emu-sv, emu-mps, auto-emulator, a device of Pasqal Cloud "
            "(EMU_FREE, …), qrmi or qrmi:NAME (a QPU of this job), or the endpoint of a controller."
        ),
    ] = None,
    device: Device = None,
    noise: Annotated[str | None, typer.Option(help="JSON file of a Pulser noise model.")] = None,
    seed: Seed = None,
    layout: Layout = None,
    route: Route = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the name of the job, and do not wait.")
    ] = False,
    manifest: Manifest = None,
    json: Json = False,
) -> None:
    """Run a kernel or a program and print its counts, qubit 0 leftmost."""
    session = _session(
        machine=machine, device=device, noise=noise, seed=seed, layout=layout, route=route
    )
    n_shots = shots if shots is not None else session.options.shots or 1000
    given = {"device": device, "layout": layout, "route": route}
    if detach and manifest is not None:
        raise OptionError("--manifest", "nothing has run yet", "Leave --detach or --manifest out")
    if detach:
        program = _to_submit(source, values, session, given)
        job_commands.detach(program, n_shots, session.target.given(), json=json)
        return
    if manifest is not None:
        counts, machine_name, device_name = manifest_commands.recorded(
            source, values or [], session, n_shots, manifest,
            lower=lambda chosen: _to_submit(source, values, chosen, given),
        )  # fmt: skip
    elif _is_program(source):
        program = _program(source, values, **given)
        counts, machine_name = program_file.counts(program, session, n_shots)
        device_name = program.rules.name
    else:
        kernel = kernel_file.load(source)
        arguments = kernel_file.parse_arguments(values or [])
        counts = kernel_file.sampled(kernel, arguments, session, n_shots)
        machine_name = session.options.machine
        device_name = kernel_file.device_name(session)
    if json:
        origin = {"machine": machine_name, "device": device_name}
        _print_json({**origin, "n_shots": n_shots, "counts": counts})
    else:
        for bits, number in counts.items():
            typer.echo(f"{bits} {number}")


@app.command()
def demo(
    qubits: Annotated[int, typer.Option(help="2 (reduced) or 4 (one per spin orbital).")] = 4,
    shots: Annotated[
        int | None,
        typer.Option(min=1, help="Of each basis at each point of the loop with fixed shots."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Makes the result reproducible.")] = 1,
    endpoint: Annotated[
        str | None, typer.Option(help="A controller that runs; else one is started, and ended.")
    ] = None,
    error: Annotated[
        float | None, typer.Option(help="Standard error of the energy at the end (Ha).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")] = Path(
        "h2-energy.png"
    ),
    report: Annotated[Path, typer.Option(help="Report to write, HTML.")] = Path("h2-report.html"),
    events: Annotated[
        Path | None, typer.Option(help="Append events to this file, for `cudaq-target watch`.")
    ] = None,
    manifest: Manifest = None,
    progress: Annotated[
        bool | None,
        typer.Option("--progress/--no-progress", help="By default on a terminal only."),
    ] = None,
    json: Json = False,
) -> None:
    """Find the ground state of H2: shots stream from a controller, the loop stops them early."""
    kernel_file.import_host()
    from cudaq_target import demo as h2  # noqa: PLC0415

    result = h2.run(
        n_qubits=qubits,
        n_shots=shots,
        seed=seed,
        picture=output,
        report=report,
        progress=progress,
        endpoint=endpoint,
        final_error_ha=error,
        events=events,
        manifest=manifest,
    )
    if json:
        _print_json(result.as_data())
    else:
        typer.echo(result.text())
    _exit(0 if result.is_within_tolerance else 1)


@app.command()
def keys(
    name: Annotated[str, typer.Argument(help="Stem of the files, for example controller.")],
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="Where; by default with the settings.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a key pair for links that leave this machine; nothing is overwritten."""
    import platformdirs  # noqa: PLC0415

    from cudaq_target.coupler.link_errors import KeyFileError  # noqa: PLC0415
    from cudaq_target.coupler.security import make_keys  # noqa: PLC0415

    where = directory or platformdirs.user_config_path("cudaq-target") / "keys"
    try:
        public, secret = make_keys(where, name)
    except KeyFileError as error:
        raise OptionError(f"key {error.path!r}", error.reason, error.remedy) from error
    if json:
        _print_json({"public": str(public), "secret": str(secret)})
    else:
        typer.echo(f"{public}  give this one to the other end")
        typer.echo(f"{secret}  keep this one to yourself")


@app.command()
def bench(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A benchmark, or a group of them: loop, scaling, all. --list names each."
        ),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="Say what each benchmark measures.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer cases and repeats; all of them in two minutes.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for CSV files and a picture, where there are any.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for the full records, NAME.json each.")
    ] = None,
    pin: Annotated[
        str | None, typer.Option(help="Cores for the measurement, such as 0,1; none by default.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames over each transport; for `stream` alone.")
    ] = None,
    peer_python: Annotated[
        Path | None, typer.Option(help="Interpreter with emu-sv, the peer of `analog`.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure against the named peers; needs the checkout, of which `benchmarks` is a part.

    A wrong result ends with exit code 1, a slow one never does; 3 means that something is missing.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / "benchmarks" / "run.py").is_file():
        raise OptionError(
            f"bench {name!r}",
            "benchmarks are not part of the installed package",
            "Clone the repository and run `make bench` there",
        )
    flags = [*(["--list"] if show_list else []), *(["--quick"] if quick else [])]
    flags += ["--json"] if json else []
    given = {
        "--out": None if out is None else out.resolve(),
        "--output-dir": None if output_dir is None else output_dir.resolve(),
        "--pin": pin,
        "--frames": frames,
        "--peer-python": None if peer_python is None else peer_python.absolute(),
    }
    for option, value in given.items():
        flags += [] if value is None else [option, str(value)]
    names = [] if name is None else [name]
    command = [sys.executable, "-m", "benchmarks.run", *names, *flags]
    _exit(subprocess.run(command, cwd=root, check=False).returncode)


app.command(name="decode-server")(coupler_commands.decode_server)
app.command(name="playback")(coupler_commands.playback)
app.command(name="serve")(controller_commands.serve)
app.command(name="status")(job_commands.status)
app.command(name="fetch")(job_commands.fetch)
app.command(name="cancel")(job_commands.cancel)
app.command(name="forget")(job_commands.forget)
app.command(name="watch")(watch_commands.watch)
app.command(name="report")(manifest_commands.report)
app.command(name="rerun")(manifest_commands.rerun)
loop_commands.loop.command(name="report")(watch_commands.report)
app.add_typer(loop_commands.loop, name="loop")
app.add_typer(site_commands.site, name="site")
add_examples(app)


def _exit(code: int) -> None:
    """End with this exit code; returning is a success."""
    if code:
        raise typer.Exit(code)


def _session(**settings: Any) -> Session:  # noqa: ANN401 - options of several types
    return Session(Pasqal(**settings))


def _is_program(source: str) -> bool:
    return source.endswith(".json")


def _program(
    source: str,
    values: list[str] | None,
    *,
    device: str | None = None,
    layout: str | None = None,
    route: str | None = None,
) -> Program | AnalogProgram:
    """Compile a kernel of a file, or read a program."""
    if not _is_program(source):
        # Where a device is given, no remote machine needs to be asked: nothing runs here.
        machine = None if device is None else "local"
        session = _session(machine=machine, device=device, layout=layout, route=route)
        arguments = kernel_file.parse_arguments(values or [])
        return kernel_file.compiled(kernel_file.load(source), arguments, session)
    return program_file.read(source, values or [], device=device, layout=layout, route=route)


def _to_submit(
    source: str, values: list[str] | None, session: Session, given: dict[str, str | None]
) -> Program | AnalogProgram:
    """Lower what `run` would run for the device of the session's machine."""
    if _is_program(source):
        return _program(source, values, **given)
    arguments = kernel_file.parse_arguments(values or [])
    return kernel_file.compiled(kernel_file.load(source), arguments, session)


def _summary(program: Program | AnalogProgram) -> dict[str, object]:
    return {
        "kernel": program.kernel,
        "device": program.rules.name,
        "stats": asdict(program.stats),
        "report": program.report(),
    }


def _device_row(name: str, device: Any) -> dict[str, Any]:  # noqa: ANN401 - a pulser device
    reason = None
    try:
        rules(device)
    except UnsuitableDeviceError as error:
        reason = error.reason
    return {
        "name": name,
        "runs_gate_kernels": reason is None,
        "reason": reason,
        "max_atoms": device.max_atom_num,
        "min_distance_um": float(device.min_atom_distance),
        "max_radius_um": device.max_radial_distance,
        "rydberg_level": int(device.rydberg_level),
        "max_sequence_ns": device.max_sequence_duration,
        "channels": sorted(device.channels),
    }


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OptionError:
    return OptionError(
        f"output {str(path)!r}",
        f"the file cannot be written ({error.strerror})",
        "Give a path in a directory that exists and is writable",
    )


def _print_json(content: object) -> None:
    typer.echo(json_format.dumps(content, ensure_ascii=False, indent=2))
