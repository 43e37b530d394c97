"""The fields of the quantum-advantage tracker, from a manifest.

The names are those of its issue templates (quantum-advantage-tracker.github.io, November 2026); a
field that the manifest does not know is None. Error bounds are the ends of an interval, not
distances from the value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import OptionError
from cudaq_target.manifest.words import processor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cudaq_target.manifest.model import Manifest, Result

_FIRST: Final = ("name",)
_LAST: Final = (
    "method",
    "methodProof",
    "authors",
    "institutions",
    "runtimeQuantum",
    "runtimeClassical",
    "computeResourcesQuantum",
    "computeResourcesClassical",
    "notes",
)
_BOUNDS: Final = ("errorBoundLow", "errorBoundHigh")
# Path of the tracker to its fields, in the order of its template.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "variational-problems": (
        *_FIRST, "hamiltonian", "qubits", "gates", "energy", *_BOUNDS, *_LAST
    ),
    "observable-estimations": (*_FIRST, "circuit", "observableValue", *_BOUNDS, *_LAST),
    "classically-verifiable-problems": (*_FIRST, "circuit", "value", *_LAST),
}  # fmt: skip
# Half the width of an interval, in standard errors, where there is a standard error alone.
_SIGMAS: Final = 1.959963984540054


def submission(manifest: Manifest, path: str | None = None) -> dict[str, Any]:
    """Return the fields of a submission to the tracker.

    Args:
        manifest: Of the run.
        path: One of `FIELDS`; None: "variational-problems" for an energy, else
            "observable-estimations".

    Returns:
        The path's fields, exactly these.

    Raises:
        OptionError: There is no such path.
    """
    result = manifest.result
    is_energy = result.quantity == "energy"
    chosen = path or ("variational-problems" if is_energy else "observable-estimations")
    if chosen not in FIELDS:
        raise OptionError(f"path {path!r}", "the tracker has none", f"Known: {', '.join(FIELDS)}")
    low, high, words = _bounds(result)
    problem = manifest.about.problem or _problem(manifest)
    known: dict[str, Any] = {
        "name": manifest.name,
        "hamiltonian": problem,
        "circuit": problem,
        "qubits": _n_qubits(manifest),
        "energy": result.value,
        "observableValue": result.value,
        "value": result.value,
        "errorBoundLow": low,
        "errorBoundHigh": high,
        "method": result.method,
        "methodProof": manifest.about.method_proof,
        "authors": manifest.about.authors,
        "institutions": manifest.about.institutions,
        "notes": _notes(manifest, words),
        **_resources(manifest),
    }
    return {name: known.get(name) for name in FIELDS[chosen]}


def _bounds(result: Result) -> tuple[float | None, float | None, str]:
    if result.value is None:
        return None, None, ""
    if result.interval is not None:
        level = "" if result.confidence is None else f" of {100.0 * result.confidence:g} %"
        return *result.interval, f"error bounds: ends of the interval{level}"
    if result.standard_error is not None:
        half = _SIGMAS * result.standard_error
        words = "error bounds: value ± 1.96 standard errors (95 % where errors are normal)"
        return result.value - half, result.value + half, words
    return None, None, ""


def _resources(manifest: Manifest) -> dict[str, Any]:
    """Times and machines; what an emulator does is classical."""
    total_s = manifest.seconds.get("total")
    machine_s = manifest.seconds.get("machine")
    emulated = manifest.machine["is_emulator"]
    host = processor(manifest.host)
    if emulated:
        return {
            "runtimeQuantum": None,
            "runtimeClassical": total_s,
            "computeResourcesQuantum": None,
            "computeResourcesClassical": f"{host}; emulator {manifest.machine['name']}",
        }
    classical_s = None
    if total_s is not None and machine_s is not None:
        classical_s = max(0.0, total_s - machine_s)
    device = manifest.device
    name = str(manifest.machine["name"])
    if device is not None and device["name"] != name:
        name = f"{name} ({device['name']})"
    # Whether it is a QPU was not said: nothing is claimed.
    known = emulated is False
    return {
        "runtimeQuantum": machine_s if known else None,
        "runtimeClassical": classical_s if known else None,
        "computeResourcesQuantum": name if known else None,
        "computeResourcesClassical": host,
    }


def _n_qubits(manifest: Manifest) -> int | None:
    if manifest.program is not None:
        return int(manifest.program["n_qubits"])
    figures: Mapping[str, Any] = manifest.result.figures
    found = figures.get("n_qubits", figures.get("n_vertices"))
    return None if found is None else int(found)


def _problem(manifest: Manifest) -> str | None:
    found = manifest.result.figures.get("system") or manifest.result.figures.get("graph")
    return found or (manifest.name if manifest.program is not None else None)


def _notes(manifest: Manifest, bounds: str) -> str | None:
    parts = [manifest.about.notes, bounds]
    if manifest.result.unit and manifest.result.value is not None:
        parts.append(f"unit: {manifest.result.unit}")
    if manifest.program is not None:
        parts.append(f"program sha256: {manifest.program['sha256']}")
    return "; ".join(part for part in parts if part) or None
