"""Schedulers are started once for all tests that need them, and stopped after the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hpc.daemons import inside, munge_daemon, need
from tests.hpc.grid_engine import GridEngine, add_queue, grid_engine_cluster
from tests.hpc.slurm import Slurm, slurm_cluster
from tests.hpc.stage import RESOURCES, Stage, staged


@pytest.fixture(scope="session")
def munge() -> Iterator[None]:
    with munge_daemon():
        yield


@pytest.fixture(scope="session")
def slurm_site(munge: None) -> Iterator[tuple[Slurm, Stage]]:  # noqa: ARG001
    need("slurmctld", "slurmd")
    with staged(lambda enter: enter()) as stage, slurm_cluster(stage.hooks, RESOURCES) as cluster:
        yield cluster, stage


@pytest.fixture
def slurm(slurm_site: tuple[Slurm, Stage]) -> Iterator[Slurm]:
    yield slurm_site[0]
    slurm_site[0].cancel_all()


@pytest.fixture(scope="session")
def grid_engine_site(munge: None) -> Iterator[tuple[GridEngine, Stage]]:  # noqa: ARG001
    with (
        grid_engine_cluster() as cluster,
        # Their sockets are where the jobs are.
        staged(lambda enter: inside(cluster.namespace, enter)) as stage,
    ):
        for name, count in RESOURCES.items():
            add_queue(cluster, stage.hooks, name, f"qpu={name},qpu_slots={count}")
        # A resource that the scheduler offers and the hook does not know.
        add_queue(cluster, stage.hooks, "stale", "qpu=stale,qpu_slots=1")
        yield cluster, stage


@pytest.fixture
def grid_engine(grid_engine_site: tuple[GridEngine, Stage]) -> Iterator[GridEngine]:
    yield grid_engine_site[0]
    grid_engine_site[0].cancel_all()


@pytest.fixture
def inner_stage(grid_engine_site: tuple[GridEngine, Stage]) -> Stage:
    return grid_engine_site[1]


@pytest.fixture
def stage(slurm_site: tuple[Slurm, Stage]) -> Stage:
    return slurm_site[1]


@pytest.fixture
def account(fake_cloud, monkeypatch, tmp_path):
    """The cloud's stand-in, with the environment of somebody who has an account there."""
    from cudaq_target.machines.remote import close_all
    from tests.hpc.cloud_account import log_in

    log_in(monkeypatch, fake_cloud, tmp_path)
    yield fake_cloud
    close_all()
