"""The manifest as data, its JSON, and the schema that both ends keep (`schema.json`)."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cudaq_target.errors import OptionError
from cudaq_target.manifest.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = "cudaq-target manifest"
VERSION: Final = 1
Kind: TypeAlias = Literal["gate", "analog", "loop"]
_REMEDY: Final = "Give a file that --manifest wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out.

    Attributes:
        quantity: What it is: "counts", "energy", "logical error rate", …
        value: The estimate, or None where there are counts alone.
        unit: Its unit; "" for a pure number.
        standard_error: Of the value, or None.
        interval: Lower and upper end where the value is with `confidence`, or None.
        confidence: Of the interval, or None.
        method: How the value was found, in a few words.
        counts: Bit string (qubit 0 leftmost) to number of shots, or None.
        n_used: Shots behind the value, or None.
        figures: More that was found, by name.
    """

    quantity: str
    value: float | None = None
    unit: str = ""
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    method: str | None = None
    counts: Mapping[str, int] | None = None
    n_used: int | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What no program knows about a run, for reports; None where nobody said it.

    Attributes:
        problem: Circuit or Hamiltonian, as the tracker calls it.
        authors: Separated by commas.
        institutions: Separated by commas.
        method_proof: A link, or an explanation of the method.
        notes: Anything else.
    """

    problem: str | None = None
    authors: str | None = None
    institutions: str | None = None
    method_proof: str | None = None
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One run.

    Attributes:
        kind: "gate", "analog" or "loop".
        name: Of the program or loop.
        created_at: When it began, ISO 8601, UTC.
        command: What was typed.
        source: Kernel, file and line that it was written at, or None.
        arguments: Of the kernel, or None.
        program: `format`, `text` and `sha256` of what ran, and `n_qubits`, `n_atoms`,
            `duration_ns`; None for a loop, which makes its own.
        loop: `name`, `settings`, and `record`, the file to replay, or None; None for a program.
        n_shots: Shots that were asked for; of a loop those that were measured.
        seed: Of all randomness on our side.
        options: Of the target, those in force; secrets and paths left out.
        withheld: Options that were given and are left out.
        machine: `name`, `is_emulator` (None: unknown), and what else it reports.
        device: `name`, `sha256` of its limits, or None.
        versions: Of what is installed.
        host: Of the computer that the run was started on.
        job: Scheduler and id of the job around it, or None.
        seconds: Time per phase (s): compile, run, total, and `machine`, what the machine says it
            took itself.
        estimate: What `Program.estimate` said beforehand, or None.
        result: What came out.
        events: File with the events of the loop, or None.
        about: What no program knows.
        rerun: Of what this is a repetition (`sha256`), how they agree, what differs; or None.
    """

    kind: Kind
    name: str
    created_at: str
    command: str
    source: Mapping[str, Any] | None = None
    arguments: list[Any] | None = None
    program: Mapping[str, Any] | None = None
    loop: Mapping[str, Any] | None = None
    n_shots: int | None = None
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    machine: Mapping[str, Any]
    device: Mapping[str, Any] | None = None
    versions: Mapping[str, str]
    host: Mapping[str, Any]
    job: Mapping[str, str] | None = None
    seconds: Mapping[str, float | None]
    estimate: Mapping[str, Any] | None = None
    result: Result
    events: str | None = None
    about: About = field(default_factory=About)
    rerun: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Take secrets out at once: no report and no `repr` of a manifest has them either."""
        for entry in fields(self):
            object.__setattr__(self, entry.name, _without_secrets(getattr(self, entry.name)))

    def as_data(self) -> dict[str, Any]:
        """Return plain data as it is written."""
        content: dict[str, Any] = {"format": FORMAT, "version": VERSION}
        for entry in fields(self):
            value = getattr(self, entry.name)
            content[entry.name] = asdict(value) if isinstance(value, Result | About) else value
        return content

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(self.as_data(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def write(manifest: Manifest, path: Path | str) -> None:
    """Write a manifest to a file.

    Raises:
        OptionError: The file cannot be written.
    """
    try:
        Path(path).write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, str(error.strerror)) from error


def check_place(path: Path | str | None) -> None:
    """Refuse a place for a manifest before a long run, not after it.

    Raises:
        OptionError: No file can be written there.
    """
    if path is None:
        return
    place = Path(path)
    if place.is_dir():
        raise _unwritable(path, "Is a directory")
    if not place.parent.is_dir():
        raise _unwritable(path, "No such file or directory")
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise _unwritable(path, "Permission denied")


def _unwritable(path: Path | str, reason: str) -> OptionError:
    return OptionError(
        f"manifest {str(path)!r}",
        f"the file cannot be written ({reason})",
        "Give a path in a directory that exists and is writable",
    )


def read(path: Path | str) -> Manifest:
    """Read a manifest from a file.

    Raises:
        OptionError: The file cannot be read, or is no manifest of this version.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"manifest {str(path)!r}", f"unreadable ({error})", _REMEDY) from error
    return loads(text, str(path))


def loads(text: str, place: str = "manifest") -> Manifest:
    """Read a manifest.

    Args:
        text: JSON.
        place: What to call it in an error.

    Raises:
        OptionError: It is no manifest of this version; the message names the wrong entry.
    """
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise OptionError(place, f"no JSON ({error})", _REMEDY) from error
    if not is_manifest(content):
        raise OptionError(place, "no manifest", _REMEDY)
    if content.get("version") != VERSION:
        raise OptionError(
            place,
            f"format version {content.get('version')!r} is not known, this package reads version "
            f"{VERSION}",
            "Read it with the version of cudaq-target that wrote it",
        )
    problem = find_problem(content)
    if problem is not None:
        raise OptionError(place, problem, _REMEDY)
    given = {entry.name: content[entry.name] for entry in fields(Manifest)}
    found = given["result"]
    if found["interval"] is not None:
        found["interval"] = tuple(found["interval"])
    given |= {"result": Result(**found), "about": About(**given["about"])}
    given["withheld"] = tuple(given["withheld"])
    return Manifest(**given)


def is_manifest(content: object) -> bool:
    """Whether JSON that was read calls itself a manifest."""
    return isinstance(content, dict) and content.get("format") == FORMAT


def find_problem(content: object) -> str | None:
    """Check plain data against the schema.

    Returns:
        What is wrong with which entry, or None.
    """
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - 50 ms
    from jsonschema.validators import Draft202012Validator  # noqa: PLC0415

    worst = best_match(Draft202012Validator(schema()).iter_errors(content))
    if worst is None:
        return None
    where = "/".join(map(str, worst.absolute_path)) or "the whole"
    return f"{where}: {worst.message[:200]}"


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of manifests of this version."""
    text = Path(__file__).with_name("schema.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def _without_secrets(value: Any) -> Any:  # noqa: ANN401 - a field of any kind
    if not isinstance(value, Result | About):
        return without_secrets(value)
    parts = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    return replace(value, **without_secrets(parts))


def _refuse(name: str) -> None:
    """JSON has no NaN and no infinity, though Python reads them."""
    raise ValueError(name)
