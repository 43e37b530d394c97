"""A manifest in lines of text; the same in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cudaq_target.watch.words import duration, printable, with_error

if TYPE_CHECKING:
    from cudaq_target.manifest.model import Manifest, Result

_MAX_COUNTS: Final = 8
_NS_PER_S: Final = 1e9


class Line(NamedTuple):
    """What is known under one name."""

    name: str
    text: str


def text(manifest: Manifest) -> str:
    """Describe a run in a few lines."""
    told = list(lines(manifest))
    width = max(len(line.name) for line in told)
    title = f"{manifest.name}, {manifest.created_at}"
    said = [f"  {line.name:<{width}}  {line.text}" for line in told]
    return "\n".join(printable(line) for line in (title, *said))


def lines(manifest: Manifest) -> Iterator[Line]:
    """Say what a manifest knows, the result first; what nobody knows is left out."""
    yield from _result(manifest.result)
    yield from _what_ran(manifest)
    yield Line("machine", _machine(manifest))
    if manifest.device is not None:
        digest = str(manifest.device["sha256"])[:12]
        yield Line("device", f"{manifest.device['name']}, limits {digest}")
    if options := _options(manifest):
        yield Line("options", options)
    yield Line("time", _times(manifest.seconds))
    if manifest.estimate is not None:
        wanted = manifest.estimate
        yield Line(
            "estimate",
            f"{wanted['seconds']:.6g} s on a machine that takes {wanted['cycle_s']:g} s per shot "
            "beside the pulses",
        )
    yield Line("host", f"{processor(manifest.host)}, {manifest.host.get('os', '')}".rstrip(", "))
    if manifest.job is not None:
        yield Line("job", f"{manifest.job['id']} of {manifest.job['scheduler']}")
    named = (f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    yield Line("versions", ", ".join(named))
    if manifest.events is not None:
        yield Line("events", manifest.events)
    yield Line("command", manifest.command)
    yield from _about(manifest)


def processor(host: Mapping[str, Any]) -> str:
    """Name a computer: processor, cores, memory."""
    parts = [str(host.get("cpu") or "unknown processor")]
    if host.get("cores"):
        parts.append(f"{host['cores']} cores")
    if host.get("memory_gib"):
        parts.append(f"{host['memory_gib']:g} GiB")
    return ", ".join(parts)


def _result(result: Result) -> Iterator[Line]:
    if result.value is not None:
        yield Line(result.quantity, with_error(result.value, result.standard_error, result.unit))
    if result.interval is not None:
        low, high = result.interval
        level = "" if result.confidence is None else f" ({100.0 * result.confidence:g} %)"
        yield Line("interval", f"{low:.6g} to {high:.6g} {result.unit}".rstrip() + level)
    if result.counts is not None:
        most = sorted(result.counts.items(), key=lambda entry: (-entry[1], entry[0]))
        shown = ", ".join(f"{bits or '(no bits)'} {number}" for bits, number in most[:_MAX_COUNTS])
        left = len(most) - _MAX_COUNTS
        yield Line("counts", shown + (f", {left} more outcomes" if left > 0 else ""))
    if result.method is not None:
        yield Line("method", result.method)
    if result.n_used is not None:
        yield Line("shots", f"{result.n_used:,} used")


def _what_ran(manifest: Manifest) -> Iterator[Line]:
    source = manifest.source
    if source is not None and source["file"] is not None:
        line = "" if source["line"] is None else f", line {source['line']}"
        yield Line("kernel", f"{source['kernel']} in {source['file']}{line}")
    if manifest.arguments:
        yield Line("arguments", ", ".join(map(repr, manifest.arguments)))
    held = manifest.program
    if held is not None:
        yield Line(
            "program",
            f"{held['n_qubits']} qubits, {held['n_atoms']} atoms, "
            f"{held['duration_ns'] / 1e3:.3f} µs, sha256 {held['sha256'][:12]}",
        )
    if manifest.loop is not None:
        given = manifest.loop["settings"].items()
        said = ", ".join(f"{name} {value}" for name, value in given if value is not None)
        yield Line("loop", f"{manifest.loop['name']}: {said}")
        if manifest.loop["record"] is not None:
            yield Line("record", manifest.loop["record"])
    yield Line("seed", "none" if manifest.seed is None else str(manifest.seed))


def _machine(manifest: Manifest) -> str:
    kinds = {True: "emulator", False: "QPU", None: "kind not known"}
    return f"{manifest.machine['name']} ({kinds[manifest.machine['is_emulator']]})"


def _options(manifest: Manifest) -> str:
    known = {"machine", "seed", "device"}
    given = manifest.options.items()
    shown = [
        f"{name} {'given' if isinstance(value, dict | list) else value}"
        for name, value in given
        if name not in known and value not in (None, False)
    ]
    return ", ".join([*shown, *(f"{name} withheld" for name in manifest.withheld)])


def _times(seconds: Mapping[str, float | None]) -> str:
    known = {name: took for name, took in seconds.items() if took is not None}
    return ", ".join(f"{name} {duration(took * _NS_PER_S)}" for name, took in known.items())


def _about(manifest: Manifest) -> Iterator[Line]:
    about = manifest.about
    for name in ("problem", "authors", "institutions", "method_proof", "notes"):
        value = getattr(about, name)
        if value is not None:
            yield Line(name.replace("_", " "), value)
    if manifest.rerun is not None:
        changed = "; ".join(
            f"{what}: {then} then, {now} now" for what, then, now in manifest.rerun["differences"]
        )
        yield Line("rerun", f"{manifest.rerun['agreement']}. {changed}".rstrip(". "))
