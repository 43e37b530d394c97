"""One example for each command of `cudaq-target`, at the end of its `--help`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

# Words after `cudaq-target`. A test parses each of them with the command's own options.
EXAMPLES: Final = {
    "": "compile ghz.py:ghz 4 -o ghz.json",
    "bench": "bench compile --quick",
    "cancel": "cancel 20261122-1638",
    "compile": "compile ghz.py:ghz 4 -o ghz.json",
    "decode-server": "decode-server --config config.yml --bind shm://decoders",
    "demo": "demo --qubits 2",
    "devices": "devices --json",
    "doctor": "doctor --json",
    "draw": "draw ghz.json -o ghz.png",
    "fetch": "fetch 20261122-1638 --timeout 600",
    "forget": "forget --finished --older-than 30d",
    "keys": "keys controller -d keys",
    "loop": "loop vqe --system chain --events loop.jsonl",
    "loop drift": "loop drift payload.json --machine ipc:///tmp/me/qpu.sock --record drift.rec",
    "loop memory": "loop memory --code surface --distance 3 --shots 1000",
    "loop mis": "loop mis square --points 20 --seed 1 --record mis.rec",
    "loop report": "loop report loop.jsonl -o loop.html",
    "loop vqe": "loop vqe --system chain --events loop.jsonl",
    "playback": "playback schedule.txt --server udp://127.0.0.1:40211 --source 0:rounds.txt",
    "report": "report manifest.json --format html -o run.html",
    "rerun": "rerun manifest.json",
    "run": "run ghz.py:ghz 4 --shots 1000 --seed 7 --manifest manifest.json",
    "serve": "serve --bind ipc:///tmp/me/qpu.sock --cadence-hz 5",
    "site": "site show slurm.conf",
    "site install": "site install /etc/qrmi",
    "site show": "site show slurm.conf",
    "status": "status 20261122-1638",
    "warm-up": "warm-up",
    "watch": "watch loop.jsonl",
}


def add_examples(app: typer.Typer, path: str = "") -> None:
    """Write the example of each command below its options, sub-commands included.

    Args:
        app: Commands, all of them registered.
        path: Words that lead to them.
    """
    app.info.epilog = _epilog(path)
    for command in app.registered_commands:
        function = getattr(command.callback, "__name__", "")
        command.epilog = _epilog(f"{path} {command.name or function.replace('_', '-')}".strip())
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.epilog = _epilog(str(group.name))
            add_examples(group.typer_instance, f"{path} {group.name}".strip())


def _epilog(path: str) -> str | None:
    words = EXAMPLES.get(path)
    return None if words is None else f"Example: cudaq-target {words}"
