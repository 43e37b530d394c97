"""A step of a variational loop on Pasqal Cloud: our client against pasqal-cloud's own waiting.

Both keep one open batch with one parametrised sequence. A step sends values of the variables, waits
for the job and reads its counts. The stand-in takes `service_s` for each job and answers zeros, so
that a step beyond that time is client, loopback and stand-in alone. A real cloud is further away:
its network adds the same to every request of both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from benchmarks.report import Row, progress
from benchmarks.timing import seconds, turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N_SHOTS = 100
# With 0 s both find the job done at their first question, before any client waits: no machine is so
# fast, and the row only informs.
SERVICE_S = (0.05, 0.5, 0.0)
REACH = 10.0
# A turn is ten of our steps and one of theirs, which takes seconds.
_N_OURS, _N_TURNS = 10, 4


def rows(quick: bool = False) -> list[Row]:
    """Measure a step with machines of several speeds."""
    found = []
    # With 0 s pasqal-cloud does not wait either, and the results are the same.
    for service_s in SERVICE_S[-1:] if quick else SERVICE_S:
        progress(f"step of a loop on the cloud, machine time {service_s:g} s")
        with (
            _cloud(service_s) as environment,
            _ours(environment) as ours,
            _theirs(environment) as theirs,
        ):
            blocks = {
                "ours": partial(_beyond, ours, _N_OURS, service_s),
                "theirs": partial(_beyond, theirs, 1, service_s),
            }
            taken = turns(blocks, 1 if quick else _N_TURNS, warm_ups=1)
        found.append(_row(service_s, *(list(chain(*blocks)) for blocks in taken.values())))
    return found


def _row(service_s: float, ours: list[float], theirs: list[float]) -> Row:
    value, peer = statistics.median(ours), statistics.median(theirs)
    ratio = peer / value
    return Row(
        f"open-batch step beyond machine time of {service_s:g} s",
        round(1e3 * value, 2),
        "ms",
        peer=f"pasqal-cloud, wait=True: {1e3 * peer:.0f} ms",
        ratio=round(ratio, 1),
        reach=f"ratio >= {REACH:g}" if service_s else None,
        holds=ratio >= REACH if service_s else None,
        samples=tuple(round(1e3 * each, 3) for each in ours),
        note="loopback stand-in in a process of its own; median of steps"
        + ("" if service_s else "; both find the job done at once, so that nobody waits"),
    )


def _beyond(step: Callable[[int], int], n_steps: int, service_s: float) -> list[float]:
    """Time steps (s) beyond the machine's own time."""
    n_shots: list[int] = []
    times = [
        seconds(lambda k=k: n_shots.append(step(100 + k))) - service_s  # type: ignore[misc]
        for k in range(n_steps)
    ]
    assert n_shots == [N_SHOTS] * n_steps
    return times


@contextmanager
def _cloud(service_s: float) -> Iterator[dict[str, str]]:
    """Run the stand-in; gives the variables of an account there."""
    code = (
        "import sys; from cudaq_target.fakes import FakeCloud\n"
        f"with FakeCloud(engine='zeros', service_s={service_s!r}) as cloud:\n"
        "    print(cloud.url, cloud.token_url, cloud.project_id, cloud.account.username,\n"
        "          cloud.account.password, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url, token_url, project_id, username, password = process.stdout.readline().split()
        yield {
            "PASQAL_BASE_URL": url,
            "PASQAL_AUTH_ENDPOINT": token_url,
            "PASQAL_PROJECT_ID": project_id,
            "PASQAL_USERNAME": username,
            "PASQAL_PASSWORD": password,
            "PASQAL_CONFIG_ROOT": os.devnull,
        }
    finally:
        process.communicate()  # closes its standard input, which ends it


def _sequence() -> str:
    """One atom, driven for a variable time."""
    import pulser  # noqa: PLC0415

    from cudaq_target.fakes.devices import device  # noqa: PLC0415

    sequence = pulser.Sequence(pulser.Register({"q0": (0, 0)}), device("EMU_FREE"))
    sequence.declare_channel("drive", "rydberg_global")
    duration = sequence.declare_variable("duration", dtype=int)
    sequence.add(pulser.Pulse.ConstantPulse(duration, 6.0, 0.0, 0.0), "drive")
    return str(sequence.to_abstract_repr())


@contextmanager
def _ours(environment: dict[str, str]) -> Iterator[Callable[[int], int]]:
    from cudaq_target.cloud.batches import OpenBatch  # noqa: PLC0415
    from cudaq_target.cloud.credentials import access  # noqa: PLC0415
    from cudaq_target.cloud.exchange import Exchange  # noqa: PLC0415
    from cudaq_target.cloud.pace import Pace  # noqa: PLC0415
    from cudaq_target.cloud.pasqal import JobSpec, PasqalCloud  # noqa: PLC0415
    from cudaq_target.machines.counters import counter_of  # noqa: PLC0415
    from cudaq_target.machines.jobs import JobNote  # noqa: PLC0415

    given = access("EMU_FREE", environment)
    cloud = PasqalCloud(Exchange("EMU_FREE", given, timeout_s=30.0), given.project_id)
    session = OpenBatch(cloud, "EMU_FREE", builder=_sequence())

    def step(duration_ns: int) -> int:
        (job,) = session.add([JobSpec(N_SHOTS, variables={"duration": [duration_ns]})])
        pace = Pace()
        while cloud.status(job) != "DONE":
            pace.pause()
        note = JobNote(job, "EMU_FREE", "step", N_SHOTS, 1, (0,))
        return sum(counter_of(cloud.result(job) or b"", note).values())

    try:
        yield step
    finally:
        session.close()
        cloud.close()


@contextmanager
def _theirs(environment: dict[str, str]) -> Iterator[Callable[[int], int]]:
    from pasqal_cloud.device import DeviceTypeName  # noqa: PLC0415
    from pasqal_cloud.endpoints import Endpoints, TokenProviderConf  # noqa: PLC0415
    from pasqal_cloud.job import CreateJob  # noqa: PLC0415
    from pasqal_cloud.pasqal_cloud_client import PasqalCloudClient  # noqa: PLC0415

    base = environment["PASQAL_BASE_URL"]
    conf = TokenProviderConf.from_region("fr")
    conf.token_endpoint = environment["PASQAL_AUTH_ENDPOINT"]
    client = PasqalCloudClient(
        username=environment["PASQAL_USERNAME"],
        password=environment["PASQAL_PASSWORD"],
        project_id=environment["PASQAL_PROJECT_ID"],
        endpoints=Endpoints(core=f"{base}/core-fast", account=f"{base}/account"),
        auth_config=conf,
    )
    batch: Any = None

    def step(duration_ns: int) -> int:
        nonlocal batch
        job = CreateJob(runs=N_SHOTS, variables={"duration": [duration_ns]})
        if batch is None:
            batch = client.create_batch(
                _sequence(), [job], open=True, device_type=DeviceTypeName.EMU_FREE, wait=True
            )
        else:
            batch.add_jobs([job], wait=True)
        return sum(batch.ordered_jobs[-1].result.values())

    try:
        yield step
    finally:
        if batch is not None:
            batch.close()
