"""What a job asks for, read from its scheduler."""

from __future__ import annotations

import pwd
import re
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from cudaq_target.site.config import HookError

NO_LIMIT_S: Final = 4294967295
# Number, limit, GRES per node, comment.
SQUEUE_FORMAT: Final = "%A|%l|%b|%k"


@dataclass(frozen=True)
class Request:
    """What a job asks for.

    Attributes:
        job_id: Its number; "12.3" for task 3 of an array of Grid Engine.
        uid: Whose it is.
        names: Resources, each once, in the order in which they were named.
        time_limit_s: Its time limit (s).
    """

    job_id: str
    uid: int
    names: tuple[str, ...]
    time_limit_s: int = NO_LIMIT_S


def slurm_request(record: str, job_id: str, uid: int, *, comment: bool = True) -> Request:
    """Read what a job of Slurm asks for.

    Args:
        record: What `squeue -h -o "%A|%l|%b|%k"` says: number, limit, GRES per node, comment. Each
            field is Slurm's own up to the last, so that no text of the user stands for another.
        job_id: Which of its lines.
        uid: Whose the job is.
        comment: Whether a comment may ask, too.

    Raises:
        HookError: A QPU is asked for without its name.
    """
    lines = [line.split("|", 3) for line in record.splitlines()]
    fields = next((line for line in lines if line[0] == job_id and len(line) == 4), None)
    if fields is None:
        raise HookError(f"Slurm does not know job {job_id}")
    names = []
    for part in re.split(r"[,\s]+", fields[2].replace("gres/", "gres:")):
        words = re.split(r"[:=]", part[5:] if part.startswith("gres:") else part)
        if words[0] == "qpu":
            if len(words) < 2 or words[1].isdigit():
                raise HookError("a QPU was asked for without its name: --gres=qpu:NAME")
            names.append(words[1])
    asked = re.search(r"(?:^|\s)qpu=(\S+)", fields[3]) if comment else None
    if asked is not None:
        names += [name for name in asked[1].split(",") if name]
    return Request(job_id, uid, tuple(dict.fromkeys(names)), slurm_seconds(fields[1]))


def slurm_seconds(limit: str) -> int:
    """Return a time limit of Slurm, D-HH:MM:SS or part of it, in s."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", limit)
    if found is None:
        return NO_LIMIT_S
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((24 * days + hours) * 60 + minutes) * 60 + seconds


def sge_request(config: str, job_id: str, record: str) -> Request:
    """Read what a job of Grid Engine asks for.

    Args:
        config: The file `config` of its spool directory, which says whose it is.
        job_id: Its number, with that of its task.
        record: What `qstat -xml -j` says. In XML no text of the user stands for a field.

    Raises:
        HookError: The record is not Grid Engine's.
    """
    fields = dict(line.split("=", 1) for line in config.splitlines() if "=" in line)
    try:
        root = ElementTree.fromstring(record)
    except ElementTree.ParseError as error:
        raise HookError(f"qstat: {error}") from None
    asked = {
        entry.findtext("CE_name", ""): entry.findtext("CE_stringval", "")
        for entry in root.iterfind(".//JB_hard_resource_list/*")
    }
    names = tuple(dict.fromkeys(name for name in asked.get("qpu", "").split("+") if name))
    limit = asked.get("h_rt", "")
    return Request(job_id, pwd.getpwnam(fields["job_owner"]).pw_uid, names, slurm_seconds(limit))
