"""How times are taken: warm-up, repeats in turns, medians; cold starts in fresh processes."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.report import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Name = TypeVar("Name")
Taken = TypeVar("Taken")

CACHE_VARIABLE = "CUDAQ_TARGET_CACHE_DIR"
_PROBE_TIMEOUT_S = 900


class ProbeError(Exception):
    """A measuring process failed; carries its last words."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Seconds of two contenders that took turns."""

    ours_s: tuple[float, ...]
    peer_s: tuple[float, ...]

    @property
    def ours(self) -> float:
        return statistics.median(self.ours_s)

    @property
    def peer(self) -> float:
        return statistics.median(self.peer_s)

    @property
    def ratio(self) -> float:
        return self.peer / self.ours


def seconds(run: Callable[[], object]) -> float:
    """Time one call, with the garbage collector kept out of it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        start = perf_counter()
        run()
        return perf_counter() - start
    finally:
        if was_enabled:
            gc.enable()


def turns(
    contenders: Mapping[Name, Callable[[], Taken]], repeats: int, *, warm_ups: int = 0
) -> dict[Name, list[Taken]]:
    """Measure A B C A B C …, so that a change of the machine's speed meets all.

    Args:
        contenders: By name; each returns what one repeat took, as a number or with more beside.
        repeats: Recorded repeats of each.
        warm_ups: Repeats of each that come first and are not recorded.

    Returns:
        What each repeat returned, by name.
    """
    for _ in range(warm_ups):
        for run in contenders.values():
            run()
    found: dict[Name, list[Taken]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            found[name].append(run())
    return found


def in_turns(
    ours: Callable[[], float], peer: Callable[[], float], repeats: int, *, warm_ups: int = 0
) -> Pair:
    """Measure ours and a peer, A B A B ….

    Args:
        ours: Returns the seconds that one repeat took.
        peer: The same for the peer.
        repeats: Recorded repeats of each.
        warm_ups: Repeats of each that come first and are not recorded.
    """
    found = turns({"ours": ours, "peer": peer}, repeats, warm_ups=warm_ups)
    return Pair(tuple(found["ours"]), tuple(found["peer"]))


def repeated(run: Callable[[], float], repeats: int, *, warm_ups: int = 0) -> tuple[float, ...]:
    """Measure one contender that has no peer to take turns with."""
    return tuple(turns({"ours": run}, repeats, warm_ups=warm_ups)["ours"])


def probe(
    name: str, *args: str, cache_dir: str | None = None, numba_dir: str | None = None
) -> dict[str, Any]:
    """Run one function of `benchmarks.probes` in a fresh process.

    Args:
        name: Name of the probe.
        *args: Its arguments.
        cache_dir: Directory of the pulse cache; None keeps the caller's environment.
        numba_dir: Directory of Numba's compiled code; None keeps the caller's environment.

    Returns:
        What it measured; `seconds` and `import_s` are always there.

    Raises:
        ProbeError: The process failed.
    """
    environment = dict(os.environ)
    if cache_dir is not None:
        environment[CACHE_VARIABLE] = cache_dir
    if numba_dir is not None:
        environment["NUMBA_CACHE_DIR"] = numba_dir
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.probes", name, *args],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PROBE_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise ProbeError(f"{name} {' '.join(args)}: {last_line(done.stderr)}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def cold_probe(name: str, *args: str) -> dict[str, Any]:
    """Run a probe with an empty pulse cache."""
    with empty_folder() as folder:
        return probe(name, *args, cache_dir=folder)


@contextmanager
def empty_folder() -> Iterator[str]:
    """Give an empty directory that lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="cache-") as folder:
        yield folder


def last_line(text: str) -> str:
    lines: Sequence[str] = text.strip().splitlines()
    return lines[-1] if lines else "no message"
