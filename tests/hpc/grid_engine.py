"""A Grid Engine of one node in a network namespace, from Debian's packages, with our hooks."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.hpc.daemons import (
    SEARCH_PATH,
    as_user,
    call,
    end_all_with,
    need,
    network_namespace,
    running,
    shared_directory,
    until,
)

ADMIN = "sgeadmin"
_PACKAGE = Path("/usr/share/gridengine")
_LIBRARY = Path("/var/lib/gridengine")

_COMPLEXES = """\
qpu qpu STRING == YES NO NONE 1000
qpu_slots qpu_slots INT <= YES JOB 0 0
qpu_ready qpu_ready INT <= YES NO 0 0
"""
_HOST = """\
hostname {host}
load_scaling NONE
complex_values NONE
user_lists NONE
xuser_lists NONE
projects NONE
xprojects NONE
usage_scaling NONE
report_variables NONE
"""
_QUEUE_LINES = """\
qname {name}.q
hostlist {host}
seq_no 0
nsuspend 1
suspend_interval 00:05:00
min_cpu_interval 00:05:00
priority 0
processors UNDEFINED
qtype BATCH INTERACTIVE
rerun FALSE
slots 4
tmpdir /tmp
shell /bin/bash
shell_start_mode posix_compliant
prolog root@{hooks}/sge_prolog
epilog root@{hooks}/sge_epilog
starter_method {hooks}/sge_starter
notify 00:00:60
initial_state default
complex_values {values}
"""
_NONE = (
    *("load_thresholds", "suspend_thresholds", "ckpt_list", "pe_list", "owner_list", "user_lists"),
    *("suspend_method", "resume_method", "terminate_method", "xuser_lists", "subordinate_list"),
    *("projects", "xprojects", "calendar"),
)
_LIMITS = ["rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem"]


@dataclass(frozen=True)
class GridEngine:
    """A running Grid Engine.

    Attributes:
        state: Its directory.
        work: Where jobs write; any user may.
        namespace: The network namespace in which it is, and its services must be.
        environment: Variables of its commands.
    """

    state: Path
    work: Path
    namespace: Path
    environment: Mapping[str, str]

    def command(self, *words: str | Path, user: str = "root") -> str:
        """Run one of its commands."""
        return call(*self._enter(user), *words, env=self.environment, cwd=self.work)

    def submit(self, script: str, *options: str, user: str = "root") -> str:
        """Submit a script; its output goes to JOB.TASK.out.

        Returns:
            The number of the job.
        """
        path = self.work / f"script{abs(hash(script)):x}.sh"
        path.write_text(script)
        path.chmod(0o644)
        output = f"{self.work}/$JOB_ID.$TASK_ID.out"
        usual = ("qsub", "-terse", "-j", "y", "-S", "/bin/bash", "-wd", self.work, "-o", output)
        return self.command(*usual, *options, path, user=user).strip().partition(".")[0]

    def ended(self, job: str) -> list[int]:
        """Wait for a job with all its tasks; returns their exit statuses."""
        until(lambda: not self._asked("qstat", "-j", job)[0], f"job {job} ends")
        record = until(lambda: self._accounted(job), f"job {job} is accounted")
        return [int(status) for status in re.findall(r"^exit_status +(\d+)", record, re.MULTILINE)]

    def runs(self, job: str) -> None:
        """Wait until a job has started."""
        until(lambda: re.search(rf"^ *{job} .* r ", self._listed(), re.MULTILINE), f"{job} runs")

    def waits(self, job: str) -> str:
        """Why a job waits."""
        return self._asked("qstat", "-j", job)[1]

    def output(self, job: str, task: str = "0") -> str:
        """What a job has written."""
        path = self.work / f"{job}.{task}.out"
        return path.read_text() if path.exists() else ""

    def queue_states(self) -> list[str]:
        """State of each queue: empty where it is in service."""
        lines = [line for line in self._asked("qstat", "-f")[1].splitlines() if ".q@" in line]
        return [" ".join(line.split()[5:]) for line in lines]

    def cancel_all(self) -> None:
        """No job outlives this."""
        if self._listed().strip():
            self._asked("qdel", "-f", "-u", "*")
            until(lambda: not self._listed().strip(), "all jobs are deleted")

    def _listed(self) -> str:
        return self._asked("qstat", "-u", "*")[1]

    def _accounted(self, job: str) -> str:
        is_known, text = self._asked("qacct", "-j", job)
        return text if is_known else ""

    def _asked(self, *words: str) -> tuple[bool, str]:
        done = subprocess.run(
            [*self._enter("root"), *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0, done.stdout

    def _enter(self, user: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace.name, *as_user(user)]


@contextmanager
def grid_engine_cluster() -> Iterator[GridEngine]:
    """Start Grid Engine without queues, and stop it."""
    need("sge_qmaster", "sge_execd", "qsub", "ip", "munged", "setpriv")
    host = socket.gethostname().partition(".")[0]
    with ExitStack() as stack:
        namespace = stack.enter_context(network_namespace(f"cudaq-target-{os.getpid()}", host))
        state = stack.enter_context(shared_directory())
        environment = {
            **os.environ,
            "PATH": SEARCH_PATH,
            "SGE_ROOT": str(state / "root"),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": "6444",
            "SGE_EXECD_PORT": "6445",
            "SGE_ND": "1",  # stay in the foreground
        }
        work = state / "work"
        cluster = GridEngine(state, work, namespace, environment)
        _make_cell(state, host, environment)
        work.mkdir()
        work.chmod(0o1777)
        stack.callback(end_all_with, f"SGE_ROOT={state / 'root'}")
        log = state / "out"
        inside = ["ip", "netns", "exec", namespace.name]
        master = [*inside, *as_user(ADMIN), "sge_qmaster"]
        # It would take 9 s to write down what is thrown away.
        stack.enter_context(running(master, log, environment, patience_s=1.0))
        until(lambda: cluster._asked("qconf", "-sh")[0], "sge_qmaster answers")
        _configure(cluster, host)
        stack.enter_context(running([*inside, "sge_execd"], log, environment))
        try:
            yield cluster
        finally:
            cluster.cancel_all()


def add_queue(cluster: GridEngine, hooks: Path, name: str, values: str) -> None:
    """Add a queue and wait until it takes jobs.

    Args:
        cluster: Where.
        hooks: Where the hooks are installed.
        name: Of the queue, which gets the ending ".q".
        values: What it offers, for example "qpu=fresnel1,qpu_slots=1".
    """
    host = socket.gethostname().partition(".")[0]
    lines = [_QUEUE_LINES.format(name=name, host=host, hooks=hooks, values=values)]
    lines += [f"{field} NONE\n" for field in _NONE]
    lines += [f"{kind}_{limit} INFINITY\n" for limit in _LIMITS for kind in "sh"]
    cluster.command("qconf", "-Aq", _file(cluster, f"{name}.q", "".join(lines)))
    until(lambda: not any(cluster.queue_states()), "queues are in service")


def _make_cell(state: Path, host: str, environment: Mapping[str, str]) -> None:
    """A cell of our own, with the package's script; the package's own stays as it is."""
    root, spool = state / "root", state / "spool"
    common = root / "default" / "common"
    for folder in (common, spool / "qmaster" / "job_scripts", spool / "db", spool / "execd"):
        folder.mkdir(parents=True)
    for name in ("bin", "lib", "util", "utilbin"):
        (root / name).symlink_to((_LIBRARY / name).resolve())
    bootstrap = (_PACKAGE / "default-bootstrap").read_text()
    bootstrap = re.sub(r"(?m)^(spooling_params +).*", rf"\g<1>{spool}/db", bootstrap)
    bootstrap = re.sub(r"(?m)^(qmaster_spool_dir +).*", rf"\g<1>{spool}/qmaster", bootstrap)
    (common / "bootstrap").write_text(bootstrap)
    (common / "act_qmaster").write_text(f"{host}\n")
    for path in (state, *state.rglob("*")):
        if not path.is_symlink():
            shutil.chown(path, ADMIN, ADMIN)
    script = _PACKAGE / "scripts" / "init_cluster"
    call(*as_user(ADMIN), script, root, "default", spool / "db", ADMIN, env=environment)


def _configure(cluster: GridEngine, host: str) -> None:
    for option, value in (("-ah", host), ("-as", host)):
        cluster.command("qconf", option, value, user=ADMIN)
    complexes = cluster.command("qconf", "-sc") + _COMPLEXES
    cluster.command("qconf", "-Mc", _file(cluster, "complexes", complexes))
    cluster.command("qconf", "-Ae", _file(cluster, "host", _HOST.format(host=host)))
    scheduler = _changed(
        cluster.command("qconf", "-ssconf"),
        schedule_interval="0:0:1",
        flush_submit_sec="1",
        flush_finish_sec="1",
        schedd_job_info="true",
    )
    cluster.command("qconf", "-Msconf", _file(cluster, "scheduler", scheduler))
    usual = cluster.command("qconf", "-sconf")
    configuration = _changed(
        usual,
        execd_spool_dir=str(cluster.state / "spool" / "execd"),
        min_uid="0",
        min_gid="0",
        reporting_params="accounting=true reporting=false accounting_flush_time=00:00:00",
        load_report_time="00:00:02",
    )
    cluster.command("qconf", "-Mconf", _file(cluster, "global", configuration))


def _changed(text: str, **values: str) -> str:
    """Replace fields of a configuration, whose long lines go on after a backslash."""
    text = re.sub(r"\\\n\s*", "", text)
    for name, value in values.items():
        text, n_changed = re.subn(rf"(?m)^{name}\b.*$", f"{name} {value}", text)
        assert n_changed == 1, name
    return re.sub(r"(?m)^#.*\n", "", text)


def _file(cluster: GridEngine, name: str, text: str) -> Path:
    path = cluster.state / "files" / name
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(text)
    path.chmod(0o644)
    return path
