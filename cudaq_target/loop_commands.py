"""What the commands of real-time loops do: `cudaq-target loop …`."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from cudaq_target.errors import OptionError

loop = typer.Typer(help="Loops that decide while shots are measured.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Seed = Annotated[int, typer.Option(min=0, help="Makes the result reproducible.")]
Events = Annotated[
    Path | None, typer.Option(help="Append what happens to this file, for `cudaq-target watch`.")
]
Record = Annotated[Path | None, typer.Option(help="Write a record to this new file.")]
Replay = Annotated[
    Path | None, typer.Option(help="Repeat a run from its record, with the same options.")
]
Manifest = Annotated[
    Path | None, typer.Option(help="Write what ran, where, and what came out to this JSON file.")
]
Machine = Annotated[
    str, typer.Option(help="Endpoint of a controller, or a machine to start one for.")
]
Cadence = Annotated[
    float | None, typer.Option(help="Shots per second of a controller that is started.")
]
Noise = Annotated[str | None, typer.Option(help="Of a controller that is started.")]
DecodeServer = Annotated[
    str | None,
    typer.Option(metavar="ENDPOINT", help="A decode server that runs; else one is started."),
]
InPython = Annotated[
    bool, typer.Option("--python", help="Start the server in Python, not in machine code.")
]
Priority = Annotated[
    int | None, typer.Option(help="Real-time priority of both, 1 to 99; the system must allow.")
]
ConfigOut = Annotated[
    Path | None,
    typer.Option(help="Write the decoder's settings for `decode-server --config`, and end."),
]


@loop.command()
def memory(
    code: Annotated[str, typer.Option(help="repetition or surface.")] = "surface",
    distance: Annotated[int, typer.Option(help="Of the code, odd.")] = 3,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of checks per shot; by default the distance.")
    ] = None,
    p: Annotated[float, typer.Option("-p", help="Probability of each kind of noise.")] = 0.005,
    shots: Annotated[int, typer.Option(min=1, help="How often the bit is kept.")] = 1000,
    cadence_us: Annotated[float, typer.Option(help="From one round to the next (µs).")] = 1000.0,
    deadline_us: Annotated[
        float | None, typer.Option(help="From a round to its answer (µs); by default the cadence.")
    ] = None,
    decoder: Annotated[str, typer.Option(help="union_find, lookup or pymatching.")] = "union_find",
    server: DecodeServer = None,
    python: InPython = False,
    wait: Annotated[
        str, typer.Option(help="How both ends wait: adaptive, busy, yield or block.")
    ] = "adaptive",
    cores: Annotated[
        str | None, typer.Option(metavar="A,B", help="Pin this process and the server.")
    ] = None,
    priority: Priority = None,
    seed: Seed = 0,
    events: Events = None,
    record: Record = None,
    replay: Annotated[
        Path | None, typer.Option(help="Repeat a run from its record; other options are unused.")
    ] = None,
    config_out: ConfigOut = None,
    manifest: Manifest = None,
    json: Json = False,
) -> None:
    """Keep a logical bit: rounds on a cadence, a decode server corrects, deadlines are counted."""
    asked = {
        "code": code,
        "distance": distance,
        "rounds": rounds,
        "p": p,
        "shots": shots,
        "cadence_us": cadence_us,
        "deadline_us": deadline_us,
        "decoder": decoder,
        "server": server,
        "python": python,
        "wait": wait,
        "cores": _cores(cores),
        "priority": priority,
        "seed": seed,
    }
    if replay is None and config_out is not None:
        from cudaq_target.coupler.loops.memory_code import memory_code  # noqa: PLC0415

        made = memory_code(code, distance, rounds, p, decoder)
        config_out.write_text(made.config, encoding="utf-8")
        return
    files = Files(events, record, replay, manifest)
    result = _done("memory", asked, files)
    _tell(result, is_json=json)
    if result.n_disagreements:  # the server decodes otherwise than the same decoder offline
        raise typer.Exit(1)


@loop.command()
def mis(
    graph: Annotated[
        str, typer.Argument(help="ring, ladder, square, kings, or a JSON file of x and y pairs.")
    ] = "square",
    radius: Annotated[
        float, typer.Option(help="For a file: vertices at most so far apart have an edge.")
    ] = 1.0,
    machine: Machine = "local",
    device: Annotated[str, typer.Option(help="Whose limits the pulses keep.")] = "AnalogDevice",
    shape: Annotated[str, typer.Option(help="sweep or layers.")] = "sweep",
    duration_ns: Annotated[int, typer.Option(min=100, help="Of the pulses (ns).")] = 2000,
    part: Annotated[
        float, typer.Option(help="Mean cost of this part of the shots, the best; 1 for all.")
    ] = 0.9,
    optimiser: Annotated[str, typer.Option(help="cobyla or spsa.")] = "cobyla",
    points: Annotated[int, typer.Option(min=1, help="Of the search at most.")] = 30,
    size: Annotated[
        int | None, typer.Option(min=1, help="End the search with the first set of this size.")
    ] = None,
    cadence_hz: Cadence = None,
    noise: Noise = None,
    seed: Seed = 1,
    events: Events = None,
    record: Record = None,
    replay: Replay = None,
    manifest: Manifest = None,
    json: Json = False,
) -> None:
    """Look for a largest independent set: pulses shaped by what the streamed shots say."""
    asked = {
        "graph": graph,
        "radius": radius,
        "machine": machine,
        "device": device,
        "shape": shape,
        "duration_ns": duration_ns,
        "part": part,
        "optimiser": optimiser,
        "points": points,
        "size": size,
        "cadence_hz": cadence_hz,
        "noise": noise,
        "seed": seed,
    }
    _tell(_done("mis", asked, Files(events, record, replay, manifest)), is_json=json)


def _cores(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    words = text.split(",")
    if len(words) != 2 or not all(word.strip().isdigit() for word in words):
        raise OptionError(f"--cores {text}", "no two numbers", "Give two cores, for example 0,1")
    return int(words[0]), int(words[1])


@loop.command()
def vqe(
    system: Annotated[str, typer.Option(help="h2 or chain.")] = "h2",
    qubits: Annotated[int, typer.Option(help="2 or 4 for h2; 4 for the chain.")] = 4,
    machine: Machine = "local",
    device: Annotated[str | None, typer.Option(help="Of a controller that is started.")] = None,
    noise: Noise = None,
    cadence_hz: Cadence = None,
    optimiser: Annotated[
        str, typer.Option(help="gradient, rotosolve, spsa or cobyla.")
    ] = "gradient",
    steps: Annotated[int | None, typer.Option(min=1, help="Of the search.")] = None,
    accuracy: Annotated[
        float | None, typer.Option(help="Of the state's energy, for the search.")
    ] = None,
    error: Annotated[
        float | None, typer.Option(help="Standard error of the energy at the end.")
    ] = None,
    fixed_shots: Annotated[
        int | None, typer.Option(min=1, help="Of each basis at each point: no early stop.")
    ] = None,
    seed: Seed = 1,
    events: Events = None,
    record: Record = None,
    replay: Replay = None,
    manifest: Manifest = None,
    json: Json = False,
) -> None:
    """Find a ground-state energy: gate kernels, shots that stop once they say enough."""
    asked = {
        "system": system,
        "qubits": qubits,
        "machine": machine,
        "device": device,
        "noise": noise,
        "cadence_hz": cadence_hz,
        "optimiser": optimiser,
        "steps": steps,
        "accuracy": accuracy,
        "error": error,
        "fixed_shots": fixed_shots,
        "seed": seed,
    }
    _tell(_done("vqe", asked, Files(events, record, replay, manifest)), is_json=json)


@loop.command()
def drift(
    payload: Annotated[
        Path | None,
        typer.Argument(metavar="[PROGRAM.json]", help="Analog program that runs between probes."),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(metavar="ENDPOINT", help="A controller; else a drifting machine is emulated."),
    ] = None,
    shots: Annotated[int, typer.Option(min=1, help="Of payload and probes together.")] = 1500,
    rabi_error: Annotated[
        float, typer.Option(help="Relative; how well the Rabi frequency is kept known.")
    ] = 0.0027,
    detuning_error: Annotated[
        float, typer.Option(help="How well the detuning is kept known (rad/µs).")
    ] = 0.03,
    rabi_per_min: Annotated[
        float, typer.Option(help="Relative drift per minute that is usual, and emulated.")
    ] = 0.01,
    detuning_per_min: Annotated[
        float, typer.Option(help="The same of the detuning (rad/µs); 0: it is known to be 0.")
    ] = 0.05,
    seed: Seed = 1,
    events: Events = None,
    record: Record = None,
    replay: Replay = None,
    manifest: Manifest = None,
    json: Json = False,
) -> None:
    """Follow Rabi frequency and detuning while another program runs."""
    asked = {
        "payload": None if payload is None else str(payload),
        "machine": machine,
        "shots": shots,
        "rabi_error": rabi_error,
        "detuning_error": detuning_error,
        "rabi_per_min": rabi_per_min,
        "detuning_per_min": detuning_per_min,
        "seed": seed,
    }
    _tell(_done("drift", asked, Files(events, record, replay, manifest)), is_json=json)


class Files(NamedTuple):
    """Files of a loop: for its events and its record, a record to replay, and its manifest."""

    events: Path | None
    record: Path | None
    replay: Path | None
    manifest: Path | None


def _done(name: str, asked: dict[str, Any], files: Files) -> Any:  # noqa: ANN401 - of any loop
    """Run or replay a loop, and write its manifest."""
    from cudaq_target.manifest.loop_runs import kind_of, of_loop  # noqa: PLC0415
    from cudaq_target.manifest.model import check_place, write  # noqa: PLC0415
    from cudaq_target.manifest.runs import Phases  # noqa: PLC0415

    check_place(files.manifest)
    kind, phases = kind_of(name), Phases()
    with phases.phase("run"):
        if files.replay is not None:
            found = kind.replay(files.replay, asked)
        else:
            found = kind.run(asked, files.events, files.record)
    if files.manifest is not None:
        shots = files.replay or files.record
        made = of_loop(name, asked, found, phases, events=files.events, record=shots)
        write(made, files.manifest)
    return found


def _tell(result: Any, *, is_json: bool) -> None:  # noqa: ANN401 - of any loop
    typer.echo(json_format.dumps(result.as_data()) if is_json else result.text())
