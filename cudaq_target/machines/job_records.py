"""Records of jobs: one JSON file each, for its owner's eyes only, in the user's state directory."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from cudaq_target.errors import OptionError
from cudaq_target.machines.jobs import ENDED, JobNote, JobStatus
from cudaq_target.shots import Shots, words_per_shot

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = "cudaq-target job"
VERSION: Final = 1
_SUFFIX: Final = ".json"
BESIDE: Final = (".program", ".lock", ".cancel")
"""Suffixes of the files that `job_processes` keeps beside a record."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is known of a job.

    Attributes:
        note: How to ask for it.
        created_at: When it was recorded, before it was sent; ISO 8601, UTC.
        status: Its state when it was seen last; "UNSENT" until an answer came.
        reason: Why it failed; "" otherwise.
        measured: Qubits that the program measures, or None for all bits.
        settings: Options of the target that are needed to reach the machine.
        shots: Its result, once it was fetched.
    """

    note: JobNote
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat("T", "seconds"))
    status: str = "UNSENT"
    reason: str = ""
    measured: tuple[int, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    shots: Shots | None = field(default=None, repr=False)

    @property
    def has_ended(self) -> bool:
        """Nothing changes any more."""
        return self.status in ENDED

    def seen(self, status: JobStatus, reason: str = "") -> JobRecord:
        """Return the record with another state."""
        return replace(self, status=status, reason=reason)

    def to_json(self) -> str:
        """Serialise."""
        note = self.note
        content = {
            "format": FORMAT,
            "version": VERSION,
            "id": note.id,
            "machine": note.machine,
            "program": note.program,
            "n_shots": note.n_shots,
            "n_bits": note.n_bits,
            "columns": list(note.columns),
            "place": dict(note.place),
            "created_at": self.created_at,
            "status": self.status,
            "reason": self.reason,
            "measured": None if self.measured is None else list(self.measured),
            "settings": dict(self.settings),
            "shots": None if self.shots is None else _encoded(self.shots),
        }
        return json.dumps(content, ensure_ascii=False, indent=1)

    @staticmethod
    def from_json(text: str, source: str) -> JobRecord:
        """Read what `to_json` wrote.

        Args:
            text: The record.
            source: What to call it in errors.

        Raises:
            OptionError: It is no record, or one of another version.
        """
        try:
            return _read(json.loads(text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OptionError(
                f"job {source!r}",
                f"the file is no record of a job ({error})",
                "Give a file that Job.save or `cudaq-target run --detach` wrote",
            ) from error


def directory() -> Path:
    """Return where records are kept: `cudaq-target/jobs` in the user's state directory."""
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_state_path("cudaq-target") / "jobs"


def path_of(job_id: str) -> Path:
    """Return where the record of a job is kept."""
    return directory() / f"{job_id}{_SUFFIX}"


def write(record: JobRecord, path: Path | None = None) -> Path:
    """Write a record, whole or not at all, readable for its owner alone.

    Args:
        record: The record.
        path: Where; by default with the others.

    Returns:
        Where it is.

    Raises:
        OptionError: It cannot be written there; then nothing is to be sent.
    """
    place = path_of(record.note.id) if path is None else path
    try:
        if path is None:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # `mkstemp` makes files of mode 0600.
        handle, name = tempfile.mkstemp(prefix=".job-", dir=place.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(record.to_json())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(place)
        finally:
            Path(name).unlink(missing_ok=True)  # it has its place, unless something failed
    except OSError as error:
        raise OptionError(
            f"job record {str(place)!r}",
            f"it cannot be written ({error.strerror}), so nothing was submitted or changed",
            "Make the directory writable, or set XDG_STATE_HOME to one that is",
        ) from error
    return place


def find(name: str | Path) -> Path:
    """Return the record that a path, an id, the beginning of an id, or a machine's id means.

    Raises:
        OptionError: There is none, or more than one.
    """
    given = Path(name)
    if given.is_file():
        return given
    text = str(name)
    exact = path_of(text)
    if "/" not in text and exact.is_file():
        return exact
    known = records()
    fitting = [path for path, record in known if _fits(text, record.note)]
    if len(fitting) == 1:
        return fitting[0]
    ids = ", ".join(record.note.id for _, record in known[:3])
    raise OptionError(
        f"job {text!r}",
        f"{len(fitting)} jobs have a name that begins so" if fitting else "no such job is recorded",
        f"Known, the latest first: {ids}" if ids else f"No jobs are recorded in {directory()}",
    )


def records() -> list[tuple[Path, JobRecord]]:
    """Return all records that can be read, the latest first."""
    found = []
    for path in directory().glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OptionError, OSError, UnicodeDecodeError):
            found.append((path, JobRecord.from_json(path.read_text(encoding="utf-8"), str(path))))
    return sorted(found, key=lambda entry: entry[1].created_at, reverse=True)


def read(name: str | Path) -> tuple[JobRecord, Path]:
    """Read a record; see `find`.

    Raises:
        OptionError: There is none, or it cannot be read.
    """
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"job {str(name)!r}", f"{path} cannot be read ({error})", "Make it readable"
        ) from error
    return JobRecord.from_json(text, str(path)), path


def remove(path: Path) -> None:
    """Remove a record, and what the process of its job left beside it.

    Raises:
        OptionError: It cannot be removed.
    """
    try:
        for suffix in (_SUFFIX, *BESIDE):
            path.with_suffix(suffix).unlink(missing_ok=True)
    except OSError as error:
        raise OptionError(
            f"job record {str(path)!r}",
            f"it cannot be removed ({error.strerror})",
            "Make the directory writable",
        ) from error


def _fits(text: str, note: JobNote) -> bool:
    return bool(text) and (note.id.startswith(text) or text in note.place.values())


def _read(content: Any) -> JobRecord:  # noqa: ANN401 - JSON
    if content["format"] != FORMAT or content["version"] != VERSION:
        raise ValueError("another format or version")
    note = JobNote(
        id=str(content["id"]),
        machine=str(content["machine"]),
        program=str(content["program"]),
        n_shots=int(content["n_shots"]),
        n_bits=int(content["n_bits"]),
        columns=tuple(map(int, content["columns"])),
        place={str(key): str(value) for key, value in content["place"].items()},
    )
    measured, shots = content["measured"], content["shots"]
    return JobRecord(
        note,
        created_at=str(content["created_at"]),
        status=str(content["status"]),
        reason=str(content["reason"]),
        measured=None if measured is None else tuple(map(int, measured)),
        settings=dict(content["settings"]),
        shots=None if shots is None else _decoded(cast("str", shots), note),
    )


def _encoded(shots: Shots) -> str:
    return base64.b64encode(np.ascontiguousarray(shots.packed, dtype="<u8").tobytes()).decode()


def _decoded(text: str, note: JobNote) -> Shots:
    words = np.frombuffer(base64.b64decode(text, validate=True), dtype="<u8")
    shape = (note.n_shots, words_per_shot(note.n_bits))
    return Shots(words.astype(np.uint64).reshape(shape), note.n_bits)
