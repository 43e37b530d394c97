"""The picture of the round trips: `python -m benchmarks.pictures [RECORD [PICTURE]]`.

Drawn from the record that a run with `--output` wrote, by default `results/rtt.json`, to
`docs/coupler-rtt.png`. Without arguments the curves of `scaling_pictures` are drawn, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import scaling_pictures
from benchmarks.histograms import buckets
from benchmarks.report import RESULTS, ROOT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = ROOT / "docs" / "coupler-rtt.png"
GOAL_BYTES = 64
_CYCLE = "every 1000 µs"
# Case, transport and wait of a line, and what it is called.
LINES = {
    ("two flags and two buffers, native", "shm", "busy"): "two flags, native: the floor",
    ("slot and flag ring, native", "shm", "busy"): "shm, both ends native",
    ("shm.Client, native echo", "shm", "busy"): "shm, Python client, native handler",
    ("connect(), Python echo", "shm", "busy"): "shm, both ends Python",
    ("connect(), native echo", "udp", "block"): "udp",
    ("connect(), native echo", "ipc", "block"): "ipc (ZeroMQ)",
    ("connect(), native echo", "tcp", "block"): "tcp (ZeroMQ)",
    ("pyzmq DEALER/ROUTER", "pyzmq", "block"): "bare pyzmq",
    ("iceoryx2 request-response, both ends Python, busy", "iceoryx2", "busy"): "iceoryx2",
    ("zenoh put and echo, Unix socket, both ends Python", "zenoh", "block"): "zenoh",
}
PEERS = {"bare pyzmq", "iceoryx2", "zenoh"}


def label_of(record: dict[str, Any]) -> str | None:
    """What a case is called in the picture; None where it is not in it."""
    return LINES.get((record["case"], record["transport"], record["wait"]))


def tail_of(record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Complementary distribution of a recorded histogram.

    Returns:
        Times (µs), and the share of samples above each, shape (n_buckets,) both.
    """
    highest_us, counts = buckets(record)
    above = 1.0 - np.cumsum(counts) / counts.sum()
    # The last bucket has none above it; half a sample keeps it on a logarithmic axis.
    return highest_us, np.maximum(above, 0.5 / counts.sum())


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw a record of `rtt`.

    Args:
        record: As `report.Report.record` gives it.
        path: Of the PNG.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - heavy, and the extra `draw`

    colours = {name: f"C{k}" for k, name in enumerate(LINES.values())}
    figure = Figure(figsize=(15.0, 5.2), layout="constrained")
    tails, sizes, late = figure.subplots(1, 3)
    _draw_tails(tails, record["histograms"], colours)
    _draw_sizes(sizes, record["latency"], colours)
    _draw_lateness(late, record["histograms"])
    machine = record["machine"]
    figure.suptitle(
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine.get('kernel', '')}, "
        f"load {machine['load_1min']}, {record['date']}",
        fontsize=9,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _style(name: str) -> dict[str, Any]:
    return {"linestyle": "--" if name in PEERS else "-", "linewidth": 1.4, "label": name}


def _draw_tails(axes: Axes, histograms: list[dict[str, Any]], colours: dict[str, str]) -> None:
    drawn = set()
    for one in histograms:
        name = label_of(one)
        is_plain = one["loop"] == "closed" and one["pinning"] == "none"
        if name is None or one["bytes"] != GOAL_BYTES or not is_plain or name in drawn:
            continue
        drawn.add(name)
        axes.plot(*tail_of(one), color=colours[name], **_style(name))
    axes.set(xscale="log", yscale="log", xlabel="round trip (µs)", ylabel="share of calls above")
    axes.set_title(f"Closed loop, {GOAL_BYTES} B")
    axes.grid(alpha=0.3)


def _draw_sizes(axes: Axes, latency: list[dict[str, Any]], colours: dict[str, str]) -> None:
    medians: dict[str, dict[int, float]] = {}
    for one in latency:
        name = label_of(one)
        if name is not None and one["pinning"] == "none":
            medians.setdefault(name, {}).setdefault(one["bytes"], one["p50"])
    for name, found in medians.items():
        sizes = sorted(found)
        values = [found[size] for size in sizes]
        axes.plot(sizes, values, marker="o", markersize=3, color=colours[name], **_style(name))
    axes.set(xscale="log", yscale="log", xlabel="payload (bytes)", ylabel="median (µs)")
    axes.set_title("Closed loop, median by size")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")


def _draw_lateness(axes: Axes, histograms: list[dict[str, Any]]) -> None:
    colours: dict[str, str] = {}
    for one in histograms:
        if one["loop"] == "open":
            colour = colours.setdefault(one["case"].partition(",")[0], f"C{len(colours)}")
            style = "--" if one["case"].endswith(_CYCLE) else "-"
            axes.plot(*tail_of(one), style, color=colour, linewidth=1.4, label=one["case"])
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="answer after the scheduled time (µs)",
        ylabel="share of requests above",
    )
    axes.set_title(f"Open loop, {GOAL_BYTES} B")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6.5, loc="upper right", framealpha=0.5)


def main(record: str = str(RESULTS / "rtt.json"), picture: str = str(PICTURE)) -> None:
    draw(json.loads(Path(record).read_text()), Path(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
    if len(sys.argv) == 1:
        scaling_pictures.draw_all()
