"""Repeats a run from its manifest, and says what has changed since."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from cudaq_target.device import bundled_devices
from cudaq_target.errors import OptionError
from cudaq_target.manifest import facts, loop_runs
from cudaq_target.manifest.runs import Phases, measured, of_program
from cudaq_target.options import Options
from cudaq_target.program_file import counted
from cudaq_target.target import Pasqal, Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.manifest.model import Manifest
    from cudaq_target.program import Program

Agreement: TypeAlias = Literal["identical", "statistics", "different"]
# Shots that agree are called different once in so many runs.
MIN_P_VALUE: Final = 1e-4
_MIN_EXPECTED: Final = 5.0
# What a seed decides of a loop; how long it took, and which shots lay behind a stop, is not.
_DECIDED: Final = ("value", "standard_error", "interval", "n_used", "counts")
_GIVEN: Final = ("machine_secret", "machine_server_key", "machine_timeout_s", "machine_poll_s")


class Difference(NamedTuple):
    """Something that is not as it was."""

    what: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.then} then, {self.now} now"


@dataclass(frozen=True, slots=True)
class Rerun:
    """A run that was repeated.

    Attributes:
        manifest: Of the new run.
        agreement: "identical": the same numbers. "statistics": shots of the same probabilities.
            "different": neither.
        p_value: Of the comparison of counts that are not identical, else None.
        differences: What has changed since: machine, device, versions, processor.
    """

    manifest: Manifest
    agreement: Agreement
    p_value: float | None
    differences: tuple[Difference, ...]

    def text(self) -> str:
        """Say it in a few lines."""
        words = {
            "identical": "the same numbers",
            "statistics": f"other numbers of the same statistics (p = {self.p_value or 0.0:.3g})",
            "different": "OTHER numbers",
        }
        p_value = "" if self.p_value is None else f" (p = {self.p_value:.3g})"
        said = words[self.agreement] + (p_value if self.agreement == "different" else "")
        lines = [f"{self.manifest.name}: {said}", *map(str, self.differences)]
        return "\n  ".join(lines)


def rerun(
    manifest: Manifest,
    *,
    machine: str | None = None,
    is_live: bool = False,
    **settings: Any,  # noqa: ANN401 - options of several types
) -> Rerun:
    """Run again what a manifest describes.

    A program runs with the options of the manifest, whatever this environment sets. A loop is
    replayed from its record where that is there, else run again.

    Args:
        manifest: Of the run.
        machine: Another machine for a program; None for the same one.
        is_live: Run a loop on its machine even where its record is there.
        **settings: What a manifest does not hold: `machine_secret`, `machine_server_key`,
            `machine_timeout_s`, `machine_poll_s`.

    Returns:
        The new run's manifest, how it agrees, and what has changed.

    Raises:
        OptionError: The program of the manifest was changed, or the loop is not known.
        TargetError: As for the run itself.
    """
    if manifest.kind == "loop":
        if machine is not None or settings:
            raise OptionError(
                "machine", "a loop runs where its settings say", "Run the loop itself there"
            )
        fresh = _loop(manifest, is_live=is_live)
    else:
        fresh = _program(manifest, machine, settings)
    agreement, p_value = _agreement(manifest, fresh)
    differences = tuple(_differences(manifest, fresh))
    said = {
        "of": facts.sha256(manifest.to_json()),
        "agreement": agreement,
        "p_value": p_value,
        "differences": [list(entry) for entry in differences],
    }
    fresh = dataclasses.replace(fresh, about=manifest.about, rerun=said)
    return Rerun(fresh, agreement, p_value, differences)


def read_program(manifest: Manifest) -> Program | AnalogProgram:
    """Return the program that a manifest holds.

    Raises:
        OptionError: It holds none, or its text is not the one that ran.
    """
    from cudaq_target.analog.program import AnalogProgram  # noqa: PLC0415
    from cudaq_target.program import Program  # noqa: PLC0415

    held = manifest.program
    if held is None:
        raise OptionError("manifest", "it holds no program", "Give that of a program's run")
    if facts.sha256(held["text"]) != held["sha256"]:
        raise OptionError(
            "manifest",
            "the program is not the one that ran: its text was changed, or held a secret",
            "Give the manifest as it was written",
        )
    reader = AnalogProgram if manifest.kind == "analog" else Program
    return reader.from_json(held["text"])


def _program(manifest: Manifest, machine: str | None, settings: Mapping[str, Any]) -> Manifest:
    for name in settings:
        if name not in _GIVEN:
            raise OptionError(
                f"option {name!r}", "the manifest says it", f"Allowed: {', '.join(_GIVEN)}"
            )
    program = read_program(manifest)
    session = _session(manifest, machine, settings)
    phases = Phases()
    n_shots = manifest.n_shots or 0
    with phases.phase("run"):
        shots, name = measured(program, session, n_shots)
    return of_program(
        program,
        counted(program, shots),
        session,
        n_shots,
        phases,
        machine=name,
        arguments=manifest.arguments,
    )


def _session(manifest: Manifest, machine: str | None, settings: Mapping[str, Any]) -> Session:
    """A session with the options of the manifest alone, whatever the environment says."""
    kept = dict(manifest.options)
    name = machine or kept.get("machine") or manifest.machine["name"]
    noise = kept.get("noise")
    if noise is not None and machine is None:
        from pulser import NoiseModel  # noqa: PLC0415

        noise = NoiseModel.from_abstract_repr(json.dumps(noise))
    given: dict[str, Any] = {
        entry.name: kept[entry.name]
        for entry in dataclasses.fields(Options)
        # The program has its device and its sites.
        if entry.name in kept and entry.name not in ("device", "layout", "machine", "noise")
    }
    session = Session(Pasqal(machine=name, seed=manifest.seed, **settings))
    session.options = Options(
        **(given | dict(settings)), machine=name, noise=None if machine is not None else noise
    )
    return session


def _loop(manifest: Manifest, *, is_live: bool) -> Manifest:
    assert manifest.loop is not None, "the kind says so"
    name, settings = manifest.loop["name"], manifest.loop["settings"]
    kind = loop_runs.kind_of(name)
    record = manifest.loop["record"]
    phases = Phases()
    replays = record is not None and not is_live
    with phases.phase("run"):
        if replays and Path(record).is_file():
            found = kind.replay(Path(record), settings)
        else:
            found = kind.run(settings, None, None)
    return loop_runs.of_loop(name, settings, found, phases)


def _agreement(then: Manifest, now: Manifest) -> tuple[Agreement, float | None]:
    results = then.result, now.result
    if all(getattr(results[0], name) == getattr(results[1], name) for name in _DECIDED):
        return "identical", None
    counts = then.result.counts, now.result.counts
    if counts[0] is None or counts[1] is None:
        return "different", None
    p_value = same_statistics(counts[0], counts[1])
    return ("statistics" if p_value >= MIN_P_VALUE else "different"), p_value


def same_statistics(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Test whether two sets of counts come from one distribution.

    Pearson's chi-square test of homogeneity; outcomes that are too rare for it are taken together.

    Returns:
        The p-value: how often samples of one distribution are at least so different.

    >>> same_statistics({"0": 50, "1": 50}, {"0": 52, "1": 48}) > 0.5
    True
    >>> same_statistics({"0": 99, "1": 1}, {"0": 50, "1": 50}) < 1e-9
    True
    """
    from scipy.stats import chi2_contingency  # noqa: PLC0415

    names = sorted({*first, *second}, key=lambda name: -first.get(name, 0) - second.get(name, 0))
    table = np.array([[counts.get(name, 0) for name in names] for counts in (first, second)])
    totals = table.sum(axis=1)
    if not totals.all():
        return 1.0 if not totals.any() else 0.0
    expected = table.sum(axis=0) * totals.min() / totals.sum()
    n_common = int(np.count_nonzero(expected >= _MIN_EXPECTED))
    rest = table[:, n_common:].sum(axis=1, keepdims=True)
    merged = np.hstack([table[:, :n_common], rest]) if rest.any() else table[:, :n_common]
    if merged.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(merged, correction=False).pvalue)


def _differences(then: Manifest, now: Manifest) -> Iterator[Difference]:
    if then.machine["name"] != now.machine["name"]:
        yield Difference("machine", str(then.machine["name"]), str(now.machine["name"]))
    yield from _devices(then, now)
    for name in sorted({*then.versions, *now.versions}):
        versions = then.versions.get(name, "none"), now.versions.get(name, "none")
        if versions[0] != versions[1]:
            yield Difference(name, *versions)
    for name in ("cpu", "architecture"):
        places = then.host.get(name), now.host.get(name)
        if places[0] != places[1]:
            yield Difference(name, str(places[0]), str(places[1]))


def _devices(then: Manifest, now: Manifest) -> Iterator[Difference]:
    """A device may have other limits today: that of a machine, or that of Pulser's bundle."""
    before, after = then.device, now.device
    if before is None or after is None:
        return
    if before["name"] != after["name"]:
        yield Difference("device", before["name"], after["name"])
        return
    limits = {after["sha256"]}
    bundled = bundled_devices().get(before["name"])
    if bundled is not None:
        limits.add(facts.device_facts(bundled)["sha256"])
    for today in sorted(limits - {before["sha256"]}):
        yield Difference(f"limits of {before['name']}", before["sha256"][:12], today[:12])
