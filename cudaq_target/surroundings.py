"""What `cudaq-target doctor` finds around this package: memory, links, schedulers, accounts."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cudaq_target.findings import Finding, guarded

_MIB: Final = 1 << 20
# What a segment of a link with long queues needs, and the socket buffer that links over UDP want.
_SHARED_MIB: Final = 16
_UDP_BYTES: Final = 4 * _MIB
_CAP_SYS_NICE: Final = 23  # capabilities(7)
# A variable of the scheduler's own, and the one with the job's number.
_SCHEDULERS: Final = {
    "Slurm": ("SLURM_JOB_ID", "SLURM_JOB_ID"),
    "Grid Engine": ("SGE_TASK_ID", "JOB_ID"),
}
_ASKS: Final = {
    "Slurm": "sbatch --gres=qpu:NAME JOB.sh",
    "Grid Engine": "qsub -l qpu=NAME,qpu_slots=1 JOB.sh",
}
_LOGINS: Final = {
    "token": "a token",
    "client_secret": "a service account",
    "password": "a user name and password",
}
# Any device of the cloud: entries of a file of credentials may be for one device alone.
_CLOUD_DEVICE: Final = "EMU_FREE"


def examine() -> tuple[Finding, ...]:
    """Look at what is outside of this package, sending nothing to anybody."""
    return (
        shared_memory(),
        sockets(),
        real_time(),
        guarded("QPU of the job", scheduler),
        guarded("Pasqal Cloud", account),
        guarded("jobs", job_records),
        telemetry(),
        compiled_loops(),
        import_time(),
    )


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Look whether links over `shm://` have room; containers often give 64 MB."""
    name, gives = "shared memory", "links over shm://"
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return Finding(name, "off", f"{folder} is not writable; needed for {gives}", "Use ipc://")
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / _MIB:.0f} of {usage.total / _MIB:.0f} MiB free in {folder}"
    if usage.free < _SHARED_MIB * _MIB:
        remedy = f"Remove what is left in {folder}, or start the container with --shm-size=256m"
        return Finding(name, "off", f"{found}; {gives} want {_SHARED_MIB} MiB", remedy)
    return Finding(name, "ok", found)


def sockets(limits: Path = Path("/proc/sys/net/core")) -> Finding:
    """Look whether links over sockets work on this machine, and how much UDP may queue."""
    name = "local ports"
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as one:
                one.bind(("127.0.0.1", 0))
    except OSError as error:
        reason = f"127.0.0.1 gives no port ({error.strerror})"
        return Finding(
            name, "off", f"{reason}; needed for tcp:// and udp://", "Use ipc:// or shm://"
        )
    limit = limits / "rmem_max"
    if limit.is_file() and (n_bytes := int(limit.read_text())) < _UDP_BYTES:
        found = (
            f"tcp:// and udp:// work; UDP queues {n_bytes / _MIB:.1f} MiB of {_UDP_BYTES // _MIB}"
        )
        return Finding(name, "ok", f"{found} (sysctl net.core.rmem_max={_UDP_BYTES} for bursts)")
    return Finding(name, "ok", "tcp:// and udp:// work")


def real_time() -> Finding:
    """Look what deadlines can count on: cores, and priority over everything else."""
    name = "real time"
    n_cores = len(_cores())
    isolated = _text(Path("/sys/devices/system/cpu/isolated"))
    found = f"{n_cores} cores" + (f", {isolated} kept free by the kernel" if isolated else "")
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] if sys.platform == "linux" else 0
    if limit == 0 and not _may_raise_priority():
        return Finding(
            name,
            "off",
            f"{found}, no real-time priority (rtprio 0): deadlines are missed under load",
            f"echo '{_user()} - rtprio 99' | sudo tee /etc/security/limits.d/90-rtprio.conf, and "
            "log in again; in a container --cap-add=SYS_NICE",
        )
    if n_cores < 2:
        return Finding(
            name, "off", f"{found}: server and caller take turns", "Give it two cores or more"
        )
    return Finding(name, "ok", f"{found}, real-time priorities are allowed")


def scheduler() -> Finding:
    """Look for the QPU that a scheduler gave to this job, as its environment says."""
    from cudaq_target.cloud import environment  # noqa: PLC0415

    job = _job()
    names = environment.names()
    if not names:
        return Finding(
            "QPU of the job",
            "off",
            f"{job or 'no job of a scheduler'}: no QPU is given, the emulator here is used",
            f"{_ASKS.get(job.partition(' job')[0], ' or '.join(_ASKS.values()))}, where the site "
            "has the hook of `cudaq-target site`",
        )
    listed = [environment.resource(f"{environment.MACHINE}:{name}") for name in names]
    found = ", ".join(f"{one.machine} ({one.type})" for one in listed)
    if find_spec("qrmi") is None:
        return Finding(
            "QPU of the job", "problem", f"{found}, but no qrmi", "pip install 'cudaq-target[qrmi]'"
        )
    return Finding("QPU of the job", "ok", f"{job or 'no scheduler'}: {found}")


def account() -> Finding:
    """Say how one would log in to Pasqal Cloud; nothing of it is shown or sent."""
    from cudaq_target.cloud.credentials import access  # noqa: PLC0415
    from cudaq_target.cloud.errors import CredentialsError  # noqa: PLC0415

    try:
        found = access(_CLOUD_DEVICE)
    except CredentialsError as error:
        return Finding("Pasqal Cloud", "off", error.reason, error.remedy)
    login = next(text for key, text in _LOGINS.items() if getattr(found, key))
    return Finding("Pasqal Cloud", "ok", f"project and {login} are set, and were not tried")


def job_records() -> Finding:
    """Look where records of jobs go."""
    from cudaq_target.machines.job_records import directory  # noqa: PLC0415

    folder = directory()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        return Finding(
            "jobs",
            "off",
            f"{there} is not writable, so nothing can be submitted",
            "Set XDG_STATE_HOME to a writable directory",
        )
    n_records = sum(1 for _ in folder.glob("*.json"))
    return Finding("jobs", "ok", f"{n_records} records in {folder}")


def telemetry() -> Finding:
    """Say which metrics and traces are on."""
    variables = ("PASQAL_METRICS_PORT", "PASQAL_METRICS_FILE", "PASQAL_TRACES")
    given = [f"{name}={os.environ[name]}" for name in variables if os.environ.get(name)]
    port = os.environ.get("PASQAL_METRICS_PORT", "")
    if port.isdigit() and not _is_free(int(port)):
        return Finding(
            "telemetry",
            "off",
            f"port {port} of 127.0.0.1 is taken (PASQAL_METRICS_PORT): a run here has no metrics",
            "export PASQAL_METRICS_PORT=0 for any free one; `ss -ltnp` says who has it",
        )
    if given:
        return Finding("telemetry", "ok", ", ".join(given))
    remedy = "Set PASQAL_METRICS_PORT or PASQAL_METRICS_FILE for metrics, PASQAL_TRACES for traces"
    return Finding("telemetry", "off", "no metrics, no traces", remedy)


def compiled_loops() -> Finding:
    """Look for compiled loops, without which the first program waits for the compiler."""
    name, folder = "compiled loops", Path(__file__).parent
    place = os.environ.get("NUMBA_CACHE_DIR")
    found = sum(1 for _ in Path(place or folder).rglob("*.nbi"))
    if found:
        return Finding(name, "ok", f"{found} in {place or folder}")
    if place is None and not os.access(folder, os.W_OK):
        return Finding(name, "ok", f"kept in the user's cache, {folder} is not writable")
    return Finding(
        name,
        "off",
        "none yet: the first program compiles them (some seconds)",
        "cudaq-target warm-up",
    )


def import_time() -> Finding:
    """Measure `import cudaq_target` in a fresh interpreter, its own modules alone."""
    command = [sys.executable, "-X", "importtime", "-c", "import cudaq_target"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()]
    own_us = [int(own) for own, *_, name in lines if name.strip().startswith("cudaq_target")]
    if done.returncode or not own_us:
        return Finding("import", "problem", f"fails: {done.stderr[-200:]}", "Install it again")
    return Finding("import", "ok", f"{1e-3 * sum(own_us):.1f} ms beyond the standard library")


def _job() -> str:
    """Name the job that this process belongs to; empty outside of jobs."""
    for scheduler_name, (mark, number) in _SCHEDULERS.items():
        if mark in os.environ:
            return f"{scheduler_name} job {os.environ.get(number, '?')}"
    return ""


def _is_free(port: int) -> bool:
    """Whether a server could listen there; a number that is no port is for others to refuse."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
    except OSError:
        return False
    except OverflowError:
        return True
    return True


def _user() -> str:
    import getpass  # noqa: PLC0415

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return "USER"


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _may_raise_priority() -> bool:
    lines = _text(Path("/proc/self/status")).splitlines()
    masks = [line.split()[1] for line in lines if line.startswith("CapEff:")]
    return bool(masks) and bool(int(masks[0], 16) >> _CAP_SYS_NICE & 1)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
