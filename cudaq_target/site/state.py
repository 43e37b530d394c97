"""What is kept of a job while it runs: what its tasks see, and its sessions.

Two files of a job: NAME.json belongs to its user (0400), NAME.sessions to root (0600), because
root closes what the second one says. The directory lets nobody list it (0711).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cudaq_target.site.config import HookError
from cudaq_target.site.requests import Request

if TYPE_CHECKING:
    from cudaq_target.site.config import Resource

ERROR: Final = "QRMI_PLUGIN_ERROR"
_LOOK_S: Final = 0.05


@dataclass(frozen=True)
class Grant:
    """What the tasks of a job see.

    Attributes:
        variables: These replace what the user set: lists, ids, tokens.
        defaults: These give way to what the user set.
        fails: Whether the job fails with the error among the variables; else it only sees it.
    """

    variables: Mapping[str, str]
    defaults: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False

    @classmethod
    def refused(cls, error: str, *, fails: bool = True) -> Grant:
        """Grant nothing but the reason, in one line."""
        return cls({ERROR: " ".join(error.split())}, {}, fails)

    @classmethod
    def of(
        cls, request: Request, resources: Mapping[str, Resource], sessions: Mapping[str, str]
    ) -> Grant:
        """Grant a job's resources.

        Args:
            request: What it asked for.
            resources: What there is, by name.
            sessions: What was opened, by name.
        """
        chosen = [resources[name] for name in request.names]
        lists = {
            "RESOURCES": ",".join(resource.name for resource in chosen),
            "TYPES": ",".join(resource.type for resource in chosen),
        }
        # CUDA-Q 0.16 reads the one family, QRMI the other.
        variables = {
            f"{family}_JOB_QPU_{key}": value
            for family in ("QRMI", "SLURM")
            for key, value in lists.items()
        }
        variables["QRMI_LIST_DELIMITER"] = ","
        variables["QRMI_JOB_ID"] = request.job_id
        variables["QRMI_JOB_UID"] = str(request.uid)
        defaults = {}
        for resource in chosen:
            variables[f"{resource.name}_QRMI_JOB_TIMEOUT_SECONDS"] = str(request.time_limit_s)
            if resource.name in sessions:
                token = sessions[resource.name]
                variables[f"{resource.name}_QRMI_JOB_ACQUISITION_TOKEN"] = token
            for key, value in resource.environment.items():
                defaults[f"{resource.name}_{key}"] = value
        return cls(variables, defaults)

    def seen_from(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables to set where the user has set `environment`."""
        kept = {name: value for name, value in self.defaults.items() if name not in environment}
        return {**kept, **self.variables}


@dataclass(frozen=True)
class JobFiles:
    """The files of one job.

    Attributes:
        directory: Where they are.
        name: Of the job.
    """

    directory: Path
    name: str

    @property
    def grant(self) -> Path:
        """What its tasks see."""
        return self.directory / f"{self.name}.json"

    @property
    def sessions(self) -> Path:
        """What is to be closed."""
        return self.directory / f"{self.name}.sessions"

    @property
    def unreleased(self) -> Path:
        """What could not be closed."""
        return self.directory / f"{self.name}.unreleased"

    def claim(self) -> bool:
        """Make the empty file of the grant.

        Returns:
            False where another node of the job has.
        """
        try:
            os.close(os.open(self.grant, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True

    def is_settled(self, timeout_s: float) -> bool:
        """Wait until the node that made the file has filled it (s)."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            try:
                if self.grant.stat().st_size:
                    return True
            except FileNotFoundError:
                return False  # the job has ended meanwhile
            time.sleep(_LOOK_S)
        return False

    def write_grant(self, grant: Grant, uid: int) -> None:
        """Let a user read a grant, all of it at once."""
        _write(self.grant, json.dumps(asdict(grant)), 0o400, uid)

    def read_grant(self) -> Grant | None:
        """Return the grant, or None where the job asked for no QPU.

        Raises:
            HookError: It cannot be read.
        """
        try:
            return Grant(**json.loads(self.grant.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise HookError(f"the QPU session of job {self.name} is unreadable: {error}") from None

    def write_sessions(self, request: Request, sessions: Mapping[str, str]) -> None:
        """Note what is to be closed when the job has ended."""
        _write(self.sessions, json.dumps([asdict(request), dict(sessions)]), 0o600, os.geteuid())

    def take_sessions(self) -> tuple[Request, dict[str, str]] | None:
        """Return what is to be closed, to the first that asks.

        The file goes on as `unreleased` until `forget`.
        """
        try:
            self.sessions.rename(self.unreleased)
        except FileNotFoundError:
            return None
        return self.read_unreleased()

    def read_unreleased(self) -> tuple[Request, dict[str, str]]:
        """Return what could not be closed so far."""
        request, sessions = json.loads(self.unreleased.read_text(encoding="utf-8"))
        return Request(**{**request, "names": tuple(request["names"])}), sessions

    def forget(self) -> None:
        """Remove what `take_sessions` left."""
        self.unreleased.unlink(missing_ok=True)


def prepared(directory: Path) -> Path:
    """Make the directory of all jobs where it is missing.

    Raises:
        HookError: It belongs to somebody else.
    """
    try:
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        raise HookError(f"{directory}: {error.strerror}") from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise HookError(f"{directory} may be changed by others: chown root, chmod 0711 {directory}")
    directory.chmod(0o711)
    return directory


def _write(path: Path, text: str, mode: int, uid: int) -> None:
    """Put a file in its place, whole and with its owner."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            if uid != os.geteuid():
                os.fchown(file.fileno(), uid, -1)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
