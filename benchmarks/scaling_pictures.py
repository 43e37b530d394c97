"""Pictures of how cost grows, from the records `results/scaling-*.json`.

`python -m benchmarks.pictures` draws them with the others: one PNG per part in `docs/`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.report import RESULTS, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Line = dict[str, Any]

FOLDER = ROOT / "docs"
_MARK: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 1.4}
_SMALL = 7


def draw_emulator(figure: Figure, record: dict[str, Any]) -> None:
    """Time over size and length, memory over size."""
    sizes, lengths, memory = figure.subplots(1, 3)
    names = {"gates": "gates, depth 10", "sweep": "sweep of 3 µs"}
    for k, (kind, name) in enumerate(names.items()):
        lines = _of(record["emulator_size"], kind=kind)
        _curve(sizes, lines, "n", "median_ms", f"C{k}", name)
        beside = [line for line in lines if "peer_ms" in line]
        _curve(sizes, beside, "n", "peer_ms", f"C{k}", f"{name}, pulser-simulation", "--")
    sizes.set(yscale="log", xlabel="qubits", ylabel="time (ms)", title="Emulation over qubits")
    depths = _of(record["emulator_length"], kind="gates")
    durations = _of(record["emulator_length"], kind="sweep")
    _curve(lengths, depths, "depth", "median_ms", "C0", f"gates, {depths[0]['n']} qubits")
    micros = [line | {"us": line["duration_ns"] / 1000.0} for line in durations]
    _curve(lengths, micros, "us", "median_ms", "C1", f"sweep, {durations[0]['n']} atoms")
    lengths.set(xlabel="layers of gates, or µs of the sweep", ylabel="time (ms)")
    lengths.set(xscale="log", yscale="log", title="Emulation over length")
    for k, (kind, name) in enumerate({"gates": "gates", "sweep": "sweep"}.items()):
        lines = _of(record["emulator_memory"], kind=kind)
        _curve(memory, lines, "n", "peak_mib", f"C{k}", f"{name}, measured peak")
        _curve(memory, lines, "n", "estimate_mib", f"C{k}", f"{name}, own estimate", ":")
    memory.set(yscale="log", xlabel="qubits", ylabel="memory (MiB)", title="Memory over qubits")
    _finish((sizes, lengths, memory))


def draw_compile(figure: Figure, record: dict[str, Any]) -> None:
    """Time over gates, and over qubits."""
    gates, qubits = figure.subplots(1, 2)
    for axes, section, size in ((gates, "compile_gates", "gates"), (qubits, "compile_qubits", "n")):
        _curve(axes, record[section], size, "median_ms", "C0", "to pulses, warm")
        for k in (1, 3):
            key = f"qiskit_{k}_ms"
            lines = [line for line in record[section] if key in line]
            _curve(axes, lines, size, key, f"C{k}", f"Qiskit level {k}, gates alone", "--")
    cold = [line for line in record["compile_cold"] if "median_ms" in line]
    _curve(gates, cold, "gates", "median_ms", "C0", "to pulses, cold", ":")
    gates.set(xscale="log", yscale="log", xlabel="gates", ylabel="time (ms)")
    gates.set_title(f"Random gates on {record['compile_gates'][0]['n']} qubits")
    qubits.set(yscale="log", xlabel="qubits", ylabel="time (ms)", title="Ten layers over qubits")
    _finish((gates, qubits))


def draw_coupler(figure: Figure, record: dict[str, Any]) -> None:
    """Throughput over payload, and throughput and latency over clients."""
    payloads, clients, waits = figure.subplots(1, 3)
    lines = record["coupler_clients"]
    smallest = min(line["bytes"] for line in lines)
    for k, transport in enumerate(dict.fromkeys(line["transport"] for line in lines)):
        mine = _of(lines, transport=transport)
        most = max(line["clients"] for line in mine)
        _curve(payloads, _of(mine, clients=1), "bytes", "mb_per_s", f"C{k}", transport)
        many = _of(mine, clients=most)
        _curve(payloads, many, "bytes", "mb_per_s", f"C{k}", f"{transport}, {most} clients", "--")
        small = _of(mine, bytes=smallest)
        _curve(clients, small, "clients", "calls_per_s", f"C{k}", transport)
        _curve(waits, small, "clients", "p50_us", f"C{k}", transport)
    payloads.set(xscale="log", yscale="log", xlabel="payload (bytes)", ylabel="throughput (MB/s)")
    payloads.set_title("Calls in flight, by payload")
    clients.set(xscale="log", yscale="log", xlabel="clients", ylabel="calls per second, together")
    clients.set_title(f"Calls in flight, {smallest} B")
    waits.set(xscale="log", yscale="log", xlabel="clients", ylabel="median (µs)")
    waits.set_title(f"One by one, {smallest} B")
    for axes in (clients, waits):
        _plain_ticks(axes, sorted({line["clients"] for line in lines}))
    _finish((payloads, clients, waits))


def draw_loop(figure: Figure, record: dict[str, Any]) -> None:
    """Overhead of a step over qubits, terms and settings."""
    panels = dict(zip(("qubits", "terms", "settings"), figure.subplots(1, 3), strict=True))
    titles = {"qubits": "Qubits", "terms": "Terms in one setting", "settings": "Settings"}
    for over, axes in panels.items():
        lines = _of(record["loop_steps"], over=over)
        for k, place in enumerate(dict.fromkeys(line["place"] for line in lines)):
            _curve(axes, _of(lines, place=place), "n", "median_ms", f"C{k}", place)
        axes.set(xlabel=over, ylabel="overhead per step (ms)", title=titles[over])
        if over == "settings":
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0.0)
        if over != "qubits":
            axes.set_xscale("log")
    _finish(panels.values())


PICTURES: dict[str, tuple[Callable[[Figure, dict[str, Any]], None], int]] = {
    "emulator": (draw_emulator, 3),
    "compile": (draw_compile, 2),
    "coupler": (draw_coupler, 3),
    "loop": (draw_loop, 3),
}
"""What draws each part's record, and how many panels it has."""


def draw_all(results: Path = RESULTS, folder: Path = FOLDER) -> list[Path]:
    """Draw every part that has a record; where the pictures are."""
    drawn = []
    for part in PICTURES:
        record = results / f"scaling-{part}.json"
        if record.is_file():
            drawn.append(folder / f"scaling-{part}.png")
            draw(part, json.loads(record.read_text()), drawn[-1])
    return drawn


def draw(part: str, record: dict[str, Any], path: Path) -> None:
    """Draw one part.

    Args:
        part: One of `PICTURES`.
        record: As `report.Report.record` gives it.
        path: Of the PNG.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - heavy, and the extra `draw`

    make, n_panels = PICTURES[part]
    figure = Figure(figsize=(5.0 * n_panels, 4.6), layout="constrained")
    make(figure, record)
    machine = record["machine"]
    figure.suptitle(f"{machine['cpu']}, {machine['cores']} cores, {record['date']}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _of(lines: Iterable[Line], **wanted: object) -> list[Line]:
    """Lines with these values."""
    return [line for line in lines if all(line.get(key) == one for key, one in wanted.items())]


def _curve(
    axes: Axes, lines: list[Line], x: str, y: str, colour: str, name: str, style: str = "-"
) -> None:
    if not lines:
        return
    points = [(line[x], line[y]) for line in lines if y in line]
    axes.plot(*zip(*points, strict=True), style, color=colour, label=name, **_MARK)


def _plain_ticks(axes: Axes, values: list[int]) -> None:
    """Write these numbers, and no powers of ten, on the axis below."""
    axes.set_xticks(values, [str(value) for value in values])
    axes.set_xticks([], minor=True)


def _finish(panels: Iterable[Axes]) -> None:
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.legend(fontsize=_SMALL)
