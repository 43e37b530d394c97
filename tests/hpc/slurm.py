"""A Slurm of one node on 127.0.0.1, from Debian's packages, with this project's hooks."""

from __future__ import annotations

import os
import re
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
    free_port,
    need,
    running,
    shared_directory,
    until,
)

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")

_CONFIGURATION = """\
ClusterName=qpu-dev
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoAddrCache,NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/spool-%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
JobAcctGatherType=jobacct_gather/none
InactiveLimit=0
KillWait=2
MinJobAge=600
SlurmdParameters=config_overrides
GresTypes=qpu
NodeName=c1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=4 RealMemory=4000 \
Gres={gres} State=UNKNOWN
PartitionName=quantum Nodes=c1 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PrologFlags=Alloc
Prolog={hooks}/slurm_prolog
TaskProlog={hooks}/slurm_task_prolog
Epilog={hooks}/slurm_epilog
"""


@dataclass(frozen=True)
class Slurm:
    """A running Slurm.

    Attributes:
        state: Its directory.
        work: Where jobs write; any user may.
        environment: Variables of its commands.
    """

    state: Path
    work: Path
    environment: Mapping[str, str]

    def submit(self, script: str, *options: str, user: str = "root", **variables: str) -> str:
        """Submit a script; its output goes to JOB.out, of arrays to JOB_TASK.out.

        Returns:
            The number of the job.
        """
        pattern = "%A_%a.out" if any("--array" in option for option in options) else "%j.out"
        command = [*as_user(user), "sbatch", "--parsable", f"--output={self.work / pattern}"]
        return call(
            *command,
            *options,
            self._script(script),
            cwd=self.work,
            env={**self.environment, **variables},
        ).strip()

    def command(self, *words: str) -> str:
        """Run one of Slurm's commands as root."""
        return call(*words, env=self.environment)

    def records(self, job: str) -> list[dict[str, str]]:
        """What Slurm says of a job, or of each task of an array."""
        lines = self.command("scontrol", "-o", "show", "job", job).splitlines()
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines if "JobId=" in line]

    def ended(self, job: str) -> list[str]:
        """Wait for a job with all its tasks; returns their states."""

        def states() -> list[str]:
            found = [record["JobState"] for record in self.records(job)]
            return found if all(state in ENDED for state in found) else []

        return until(states, f"job {job} ends")

    def runs(self, job: str) -> None:
        """Wait until a job has started."""
        until(
            lambda: all(record["JobState"] == "RUNNING" for record in self.records(job)),
            f"job {job} runs",
        )

    def output(self, job: str) -> str:
        """What a job has written."""
        path = self.work / f"{job}.out"
        return path.read_text() if path.exists() else ""

    def node_state(self) -> str:
        """State of the node, when its epilogs are done."""

        def settled() -> str:
            state = self.command("sinfo", "-h", "-o", "%t").strip()
            return "" if state.startswith("comp") else state

        return until(settled, "the node is settled")

    def cancel_all(self) -> None:
        """No job, and no step of one, outlives this."""
        jobs = self.command("squeue", "-h", "-o", "%A").split()
        if jobs:
            self.command("scancel", *jobs)
            until(lambda: not self.command("squeue", "-h").strip(), "all jobs are cancelled")

    def _script(self, text: str) -> Path:
        path = self.work / f"script{abs(hash(text)):x}.sh"
        path.write_text(text)
        path.chmod(0o644)
        return path


@contextmanager
def slurm_cluster(hooks: Path, resources: Mapping[str, int]) -> Iterator[Slurm]:
    """Start Slurm, and stop it.

    Args:
        hooks: Where the hooks are installed.
        resources: How many jobs may have each at a time, by name.
    """
    need("slurmctld", "slurmd", "munged")
    with ExitStack() as stack:
        state = stack.enter_context(shared_directory())
        work = state / "work"
        work.mkdir()
        work.chmod(0o1777)
        configuration = _write_configuration(state, hooks, resources)
        environment = {**os.environ, "PATH": SEARCH_PATH, "SLURM_CONF": str(configuration)}
        cluster = Slurm(state, work, environment)
        stack.callback(end_all_with, f"SLURM_CONF={configuration}")
        log = state / "out"
        stack.enter_context(
            running(["slurmctld", "-D", "-c", "-f", configuration], log, environment)
        )
        stack.enter_context(
            running(["slurmd", "-D", "-N", "c1", "-f", configuration], log, environment)
        )
        until(lambda: _sees_idle_node(environment), "Slurm is up")
        try:
            yield cluster
        finally:
            cluster.cancel_all()


def _write_configuration(state: Path, hooks: Path, resources: Mapping[str, int]) -> Path:
    path = state / "slurm.conf"
    gres = ",".join(f"qpu:{name}:{count}" for name, count in resources.items())
    path.write_text(
        _CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            controller_port=free_port(),
            node_port=free_port(),
            state=state,
            hooks=hooks,
            gres=gres,
        )
    )
    lines = [f"NodeName=c1 Name=qpu Type={name} Count={n}\n" for name, n in resources.items()]
    (state / "gres.conf").write_text("".join(lines))
    return path


def _sees_idle_node(environment: Mapping[str, str]) -> bool:
    done = subprocess.run(
        ["sinfo", "-h", "-o", "%t"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() == "idle"
