"""What the commands of the coupler do: a decode server, and schedules played against one."""

from __future__ import annotations

import json as json_format
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.coupler.playback import PlaybackResult
    from cudaq_target.coupler.playback_callers import Caller
    from cudaq_target.coupler.transports.interface import TransportOptions

    Rounds = Iterable[NDArray[np.uint8]]

_UNITS_NS: Final = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_DURATION_TEXT: Final = "Give a whole number with a unit: ns, us, ms or s, for example 200ms"
_LOOK_S: Final = 0.2

Config = Annotated[Path, typer.Option(help="Decoders, as cudaq-qec writes them to YAML.")]
SlotBytes = Annotated[
    int, typer.Option(min=128, max=1 << 30, help="Longest frame, the same at both ends.")
]
Slots = Annotated[int, typer.Option(min=1, max=1 << 20, help="Frames under way at most.")]
Secret = Annotated[
    Path | None, typer.Option(help="Our .key_secret file, where the link leaves this machine.")
]
Decoders = Annotated[
    Path | None, typer.Option(help="Play against these decoders, in this process.")
]
Servers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[ID=]ENDPOINT",
        help="Play against a server; once for all decoders, or once for each.",
    ),
]
Null = Annotated[
    bool, typer.Option("--null", help="Discard every call: what the player itself costs.")
]
Files = Annotated[
    list[str] | None, typer.Option(metavar="ID:FILE", help="One round of 0 and 1 per line.")
]
Circuits = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID:KEY=VALUE,...",
        help="A memory circuit: code, task, distance, seed, and Stim's noise probabilities.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write the CSV here; else it is printed.")
]
ServerKey = Annotated[
    Path | None, typer.Option(help="The server's public .key file; needs --secret.")
]


def decode_server(
    config: Config,
    bind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="shm://NAME, ipc://PATH, tcp://HOST:PORT or udp://HOST:PORT: once for all "
            "decoders, or once for each; by default UDP on a free port of this machine for each.",
        ),
    ] = None,
    slot_bytes: SlotBytes = 4096,
    slots: Slots = 64,
    secret: Secret = None,
    allow: Annotated[
        list[Path] | None, typer.Option(help="Public .key file of a client; once for each.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="End after this time, for example 60s; never by default.")
    ] = None,
) -> None:
    """Serve decoders until SIGTERM or Ctrl-C; prints the lines of cudaq-qec's decoding server."""
    from cudaq_target.coupler.decode_service import DecodeService  # noqa: PLC0415 - loads NumPy
    from cudaq_target.coupler.decoder_config import read_decoders  # noqa: PLC0415
    from cudaq_target.coupler.interrupts import told_to_end  # noqa: PLC0415
    from cudaq_target.coupler.security import server_security  # noqa: PLC0415

    if (secret is None) != (not allow):
        reason = "a server with keys needs its secret and the public keys of its clients"
        raise OptionError("--secret and --allow", reason, "Give both, or neither")
    limit_s = None if timeout is None else _duration_ns("--timeout", timeout) / 1e9
    decoders = read_decoders(_text_of("--config", config))
    security = None if secret is None else server_security(secret, allow or [])
    options = _options(slot_bytes, slots)
    with (
        told_to_end() as stopped,
        DecodeService(decoders, bind or [], security=security, options=options) as service,
    ):
        _say(service.ready_line())
        waited_s = 0.0
        while service.is_running and not stopped.wait(_LOOK_S):
            waited_s += _LOOK_S
            if limit_s is not None and waited_s >= limit_s:
                break
    for line in service.final_lines():
        _say(line)


def playback(
    schedule: Annotated[Path, typer.Argument(help="A file with one call per line.")],
    config: Decoders = None,
    server: Servers = None,
    null: Null = False,
    source: Files = None,
    stim_source: Circuits = None,
    tick: Annotated[str, typer.Option(help="Length of a tick.")] = "1us",
    lead_in: Annotated[str, typer.Option(help="From the start to tick 0.")] = "20ms",
    timeout: Annotated[str, typer.Option(help="How long a call waits for its reply.")] = "200ms",
    out: Out = None,
    slot_bytes: SlotBytes = 4096,
    slots: Slots = 64,
    secret: Secret = None,
    server_key: ServerKey = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Play a schedule in NVIDIA's format against decoders; exit code 1 after a wrong reply."""
    from contextlib import ExitStack  # noqa: PLC0415

    from cudaq_target.coupler.playback import play  # noqa: PLC0415 - loads NumPy
    from cudaq_target.coupler.schedule import parse_schedule  # noqa: PLC0415

    if sum((config is not None, bool(server), null)) != 1:
        reason = "a schedule is played against one of them"
        raise OptionError("--config, --server and --null", reason, "Give exactly one")
    events = parse_schedule(_text_of("schedule", schedule))
    sources = _sources(source or [], stim_source or [])
    tick_ns, lead_in_ns = _duration_ns("--tick", tick), _duration_ns("--lead-in", lead_in)
    timeout_ns = _duration_ns("--timeout", timeout)
    with ExitStack() as links:
        ids = {event.decoder_id for event in events}
        if null:
            callers = _discarding(ids)
        elif config is not None:
            callers = _in_process(config)
        else:
            keys, options = (secret, server_key), _options(slot_bytes, slots)
            callers = _linked(server or [], ids, options, keys, timeout_ns / 1e9, links)
        result = play(
            events, callers, sources, tick_ns=tick_ns, lead_in_ns=lead_in_ns, timeout_ns=timeout_ns
        )
    _write(result.write_csv(), result.rows(), out, is_json=json)
    _judge(result)


def _judge(result: PlaybackResult) -> None:
    """Say what went wrong; exit code 1 where something did."""
    n_wrong = sum(record.correction_mismatch for record in result.records)
    for warning in result.warnings:
        sys.stderr.write(f"cudaq-target: {warning}\n")
    if n_wrong:
        sys.stderr.write(f"cudaq-target: {n_wrong} corrections are not those of the schedule\n")
    if n_wrong or result.warnings:
        raise typer.Exit(1)


def _write(text: str, rows: list[dict[str, str | int]], out: Path | None, *, is_json: bool) -> None:
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            reason = f"the file cannot be written ({error.strerror})"
            raise OptionError(f"--out {str(out)!r}", reason, "Give a writable path") from error
    if is_json:
        typer.echo(json_format.dumps(rows, indent=2))
    elif out is None:
        typer.echo(text, nl=False)


def _discarding(ids: Iterable[int]) -> dict[int, Caller]:
    from cudaq_target.coupler.playback_callers import Discard  # noqa: PLC0415

    return {number: Discard() for number in ids}


def _in_process(config: Path) -> dict[int, Caller]:
    from cudaq_target.coupler.decode_server import DecodeServer  # noqa: PLC0415
    from cudaq_target.coupler.decoder_config import read_decoders  # noqa: PLC0415
    from cudaq_target.coupler.dispatch import Dispatcher  # noqa: PLC0415
    from cudaq_target.coupler.playback_callers import InProcess  # noqa: PLC0415

    decoders = DecodeServer(read_decoders(_text_of("--config", config)))
    caller = InProcess(Dispatcher(decoders.functions()))
    return dict.fromkeys(range(decoders.n_decoders), caller)


def _linked(
    servers: list[str],
    ids: set[int],
    options: TransportOptions,
    keys: tuple[Path | None, Path | None],
    timeout_s: float,
    links: ExitStack,
) -> dict[int, Caller]:
    """One link per endpoint; an endpoint without a number serves every decoder."""
    from cudaq_target.coupler.link import connect  # noqa: PLC0415
    from cudaq_target.coupler.playback_callers import OverLink  # noqa: PLC0415
    from cudaq_target.coupler.security import client_security  # noqa: PLC0415

    secret, server_key = keys
    if (secret is None) != (server_key is None):
        reason = "a client with keys needs its own secret and the server's public key"
        raise OptionError("--secret and --server-key", reason, "Give both, or neither")
    security = client_security(secret, server_key) if secret and server_key else None
    callers: dict[int, Caller] = {}
    for word in servers:
        found = re.fullmatch(r"(?:(\d+)=)?(.*)", word)
        assert found is not None  # the pattern takes any text
        link = links.enter_context(connect(found[2], security=security, options=options))
        caller = OverLink(link, timeout_s)
        callers |= dict.fromkeys(ids if found[1] is None else [int(found[1])], caller)
    return callers


def _sources(files: list[str], circuits: list[str]) -> dict[int, Rounds]:
    from cudaq_target.coupler.sources import StimMemory, read_source  # noqa: PLC0415

    sources: dict[int, Rounds] = {}
    for word in files:
        number, path = _numbered("--source", word, "0:syndromes.txt")
        sources[number] = read_source(_text_of(f"--source {number}:", Path(path)))
    for word in circuits:
        example = "0:code=surface_code,task=rotated_memory_z,distance=3"
        number, words = _numbered("--stim-source", word, example)
        settings = dict(one.partition("=")[::2] for one in words.split(","))
        task = f"{settings.pop('code', '')}:{settings.pop('task', '')}"
        try:
            distance, rounds, seed = (
                int(settings.pop(key, default))
                for key, default in (("distance", ""), ("rounds", "3"), ("seed", "1"))
            )
            noise = {key: float(value) for key, value in settings.items()}
        except ValueError as error:
            raise OptionError(f"--stim-source {word}", str(error), f"Use {example}") from error
        sources[number] = StimMemory(task, distance=distance, rounds=rounds, seed=seed, **noise)
    return sources


def _numbered(option: str, word: str, example: str) -> tuple[int, str]:
    number, colon, rest = word.partition(":")
    if not colon or not number.isascii() or not number.isdigit():
        raise OptionError(
            f"{option} {word}", "the number of the source is missing", f"Use {example}"
        )
    return int(number), rest


def _duration_ns(option: str, text: str) -> int:
    found = re.fullmatch(r"(\d+)(ns|us|µs|ms|s)", text)
    if found is None:
        raise OptionError(f"{option} {text}", "no duration", _DURATION_TEXT)
    return int(found[1]) * _UNITS_NS[found[2]]


def _options(slot_bytes: int, slots: int) -> TransportOptions:
    from cudaq_target.coupler.transports.interface import TransportOptions  # noqa: PLC0415

    return TransportOptions(slot_bytes=slot_bytes, n_slots=slots)


def _text_of(what: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = f"the file cannot be read ({error})"
        raise OptionError(
            f"{what} {str(path)!r}", reason, "Give a text file that exists"
        ) from error


def _say(line: str) -> None:
    """Print a line at once: a program waits for it at the other end of a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
