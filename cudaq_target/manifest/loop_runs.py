"""Loops by name and plain settings: run, replayed from a record, and written down."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.coupler.loops.events import command
from cudaq_target.errors import OptionError
from cudaq_target.manifest import facts
from cudaq_target.manifest.model import About, Manifest, Result

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.coupler.loops.memory_result import MemoryResult
    from cudaq_target.loops.drift import DriftResult, DriftSettings
    from cudaq_target.loops.mis import MisResult
    from cudaq_target.loops.vqe import VqeResult
    from cudaq_target.manifest.runs import Phases

Settings = Mapping[str, Any]
"""What the loop's command takes, by the names of its parameters; plain data."""


@dataclass(frozen=True, slots=True)
class LoopKind:
    """One of the loops.

    Attributes:
        run: Runs it; takes settings, a file for events or None, a file for a record or None.
        replay: Repeats it from its record; takes the file and the settings.
        result: Reduces what it found.
    """

    run: Callable[[Settings, Path | None, Path | None], Any]
    replay: Callable[[Path, Settings], Any]
    result: Callable[[Any], Result]


def kind_of(name: str) -> LoopKind:
    """Return a loop by its name.

    Raises:
        OptionError: There is no such loop.
    """
    if name not in LOOPS:
        raise OptionError(f"loop {name!r}", "not known", f"Known: {', '.join(LOOPS)}")
    return LOOPS[name]


def of_loop(
    name: str,
    settings: Settings,
    found: Any,  # noqa: ANN401 - the result of any loop
    phases: Phases,
    *,
    events: Path | None = None,
    record: Path | None = None,
    about: About | None = None,
) -> Manifest:
    """Make the manifest of a loop that has run.

    Args:
        name: Of the loop: "vqe", "mis", "memory", "drift".
        settings: What it was run with.
        found: Its result.
        phases: Its times.
        events: File with its events.
        record: File with its shots and decisions.
        about: What no program knows.
    """
    result = kind_of(name).result(found)
    specs = dict(getattr(found, "machine", None) or {})
    machine = settings.get("machine") or specs.get("name") or "local"
    figures = result.figures
    n_shots = figures.get("n_shots", result.n_used)
    seconds = {**phases.seconds, "machine": figures.get("machine_seconds")}
    reported = {key: value for key, value in specs.items() if not isinstance(value, dict | str)}
    return Manifest(
        kind="loop",
        name=name,
        created_at=phases.created_at,
        command=command(),
        loop={
            "name": name,
            "settings": {key: _plain(value) for key, value in settings.items()},
            "record": None if record is None else str(record),
        },
        n_shots=None if n_shots is None else int(n_shots),
        seed=settings.get("seed"),
        machine={
            **reported,
            "name": str(machine),
            "is_emulator": specs.get("is_emulator", facts.is_emulator(str(machine))),
        },
        device=_device(specs),
        versions=facts.versions(),
        host=facts.host(),
        job=facts.job(),
        seconds=seconds,
        result=result,
        events=None if events is None else str(events),
        about=about or About(),
    )


def _device(specs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The device that a controller reports, in Pulser's abstract representation."""
    content = specs.get("device") or specs.get("analog_device")
    if isinstance(content, str):
        content = json.loads(content) if content.startswith("{") else None
    return facts.described(content) if isinstance(content, dict) else None


def _run_vqe(asked: Settings, events: Path | None, record: Path | None) -> VqeResult:
    problem, settings = _vqe(asked)
    from cudaq_target.loops.vqe import vqe  # noqa: PLC0415 - CUDA-Q, imported by now

    given = {name: asked.get(name) for name in ("device", "noise", "cadence_hz")}
    machine = asked.get("machine") or "local"
    place = {"endpoint": machine} if "://" in machine else {"machine": machine, **given}
    return vqe(problem, settings, events=events, record=record, **place)


def _replay_vqe(record: Path, asked: Settings) -> VqeResult:
    problem, settings = _vqe(asked)
    from cudaq_target.loops.vqe import replay_vqe  # noqa: PLC0415 - as above

    return replay_vqe(record, problem, settings)


def _vqe(asked: Settings) -> tuple[Any, Any]:
    from cudaq_target.kernel_file import import_host  # noqa: PLC0415

    import_host()
    from cudaq_target.loops import vqe as library  # noqa: PLC0415
    from cudaq_target.loops.systems import system  # noqa: PLC0415

    settings = library.Settings(
        optimiser=asked.get("optimiser") or "gradient",
        n_steps=asked.get("steps"),
        accuracy=asked.get("accuracy"),
        final_error=asked.get("error"),
        fixed_shots=asked.get("fixed_shots"),
        seed=asked["seed"],
    )
    return system(asked["system"], asked["qubits"]), settings


def _of_vqe(found: VqeResult) -> Result:
    estimate = found.estimate
    return Result(
        quantity="energy",
        value=_finite(estimate.value),
        unit=found.problem.unit,
        standard_error=_finite(estimate.standard_error),
        interval=_interval(estimate.low, estimate.high),
        confidence=estimate.confidence,
        method="variational loop over streamed shots; the interval holds at every look at once",
        n_used=estimate.n_shots,
        figures=_plain(found.as_data()),
    )


def _run_mis(asked: Settings, events: Path | None, record: Path | None) -> MisResult:
    from cudaq_target.loops.mis import find_mis  # noqa: PLC0415

    graph, settings = _mis(asked)
    machine = asked["machine"]
    is_endpoint = "://" in machine
    return find_mis(
        graph,
        settings,
        endpoint=machine if is_endpoint else None,
        machine="local" if is_endpoint else machine,
        device=asked["device"],
        noise=asked["noise"],
        cadence_hz=asked["cadence_hz"],
        events=events,
        record=record,
    )


def _replay_mis(record: Path, asked: Settings) -> MisResult:
    from cudaq_target.loops.mis import replay_mis  # noqa: PLC0415

    graph, settings = _mis(asked)
    return replay_mis(record, graph, settings, device=asked["device"])


def _mis(asked: Settings) -> tuple[Any, Any]:
    from cudaq_target.loops.graphs import NAMED, named_graph, unit_disk_graph  # noqa: PLC0415
    from cudaq_target.loops.mis import MisSettings  # noqa: PLC0415

    name, radius = asked["graph"], asked["radius"]
    if name in NAMED or not name.endswith(".json"):
        graph = named_graph(name)
        if radius != 1.0:
            raise OptionError(f"radius {radius:g}", f"{name} has its edges", "Leave it out")
    else:
        graph = unit_disk_graph(_positions(Path(name)), radius, Path(name).stem)
    return graph, MisSettings(
        shape=asked["shape"],
        duration_ns=asked["duration_ns"],
        part=asked["part"],
        optimiser=asked["optimiser"],
        n_points=asked["points"],
        wanted_size=asked["size"],
        seed=asked["seed"],
    )


def _positions(path: Path) -> list[list[float]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [[float(x), float(y)] for x, y in content]
    except (OSError, ValueError, TypeError) as error:
        reason = f"no list of x and y pairs ({error})"
        raise OptionError(f"graph {str(path)!r}", reason, "Write [[0, 0], [1, 0], …]") from error


def _of_mis(found: MisResult) -> Result:
    interval = found.p_interval
    return Result(
        quantity="probability of a largest independent set",
        value=found.p_optimum,
        interval=None if interval is None else _interval(interval.low, interval.high),
        confidence=None if interval is None else found.estimate.confidence,
        method="shaped sweep over streamed shots; the interval holds at every look at once",
        n_used=found.loop.n_used,
        figures=_plain(found.as_data()),
    )


def _run_memory(asked: Settings, events: Path | None, record: Path | None) -> MemoryResult:
    from cudaq_target.coupler.loops.memory import Server, memory_experiment  # noqa: PLC0415
    from cudaq_target.coupler.loops.memory_code import memory_code  # noqa: PLC0415

    code = memory_code(
        asked["code"], asked["distance"], asked["rounds"], asked["p"], asked["decoder"]
    )
    cores = asked["cores"]
    deadline_us = asked["deadline_us"]
    return memory_experiment(
        code,
        shots=asked["shots"],
        cadence_s=1e-6 * asked["cadence_us"],
        deadline_s=None if deadline_us is None else 1e-6 * deadline_us,
        seed=asked["seed"],
        server=Server(
            endpoint=asked["server"],
            is_native=False if asked["python"] else None,
            wait=asked["wait"],
            cores=None if cores is None else (int(cores[0]), int(cores[1])),
            priority=asked["priority"],
        ),
        events=events,
        record=record,
    )


def _replay_memory(record: Path, _: Settings) -> MemoryResult:
    from cudaq_target.coupler.loops.memory_record import replay_memory  # noqa: PLC0415

    return replay_memory(record)


def _of_memory(found: MemoryResult) -> Result:
    interval = found.interval if found.n_shots else None
    figures = found.as_data()
    figures.pop("late_rounds", None)
    return Result(
        quantity="logical error rate",
        value=_finite(found.logical_error_rate),
        interval=None if interval is None else _interval(interval.low, interval.high),
        confidence=found.confidence,
        method="rounds on a cadence, decoded in another process; the interval holds at every look",
        n_used=found.n_shots,
        figures=_plain(figures),
    )


def _run_drift(asked: Settings, events: Path | None, record: Path | None) -> DriftResult:
    from cudaq_target.controller.drifting import DriftingMachine, DriftLaw  # noqa: PLC0415
    from cudaq_target.loops.drift import track_drift  # noqa: PLC0415

    law = DriftLaw(asked["rabi_per_min"], asked["detuning_per_min"])
    machine, seed = asked["machine"], asked["seed"]
    payload, settings = _drift(asked)
    return track_drift(
        payload,
        endpoint=machine,
        emulated=DriftingMachine(law, seed=seed) if machine is None else None,
        n_shots=asked["shots"],
        settings=settings,
        seed=seed,
        events=events,
        record=record,
    )


def _replay_drift(record: Path, asked: Settings) -> DriftResult:
    from cudaq_target.loops.drift import replay_drift  # noqa: PLC0415

    payload, settings = _drift(asked)
    return replay_drift(record, payload, n_shots=asked["shots"], settings=settings)


def _drift(asked: Settings) -> tuple[AnalogProgram | None, DriftSettings]:
    from cudaq_target.loops.drift import DriftSettings, read_payload  # noqa: PLC0415

    payload = asked["payload"]
    return None if payload is None else read_payload(Path(payload)), DriftSettings(
        rabi_error=asked["rabi_error"],
        detuning_error=asked["detuning_error"],
        rabi_per_min=abs(asked["rabi_per_min"]),
        detuning_per_min=abs(asked["detuning_per_min"]),
    )


def _of_drift(found: DriftResult) -> Result:
    data = found.as_data()
    scale = data["rabi_scale"]
    return Result(
        quantity="Rabi frequency, share of the nominal one",
        value=_finite(scale),
        standard_error=_finite(scale * data["rabi_relative_std"]),
        method="filter over probe shots between those of the payload",
        n_used=data["n_probe_shots"],
        figures=_plain({**data, "n_shots": data["n_probe_shots"] + data["n_payload_shots"]}),
    )


def _interval(low: float, high: float) -> tuple[float, float] | None:
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:  # noqa: ANN401 - figures of any kind
    """Make plain data: JSON knows no NaN, no path and no number of NumPy's."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


LOOPS: Final[dict[str, LoopKind]] = {
    "vqe": LoopKind(_run_vqe, _replay_vqe, _of_vqe),
    "mis": LoopKind(_run_mis, _replay_mis, _of_mis),
    "memory": LoopKind(_run_memory, _replay_memory, _of_memory),
    "drift": LoopKind(_run_drift, _replay_drift, _of_drift),
}
