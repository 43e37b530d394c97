"""What schedulers run around a job: prologs, epilogs, starter, load sensor, and a check by hand.

No hook of Slurm fails, because that takes the node out of service and holds the job: the reason is
noted, and the job's tasks fail with it. Nothing that a job may set is believed: variables of a job
belong to its user, and these hooks run as root.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cudaq_target.site.config import HookError, Settings, load_resources, load_settings
from cudaq_target.site.requests import SQUEUE_FORMAT, sge_request, slurm_request
from cudaq_target.site.sessions import check_accessible, close_sessions, open_sessions
from cudaq_target.site.state import ERROR, Grant, JobFiles, prepared

if TYPE_CHECKING:
    from collections.abc import Callable

    from cudaq_target.site.requests import Request

_LOG: Final = logging.getLogger("cudaq_target.site")
_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/opt/slurm/bin"
# What a scheduler says of itself.
_KEPT: Final = ("SLURM_CONF", "SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT")
_JOB: Final = re.compile(r"\d+")
_UNRELEASED_KEPT_S: Final = 7 * 24 * 3600.0
_OK, _FAILED = 0, 1


def slurm_prolog(settings: Settings, job: Mapping[str, str]) -> int:
    """Open the sessions of a job, once for all its nodes; runs as root."""
    files = JobFiles(prepared(settings.state_dir), _number(job["SLURM_JOB_ID"]))
    uid = int(job["SLURM_JOB_UID"])
    try:
        words = ("squeue", "-h", "-j", files.name, "-o", SQUEUE_FORMAT)
        record = _answer(*words, timeout_s=settings.timeout_s)
    except HookError as error:  # nobody knows whether the job wants a QPU: one without it shall run
        return _refused(files, uid, error, fails=False)
    try:
        request = slurm_request(record, files.name, uid, comment=settings.comment)
    except HookError as error:
        return _refused(files, uid, error, fails=True)
    if not request.names:
        return _OK
    if not files.claim():
        files.is_settled(settings.timeout_s)
        return _OK
    files.write_grant(_opened(settings, request, files), uid)
    return _OK


def slurm_task_prolog(settings: Settings, job: Mapping[str, str]) -> int:
    """Say what a task sees; runs as the user."""
    files = JobFiles(settings.state_dir, _number(job["SLURM_JOB_ID"]))
    try:
        grant = files.read_grant()
    except HookError as error:
        grant = Grant.refused(str(error))
    if grant is None:
        return _OK
    for name, value in grant.seen_from(job).items():
        sys.stdout.write(f"export {name}={value}\n")
    if grant.fails:
        sys.stdout.write(f"print QPU: {grant.variables[ERROR]}\n")
        return _FAILED
    return _OK


def slurm_epilog(settings: Settings, job: Mapping[str, str]) -> int:
    """Close the sessions of a job, however it ended; runs as root."""
    files = JobFiles(prepared(settings.state_dir), _number(job["SLURM_JOB_ID"]))
    files.grant.unlink(missing_ok=True)
    if _closed(settings, files):
        _close_older(settings)
    return _OK


def sge_prolog(settings: Settings, job: Mapping[str, str]) -> int:
    """Open the sessions of a job and add to its environment; runs as root."""
    spool = Path(job["SGE_JOB_SPOOL_DIR"])
    task = job.get("SGE_TASK_ID", "undefined")
    whole = _number(job["JOB_ID"])
    number = whole if task == "undefined" else f"{whole}.{_number(task)}"
    try:
        record = _answer("qstat", "-xml", "-j", whole, timeout_s=settings.timeout_s)
        request = sge_request((spool / "config").read_text(encoding="utf-8"), number, record)
        if not request.names:
            return _OK
        grant = _opened(settings, request, JobFiles(spool, "qpu"))
    except HookError as error:
        _LOG.error("job %s: %s", number, error)
        grant = Grant.refused(str(error))
    path = spool / "environment"
    text = path.read_text(encoding="utf-8")
    known = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    new = "".join(f"{name}={value}\n" for name, value in grant.seen_from(known).items())
    path.chmod(0o600)  # it holds the session now
    with path.open("a", encoding="utf-8") as file:
        file.write(new)
    return _OK


def sge_starter(settings: Settings, job: Mapping[str, str]) -> int:  # noqa: ARG001
    """Start a job that has its QPU, or fail in its place; runs as the user."""
    if ERROR in job:
        sys.stderr.write(f"QPU: {job[ERROR]}\n")
        return _FAILED
    command = sys.argv[2:]
    return os.execve(shutil.which(command[0]) or command[0], command, dict(job))


def sge_epilog(settings: Settings, job: Mapping[str, str]) -> int:
    """Close the sessions of a job, however it ended; runs as root."""
    _closed(settings, JobFiles(Path(job["SGE_JOB_SPOOL_DIR"]), "qpu"))
    return _OK


def sge_load_sensor(settings: Settings, job: Mapping[str, str]) -> int:  # noqa: ARG001
    """Say whenever asked whether all resources take jobs; no when in doubt."""
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        sys.stdout.write(f"begin\nglobal:qpu_ready:{int(not _problems(settings))}\nend\n")
        sys.stdout.flush()
    return _OK


def check(settings: Settings, job: Mapping[str, str]) -> int:  # noqa: ARG001
    """Tell the operator whether files and resources are as they should be."""
    problems = _problems(settings)
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    if not problems:
        names = ", ".join(load_resources(settings.config))
        sys.stdout.write(f"accessible: {names}\n")
    return _FAILED if problems else _OK


_AS_USER: Final = ("slurm-task-prolog", "sge-starter")
ENTRIES: Final[Mapping[str, Callable[[Settings, Mapping[str, str]], int]]] = {
    "slurm-prolog": slurm_prolog,
    "slurm-task-prolog": slurm_task_prolog,
    "slurm-epilog": slurm_epilog,
    "sge-prolog": sge_prolog,
    "sge-starter": sge_starter,
    "sge-epilog": sge_epilog,
    "sge-load-sensor": sge_load_sensor,
    "check": check,
}


def main(arguments: Sequence[str], directory: Path) -> int:
    """Run one of the hooks.

    Args:
        arguments: Its name, and what it starts.
        directory: Where the operator's files are.

    Returns:
        Exit status. Around jobs it is 0 even where the hook could not do its part, and the log
        says why.
    """
    entry = ENTRIES.get(arguments[0] if arguments else "")
    if entry is None:
        sys.stderr.write(f"which hook: {', '.join(ENTRIES)}?\n")
        return 2
    _log_to_system()
    job = dict(os.environ)
    try:
        settings = load_settings(directory)
        if arguments[0] not in _AS_USER:
            _clean_environment(settings)
        return entry(settings, job)
    except HookError as error:
        _LOG.error("%s: %s", arguments[0], error)
        return _FAILED if arguments[0] == "check" else _OK
    except Exception:  # noqa: BLE001 - no hook takes a node out of service
        _LOG.exception("%s", arguments[0])
        return _OK


def _refused(files: JobFiles, uid: int, error: HookError, *, fails: bool) -> int:
    _LOG.error("job %s: %s", files.name, error)
    if files.claim():
        files.write_grant(Grant.refused(str(error), fails=fails), uid)
    return _OK


def _opened(settings: Settings, request: Request, files: JobFiles) -> Grant:
    """Open sessions and note them; what stands in the way is what the job gets to see."""
    sessions: dict[str, str] = {}
    try:
        resources = load_resources(settings.config)
        sessions = open_sessions(request, resources, settings.timeout_s)
        if sessions:
            files.write_sessions(request, sessions)
        return Grant.of(request, resources, sessions)
    except (HookError, OSError) as error:
        _LOG.error("job %s: %s", request.job_id, error)
        if sessions:
            close_sessions(request, sessions, resources, settings.timeout_s)
        return Grant.refused(str(error))


def _closed(settings: Settings, files: JobFiles) -> bool:
    """Close what a job has open; whether nothing stays so."""
    taken = files.take_sessions()
    if taken is None:
        return True
    return _close(settings, files, *taken)


def _close(
    settings: Settings, files: JobFiles, request: Request, sessions: Mapping[str, str]
) -> bool:
    resources = load_resources(settings.config)
    if close_sessions(request, sessions, resources, settings.timeout_s):
        return False
    files.forget()
    return True


def _close_older(settings: Settings) -> None:
    """Close what earlier epilogs could not."""
    for path in settings.state_dir.glob("*.unreleased"):
        files = JobFiles(settings.state_dir, path.stem)
        if time.time() - path.stat().st_mtime > _UNRELEASED_KEPT_S:
            _LOG.error("job %s: given up to close its sessions", path.stem)
            files.forget()
        elif not _close(settings, files, *files.read_unreleased()):
            return


def _problems(settings: Settings) -> list[str]:
    try:
        resources = load_resources(settings.config)
    except HookError as error:
        return [str(error)]
    problems = []
    for resource in resources.values():
        try:
            check_accessible(resource, settings.timeout_s)
        except HookError as error:
            problems.append(str(error))
    return problems


def _answer(name: str, *words: str, timeout_s: float) -> str:
    """Return what a command of the scheduler says.

    Raises:
        HookError: It is missing, fails, or does not end in time.
    """
    program = shutil.which(name)
    if program is None:
        raise HookError(f"no {name} in {os.environ['PATH']}: set PATH in qpu_hook.json")
    try:
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise HookError(f"{name} has not answered in {timeout_s:g} s") from None
    if done.returncode != 0:
        raise HookError(f"{name}: {done.stderr.strip()}")
    return done.stdout


def _number(text: str) -> str:
    if _JOB.fullmatch(text) is None:
        raise HookError(f"{text!r} is no number of a job")
    return text


def _clean_environment(settings: Settings) -> None:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update({"PATH": _SEARCH_PATH, "LC_ALL": "C.UTF-8", **kept, **settings.environment})


def _log_to_system() -> None:
    handler = logging.StreamHandler()
    handlers: list[logging.Handler] = [handler]
    if Path("/dev/log").exists():
        handlers.append(logging.handlers.SysLogHandler("/dev/log"))
    logging.basicConfig(format="qpu_hook[%(process)d]: %(message)s", handlers=handlers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(sys.argv[0]).absolute().parent))
