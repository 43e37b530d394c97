from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.errors import OptionError
from cudaq_target.sweep import PointError, array_share, outcomes, seed_of, sweep
from tests.hpc import sweep_functions as functions


def local_cluster(n_workers: int):
    """A scheduler on loopback, with workers in threads; no port is chosen twice."""
    distributed = pytest.importorskip("distributed")
    return distributed.LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    )


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(0) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster):
    """A client of two workers, of which the second one holds the QPU."""
    from distributed import Client, Nanny

    async def worker(**more):
        return await Nanny(cluster.scheduler_address, nthreads=1, host="127.0.0.1", **more)

    with Client(cluster, set_as_default=False) as made:
        workers = [
            made.sync(worker, name="plain"),
            made.sync(worker, name="qpu", resources={"qpu": 1}),
        ]
        made.wait_for_workers(2, timeout=120)
        yield made

        async def end():
            for nanny in workers:
                await nanny.close()

        made.sync(end)


def test_processes_keep_order_and_seeds():
    points = list(range(7))
    found = sweep(functions.drawn, points, workers=2, seed=5)
    assert found == [functions.drawn(k, seed=seed_of(5, k)) for k in points]
    with ThreadPoolExecutor(3) as pool:
        assert sweep(functions.drawn, points, executor=pool, seed=5) == found
    assert found[:3] == sweep(functions.drawn, points[:3], executor=ThreadPoolExecutor(1), seed=5)


def test_an_empty_sweep():
    assert sweep(functions.squared, [], workers=1) == []
    assert list(outcomes(functions.squared, iter(()), workers=1)) == []


def test_the_first_error_names_its_point_and_ends_the_sweep():
    with pytest.raises(PointError) as caught:
        sweep(functions.fails_at_three, range(6), workers=1)
    error = caught.value
    assert (error.index, error.point, error.n_done, error.n_points) == (3, "3", 3, 6)
    assert error.failure.kind == "UnpicklableError"
    assert "point 3 (3): UnpicklableError: 3 and 2. 3 of 6 points were done" in str(error)
    assert "fails_at_three" in error.failure.trace


def test_outcomes_go_on_past_errors():
    found = {one.index: one for one in outcomes(functions.fails_at_three, range(6), workers=2)}
    assert sorted(found) == list(range(6))
    assert [one.failure is None for _, one in sorted(found.items())] == [True] * 3 + [False] + [
        True
    ] * 2
    assert found[5].value == 5
    assert found[3].value is None


def test_who_stops_early_cancels_the_rest():
    begun = []
    gate = threading.Event()

    def waits(point: int) -> int:
        begun.append(point)
        assert point == 0 or gate.wait(60)
        return point

    with ThreadPoolExecutor(1) as pool:
        found = outcomes(waits, range(50), executor=pool)
        assert next(found).index == 0
        found.close()
        gate.set()
    assert len(begun) <= 2


def test_a_worker_that_dies_is_an_error_and_no_hang():
    with pytest.raises(PointError, match="a worker process ended"):
        sweep(functions.dies_at_three, range(40), workers=1)
    found = list(outcomes(functions.dies_at_three, range(5), workers=1))
    assert len(found) == 5
    assert {one.failure.kind for one in found if one.failure} == {"BrokenProcessPool"}


def test_a_function_that_cannot_be_sent_is_an_error_and_no_hang():
    with pytest.raises(PointError, match=r"point 0 .*by pickle, so define the function at the top"):
        sweep(lambda point: point, [1, 2], workers=1)


def test_points_that_need_the_qpu_go_to_one_process():
    found = list(outcomes(functions.process_of, range(8), workers=2, needs_qpu=functions.is_even))
    there = {one.value for one in found if one.index % 2 == 0}
    elsewhere = {one.value for one in found if one.index % 2}
    assert len(there) == 1
    assert not there & elsewhere
    assert os.getpid() not in there | elsewhere


def test_progress(capsys):
    with ThreadPoolExecutor(1) as pool:
        list(outcomes(functions.fails_at_three, range(4), executor=pool, progress=True))
        sweep(functions.squared, [1], executor=pool, progress=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.split("\r")[-1] == "sweep: 4 of 4 points, 1 failed\n"


@pytest.mark.parametrize(
    ("given_", "what"),
    [
        ({"workers": 0}, "workers 0: not allowed"),
        ({"seed": -1}, "seed -1: not allowed"),
        ({"executor": ThreadPoolExecutor(1), "workers": 2}, "the executor has its own"),
        ({"executor": ThreadPoolExecutor(1), "needs_qpu": bool}, "Give qpu_executor="),
        ({"qpu_executor": ThreadPoolExecutor(1)}, "Give needs_qpu= as well"),
        ({"executor": 5}, "int: it is no executor"),
    ],
)
def test_arguments_that_make_no_sense(given_, what):
    with pytest.raises(OptionError, match=what):
        sweep(functions.squared, [1], **given_)


def test_dask(client, cluster):
    found = sweep(functions.drawn, range(6), executor=client, seed=5)
    assert found == [functions.drawn(k, seed=seed_of(5, k)) for k in range(6)]
    assert sweep(functions.squared, [2, 3], executor=cluster) == [4, 9]
    with pytest.raises(PointError, match=r"point 3 \(3\): UnpicklableError: 3 and 2"):
        sweep(functions.fails_at_three, range(6), executor=client)


def test_dask_worker_that_holds_the_qpu(client):
    found = list(
        outcomes(functions.process_of, range(8), executor=client, needs_qpu=functions.is_even)
    )
    assert not [one.failure for one in found if one.failure]
    processes = client.run(os.getpid)
    names = {
        worker["name"]: address for address, worker in client.scheduler_info(-1)["workers"].items()
    }
    assert {one.value for one in found if one.index % 2 == 0} == {processes[names["qpu"]]}


def test_dask_without_a_worker_that_holds_the_qpu():
    with (
        local_cluster(1) as made,
        pytest.raises(OptionError, match="none of the 1 dask workers offers"),
    ):
        sweep(functions.squared, [1], executor=made, needs_qpu=functions.is_even)


@given(st.integers(0, 2**40), st.sets(st.integers(0, 10**6), min_size=2, max_size=20))
def test_seeds_are_seeds_and_differ(seed, indices):
    seeds = {seed_of(seed, index) for index in indices}
    assert len(seeds) == len(indices)
    assert all(0 < one < 2**63 for one in seeds)


@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 5), st.integers(1, 3), st.booleans())
def test_shares_of_an_array_add_up(n_tasks, n_points, first, step, is_slurm):
    words = ("TASK_ID", "TASK_MIN", "TASK_MAX", "TASK_STEP")
    if not is_slurm:
        first += 1
        words = ("TASK_ID", "TASK_FIRST", "TASK_LAST", "TASK_STEPSIZE")
    prefix = "SLURM_ARRAY_" if is_slurm else "SGE_"
    last = first + (n_tasks - 1) * step
    done = []
    for task in range(first, last + 1, step):
        numbers = map(str, (task, first, last, step))
        environ = {prefix + word: number for word, number in zip(words, numbers, strict=True)}
        done += array_share(range(100, 100 + n_points), 3, environ)
    assert sorted(done) == [(k, 100 + k, seed_of(3, k)) for k in range(n_points)]


def test_outside_of_an_array_the_share_is_everything():
    assert array_share("ab", environ={"SGE_TASK_ID": "undefined"}) == [
        (0, "a", None),
        (1, "b", None),
    ]
    with pytest.raises(OptionError, match="SLURM_ARRAY_TASK_ID=3, SLURM_ARRAY_TASK_MIN=None"):
        array_share("ab", environ={"SLURM_ARRAY_TASK_ID": "3"})


def test_the_recipe_of_a_job_array(tmp_path, monkeypatch):
    from examples import sweep_array

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, number in {"SGE_TASK_FIRST": 1, "SGE_TASK_LAST": 2, "SGE_TASK_STEPSIZE": 1}.items():
        monkeypatch.setenv(name, str(number))
    monkeypatch.setenv("SGE_TASK_ID", "1")
    sweep_array.main()
    with pytest.raises(SystemExit, match=r"points \[1, 3, 5\] are missing"):
        sweep_array.collect()
    monkeypatch.setenv("SGE_TASK_ID", "2")
    sweep_array.main()
    rows = sweep_array.collect()
    assert [row["distance_um"] for row in rows] == sweep_array.DISTANCES_UM
    # Blockade below, two free pulses of area pi above.
    assert rows[0]["excited_together"] < 0.05
    assert rows[-1]["excited_together"] > 0.5
