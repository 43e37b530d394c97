"""Sweeps: one function at many points, on processes of this machine or on the nodes of a cluster.

The engine is any `concurrent.futures.Executor`, or what dask calls a client or a cluster; nothing
here schedules. A QPU session is held by one worker: points that need the QPU go to `qpu_executor`,
everything else to `executor`.

>>> from concurrent.futures import ThreadPoolExecutor
>>> with ThreadPoolExecutor(2) as pool:
...     sweep(abs, [-3, 4, -5], executor=pool)
[3, 4, 5]

Each point has a seed of its own that depends on the sweep's seed and on the point's index alone, so
that results are the same on one process, on many nodes, and in a job array (`array_share`).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast

import numpy as np

from cudaq_target.errors import OptionError, TargetError

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

Point = TypeVar("Point")
Result = TypeVar("Result")
# An Executor, a dask client, or a dask cluster (SLURMCluster, SGECluster, LocalCluster).
Engine: TypeAlias = Any

_MOST_SEED: Final = 1 << 63
_SHOWN_CHARACTERS: Final = 80
# What schedulers call the number of a task in its array, and the first, the last and the step.
_ARRAYS: Final = (
    (
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
    ),
    ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong at a point.

    Attributes:
        kind: Class of the exception.
        message: Its text.
        trace: Its traceback, as text; "" where the worker itself was lost.
    """

    kind: str
    message: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Point, Result]):
    """One point of a sweep.

    Attributes:
        index: Its place in the sweep.
        point: The point.
        seed: Its seed, or None.
        value: What the function returned; None where it failed.
        failure: What went wrong, or None.
    """

    index: int
    point: Point
    seed: int | None
    value: Result | None = None
    failure: Failure | None = None


@dataclass
class PointError(TargetError):
    """The function failed at a point, and the rest of the sweep was cancelled.

    Attributes:
        index: Place of the point in the sweep.
        point: The point, as text.
        failure: What went wrong.
        n_done: Points that are done.
        n_points: Points of the sweep.
    """

    index: int
    point: str
    failure: Failure
    n_done: int
    n_points: int

    def __str__(self) -> str:
        trace = f"\n{self.failure.trace}" if self.failure.trace else ""
        return (
            f"point {self.index} ({self.point}): {self.failure.kind}: {self.failure.message}. "
            f"{self.n_done} of {self.n_points} points were done, the others were cancelled. "
            f"Use sweep.outcomes to go on past points that fail{trace}"
        )


@dataclass(frozen=True, slots=True)
class _Sweep(Generic[Point, Result]):
    """A sweep with its engines; the points are those that are left to run."""

    function: Callable[..., Result]
    points: Sequence[Point]
    seed: int | None

    def outcome(self, index: int, found: Any) -> Outcome[Point, Result]:  # noqa: ANN401
        """Give what a worker returned its point."""
        seed = None if self.seed is None else seed_of(self.seed, index)
        if isinstance(found, Failure):
            return Outcome(index, self.points[index], seed, failure=found)
        return Outcome(index, self.points[index], seed, cast("Result", found.value))


def sweep(
    function: Callable[..., Result],
    points: Iterable[Point],
    *,
    executor: Engine = None,
    workers: int | None = None,
    seed: int | None = None,
    needs_qpu: Callable[[Point], bool] | None = None,
    qpu_executor: Engine = None,
    progress: bool | None = None,
) -> list[Result]:
    """Call a function at every point; the first point that fails ends the sweep.

    Args:
        function: Takes a point, and `seed=` where the sweep has one. Processes import it: it
            belongs into a module, and a script starts its sweep under `if __name__ == "__main__":`.
        points: Anything that can be pickled.
        executor: Where points run: an Executor, a dask client or a dask cluster. By default,
            processes of this machine for as long as the sweep lasts; they are started afresh, not
            forked.
        workers: How many processes; by default one for each core that this process may use.
        seed: Makes each point's seed; None for a function that takes none.
        needs_qpu: Which points need the QPU; by default none is told apart from the others.
        qpu_executor: Where those run, with one worker that holds the session. By default one more
            process; with a dask client or cluster, workers that offer the resource "qpu".
        progress: Count points on standard error; by default where that is a terminal.

    Returns:
        What the function returned, in the order of the points.

    Raises:
        PointError: The function failed at a point, or its worker was lost.
        OptionError: An argument makes no sense, or the function cannot be sent to a process.
    """
    whole = _checked(function, points, workers, seed)
    results: dict[int, Result] = {}
    with ExitStack() as stack:
        engines = _engines(stack, executor, workers, needs_qpu, qpu_executor)
        for found in _run(whole, engines, needs_qpu, _Counter.of(progress, len(whole.points))):
            if found.failure is not None:
                shown = _shown(found.point)
                raise PointError(found.index, shown, found.failure, len(results), len(whole.points))
            results[found.index] = cast("Result", found.value)
    return [results[k] for k in range(len(whole.points))]


def outcomes(
    function: Callable[..., Result],
    points: Iterable[Point],
    *,
    executor: Engine = None,
    workers: int | None = None,
    seed: int | None = None,
    needs_qpu: Callable[[Point], bool] | None = None,
    qpu_executor: Engine = None,
    progress: bool | None = None,
) -> Iterator[Outcome[Point, Result]]:
    """Call a function at every point, whatever happens at some of them; see `sweep`.

    Yields:
        Points with their values or failures as they end. Who stops early cancels the rest.
    """
    whole = _checked(function, points, workers, seed)
    with ExitStack() as stack:
        engines = _engines(stack, executor, workers, needs_qpu, qpu_executor)
        yield from _run(whole, engines, needs_qpu, _Counter.of(progress, len(whole.points)))


def seed_of(seed: int, index: int) -> int:
    """Return the seed of a point: from 1 to 2^63 - 1, other points' seeds tell nothing about it.

    Args:
        seed: Of the sweep.
        index: Place of the point, from 0.

    >>> seed_of(1, 0) == seed_of(1, 0) != seed_of(1, 1)
    True
    """
    (words,) = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1, np.uint64)
    return 1 + int(words) % (_MOST_SEED - 1)


def array_share(
    points: Iterable[Point], seed: int | None = None, environ: Mapping[str, str] | None = None
) -> list[tuple[int, Point, int | None]]:
    """Return what this task of a job array has to do: every n-th point, for an array of n tasks.

    Args:
        points: All points; each task of the array makes the same ones.
        seed: Of the sweep; None for no seeds.
        environ: Environment variables; None for the process's own.

    Returns:
        Index, point and seed of each; all of them outside of an array.

    Raises:
        OptionError: The variables of the array contradict each other.

    >>> array_share("abcde", environ={"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0",
    ...     "SLURM_ARRAY_TASK_MAX": "1"})
    [(1, 'b', None), (3, 'd', None)]
    """
    number, n_tasks = _array_task(os.environ if environ is None else environ)
    return [
        (index, point, None if seed is None else seed_of(seed, index))
        for index, point in enumerate(points)
        if index % n_tasks == number
    ]


def _array_task(variables: Mapping[str, str]) -> tuple[int, int]:
    """Place of this task in its array, and the size of the array."""
    for names in _ARRAYS:
        texts = [variables.get(name, default) for name, default in zip(names, "xxx1", strict=True)]
        if variables.get(names[0], "undefined") == "undefined":
            continue
        if all(text.isdecimal() for text in texts):
            task, first, last, step = map(int, texts)
            if step > 0 and first <= task <= last and (task - first) % step == 0:
                return (task - first) // step, (last - first) // step + 1
        shown = ", ".join(f"{name}={variables.get(name)}" for name in names)
        raise OptionError(
            "job array", f"its variables make no sense ({shown})", "Leave them to the scheduler"
        )
    return 0, 1


@dataclass(frozen=True, slots=True)
class _Value:
    value: object


def _at(function: Callable[..., object], point: object, seed: int | None) -> _Value | Failure:
    """Call the function in a worker.

    Exceptions come back as text: one that cannot be unpickled would end a pool of processes.
    """
    try:
        return _Value(function(point) if seed is None else function(point, seed=seed))
    except Exception as error:  # noqa: BLE001 - the function is the user's
        return Failure(type(error).__name__, str(error), traceback.format_exc())


def _run(
    whole: _Sweep[Point, Result],
    engines: tuple[Executor, Executor | None],
    needs_qpu: Callable[[Point], bool] | None,
    counter: _Counter,
) -> Iterator[Outcome[Point, Result]]:
    """Send all points; yield them as they end; cancel those that are left."""
    usual, qpu = engines
    indices: dict[Future[_Value | Failure], int] = {}
    try:
        for index, point in enumerate(whole.points):
            at_qpu = qpu is not None and needs_qpu is not None and needs_qpu(point)
            engine = cast("Executor", qpu) if at_qpu else usual
            seed = None if whole.seed is None else seed_of(whole.seed, index)
            indices[_sent(engine, whole.function, point, seed)] = index
        for future in as_completed(indices):
            found = whole.outcome(indices[future], _received(future))
            counter.count(is_failed=found.failure is not None)
            yield found
    finally:
        counter.end()
        for future in indices:
            future.cancel()


def _sent(
    engine: Executor, function: Callable[..., object], point: object, seed: int | None
) -> Future[_Value | Failure]:
    try:
        return engine.submit(_at, function, point, seed)
    except BrokenExecutor as error:
        lost: Future[_Value | Failure] = Future()
        lost.set_result(Failure(type(error).__name__, "no worker is left"))
        return lost


def _received(future: Future[_Value | Failure]) -> _Value | Failure:
    """What a worker returned, or why nothing came from it."""
    try:
        return future.result()
    except CancelledError:
        return Failure("CancelledError", "the executor was closed")
    except BrokenExecutor as error:
        return Failure(
            type(error).__name__,
            "a worker process ended, by a signal (too little memory?) or because it cannot import "
            "the function; scripts need `if __name__ == '__main__':` around their sweep",
        )
    except Exception as error:  # noqa: BLE001 - whatever pickles and foreign executors raise
        return Failure(
            type(error).__name__,
            f"{error}; the function, its points and results travel by pickle, so define the "
            "function at the top of a module",
            traceback.format_exc(),
        )


def _checked(
    function: Callable[..., Result], points: Iterable[Point], workers: int | None, seed: int | None
) -> _Sweep[Point, Result]:
    if workers is not None and workers < 1:
        raise OptionError(f"workers {workers}", "not allowed", "Give at least 1")
    if seed is not None and seed < 0:
        raise OptionError(f"seed {seed}", "not allowed", "Give a whole number of at least 0")
    return _Sweep(function, list(points), seed)


def _engines(
    stack: ExitStack,
    executor: Engine,
    workers: int | None,
    needs_qpu: object,
    qpu_executor: Engine,
) -> tuple[Executor, Executor | None]:
    if workers is not None and executor is not None:
        raise OptionError("workers", "the executor has its own", "Leave one of the two out")
    if needs_qpu is None:
        if qpu_executor is not None:
            raise OptionError(
                "qpu_executor", "nothing says which points go there", "Give needs_qpu= as well"
            )
        return _engine(stack, executor, workers), None
    if qpu_executor is not None:
        return _engine(stack, executor, workers), _engine(stack, qpu_executor, 1)
    if executor is None:
        return _engine(stack, None, workers), _engine(stack, None, 1)
    if isinstance(executor, Executor):
        raise OptionError(
            "needs_qpu",
            f"{type(executor).__name__} cannot tell the worker that holds the QPU",
            "Give qpu_executor=, an executor with that worker alone",
        )
    return _engine(stack, executor, None), _dask_qpu(stack, executor)


def _engine(stack: ExitStack, given: Engine, workers: int | None) -> Executor:
    """Return an Executor; processes and clients that are made here end with the sweep."""
    if given is None:
        pool = _processes(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        return pool
    if isinstance(given, Executor):
        return given
    return cast("Executor", _client(stack, given).get_executor(pure=False))


def _processes(workers: int | None) -> ProcessPoolExecutor:
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    n_workers = len(os.sched_getaffinity(0)) if workers is None else workers
    # Not forked: links, threads and CUDA-Q's state do not survive that.
    return ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"))


def _client(stack: ExitStack, given: Engine) -> Any:  # noqa: ANN401 - dask has no types
    """Return the dask client that this is, or one of the cluster that this is."""
    if hasattr(given, "get_executor"):
        return given
    if not hasattr(given, "scheduler_address"):
        raise OptionError(
            f"executor {type(given).__name__}",
            "it is no executor",
            "Give a concurrent.futures.Executor, a dask client or a dask cluster",
        )
    from distributed import Client  # noqa: PLC0415

    return stack.enter_context(Client(given, set_as_default=False))


def _dask_qpu(stack: ExitStack, given: Engine) -> Executor:
    client = _client(stack, given)
    resources = [
        worker.get("resources", {}) for worker in client.scheduler_info(-1)["workers"].values()
    ]
    if resources and not any(offered.get("qpu") for offered in resources):
        raise OptionError(
            "needs_qpu",
            f'none of the {len(resources)} dask workers offers the resource "qpu"',
            "Start one with `dask worker --resources qpu=1`, or give qpu_executor=",
        )
    # One at a time, as the worker offers one.
    return cast("Executor", client.get_executor(pure=False, resources={"qpu": 1}))


class _Counter:
    """Counts points on standard error, or does nothing."""

    def __init__(self, n_points: int, *, is_shown: bool) -> None:
        self._n_points, self._is_shown = n_points, is_shown
        self._n_done = self._n_failed = 0

    @staticmethod
    def of(progress: bool | None, n_points: int) -> _Counter:
        is_shown = sys.stderr.isatty() if progress is None else progress
        return _Counter(n_points, is_shown=is_shown)

    def count(self, *, is_failed: bool) -> None:
        self._n_done += 1
        self._n_failed += is_failed
        if self._is_shown:
            failed = f", {self._n_failed} failed" if self._n_failed else ""
            sys.stderr.write(f"\rsweep: {self._n_done} of {self._n_points} points{failed}")
            sys.stderr.flush()

    def end(self) -> None:
        if self._is_shown and self._n_done:
            sys.stderr.write("\n")


def _shown(point: object) -> str:
    text = repr(point)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
