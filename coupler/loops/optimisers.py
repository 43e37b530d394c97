"""Optimisers of noisy functions that ask for points and are told estimates.

All keep to `Optimiser` and `AdaptiveOptimiser` (`loops.interface`), and are deterministic functions
of what they are told and of their generator of random numbers. With `errors` they ask for coarse
values first and for fine ones at the end, which shot plans turn into shots.

| optimiser | points per step | for |
|---|---|---|
| `Rotosolve` | 2 R + 1 per parameter | angles of gates: sums of R sinusoids; few parameters |
| `GradientDescent` | 2 R per parameter | the same, parameters that depend on each other |
| `Spsa` | 2, 3 with blocking | many parameters, any smooth function |
| `Scipy` | the method's | what `scipy.optimize.minimize` has; COBYLA bears noise best |
| `UserOptimiser` | yours | yours |
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.coupler.loops.errors import OptimiserError
from cudaq_target.coupler.loops.search import (
    Refinement,
    Search,
    Steps,
    Trial,
    checked_start,
)
from cudaq_target.coupler.loops.sinusoids import (
    GradientDescent,
    Rotosolve,
    ShiftRule,
    Sinusoid,
    shift_rule,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.interface import Estimate, Point

    Reals = NDArray[np.float64]

__all__ = [
    "GradientDescent",
    "OptimiserError",
    "Refinement",
    "Rotosolve",
    "Scipy",
    "Search",
    "ShiftRule",
    "Sinusoid",
    "Spsa",
    "Trial",
    "UserOptimiser",
    "shift_rule",
]

_ALPHA, _GAMMA = 0.602, 0.101  # Spall 1998, section III.B: lowest values that theory allows
_STABILITY = 0.1  # of the steps; "10 % or less", the same
_JOIN_S = 10.0


class Spsa(Search):
    """Simultaneous perturbation: a gradient along one random direction per step, from two points.

    J. C. Spall, IEEE Trans. Aerosp. Electron. Syst. 34, 817 (1998). Step k, from 0, moves by
    a / (k + 1 + A)^0.602 along the gradient found with the perturbation c / (k + 1)^0.101;
    A is a tenth of the steps, c should be about the noise of a point over the slope there, and a is
    such that the first step has the length `step` in each parameter: the mean of
    `n_calibration` gradients at the start says how steep it is.

    With `blocking` the new point is measured, too, and the step is taken back if the value is
    higher by more than so many errors of the difference (the blocking of the same article, section
    III.B, with the errors that the estimates state).
    """

    def __init__(
        self,
        start: Sequence[float],
        *,
        step: float,
        perturbation: float,
        n_steps: int,
        rng: np.random.Generator | int,
        blocking: float | None = 2.0,
        n_calibration: int = 3,
        errors: Refinement | None = None,
    ) -> None:
        """Begin at a point.

        Args:
            start: Values of the parameters.
            step: Change of each parameter in the first step.
            perturbation: c, in units of the parameters.
            n_steps: How many steps.
            rng: Generator or seed of the directions.
            blocking: Errors by which a value may rise; None to accept every step unmeasured.
            n_calibration: Gradients measured before the first step, at least 1.
            errors: Standard errors of the points, over `n_steps`.

        Raises:
            OptimiserError: An argument makes no sense.
        """
        point = checked_start(start)
        _check_positive(step=step, perturbation=perturbation, n_steps=n_steps)
        _check_positive(n_calibration=n_calibration)
        if blocking is not None and not blocking >= 0.0:
            raise OptimiserError("blocking", f"is {blocking}", "give 0 or more, or None")
        self.point = point
        generator = np.random.default_rng(rng)
        super().__init__(
            self._walk(step, perturbation, n_steps, generator, blocking, n_calibration, errors)
        )

    def _walk(
        self,
        first_step: float,
        perturbation: float,
        n_steps: int,
        rng: np.random.Generator,
        blocking: float | None,
        n_calibration: int,
        errors: Refinement | None,
    ) -> Steps:
        point = np.array(self.point)
        coarse = errors.first if errors is not None else None
        slopes = []
        for _ in range(n_calibration):
            gradient = yield from _spsa_gradient(point, perturbation, rng, coarse)
            slopes.append(float(np.abs(gradient).mean()))
        stability = _STABILITY * n_steps
        slope = float(np.mean(slopes))
        # A flat start says nothing about the scale: then the first gradient moves by itself.
        gain = first_step * (1.0 + stability) ** _ALPHA / (slope if slope > 0.0 else 1.0)
        held: Estimate | None = None
        if blocking is not None:
            held = yield Trial(self.point, coarse)
        n_blocked = 0
        for k in range(n_steps):
            error = errors.at(k, n_steps) if errors is not None else None
            width = perturbation / (k + 1.0) ** _GAMMA
            gradient = yield from _spsa_gradient(point, width, rng, error)
            candidate = point - gain / (k + 1.0 + stability) ** _ALPHA * gradient
            if held is not None and blocking is not None:
                now = yield Trial(tuple(candidate.tolist()), error)
                if now.value - held.value > blocking * _difference_error(now, held):
                    n_blocked += 1
                    continue
                held = now
            point = candidate
            self.point = tuple(point.tolist())
        if held is None:
            last = errors.last if errors is not None else None
            yield Trial(self.point, last, is_answer=True)
        return f"{n_steps} steps, {n_blocked} of them blocked"


def _spsa_gradient(
    point: Reals, width: float, rng: np.random.Generator, error: float | None
) -> Generator[Trial, Estimate, Reals]:
    direction = rng.choice([-1.0, 1.0], len(point))
    above = yield Trial(tuple((point + width * direction).tolist()), error)
    below = yield Trial(tuple((point - width * direction).tolist()), error)
    return np.asarray((above.value - below.value) / (2.0 * width) / direction)


def _difference_error(one: Estimate, other: Estimate) -> float:
    """0 where an error is not known: an infinite one would let everything pass."""
    error = float(np.hypot(one.standard_error, other.standard_error))
    return error if isfinite(error) else 0.0


Method = str | Callable[..., object]


class Scipy(Search):
    """Any method of `scipy.optimize.minimize`.

    The method runs in a thread that waits for each value and has ended before the search has:
    after its own end, after `max_points`, when the search is closed or forgotten, and when asking
    raises, for example KeyboardInterrupt. What the method raises, `ask` raises. Methods that want
    gradients get finite differences, which divide shot noise by a tiny distance: set their step
    (`options={"eps": 0.1}`), or take one without gradients.
    """

    def __init__(
        self,
        method: Method,
        start: Sequence[float],
        *,
        max_points: int = 1000,
        errors: Refinement | None = None,
        **keywords: Any,  # noqa: ANN401 - what scipy takes
    ) -> None:
        """Begin at a point.

        Args:
            method: As `minimize` takes it.
            start: Values of the parameters.
            max_points: Points that are measured at most.
            errors: Standard errors of the points, over `max_points`.
            **keywords: For `minimize`: `bounds`, `options`, `tol`, `constraints`, ...

        Raises:
            OptimiserError: An argument makes no sense.
        """
        point = checked_start(start)
        _check_positive(max_points=max_points)
        if reserved := {"fun", "x0", "args"} & set(keywords):
            name = min(reserved)
            raise OptimiserError(name, "is not the caller's to give", "leave it out")
        super().__init__(_minimise(method, point, max_points, errors, keywords))


class _EndOfSearch(BaseException):
    """Nobody will answer any more; unwinds the thread of the method."""


class _Exchange:
    """Hands points from the method's thread to the asking one, and values back; one at a time."""

    def __init__(self) -> None:
        self._points: queue.SimpleQueue[Point | BaseException | str] = queue.SimpleQueue()
        self._values: queue.SimpleQueue[float | None] = queue.SimpleQueue()

    def measure(self, x: Reals) -> float:
        """Called by the method."""
        self._points.put(tuple(np.asarray(x, dtype=np.float64).reshape(-1).tolist()))
        value = self._values.get()
        if value is None:
            raise _EndOfSearch
        return value

    def run(self, method: Method, start: Point, keywords: Mapping[str, Any]) -> None:
        """Body of the thread."""
        from scipy.optimize import minimize  # noqa: PLC0415

        try:
            found = minimize(self.measure, np.array(start), method=method, **keywords)
            self._points.put(str(getattr(found, "message", "") or "the method ended"))
        except _EndOfSearch:
            return
        except BaseException as error:  # noqa: BLE001 - raised again where the caller is
            self._points.put(error)

    def next(self) -> Point | str:
        found = self._points.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def answer(self, value: float | None) -> None:
        self._values.put(value)


def _minimise(
    method: Method,
    start: Point,
    max_points: int,
    errors: Refinement | None,
    keywords: Mapping[str, Any],
) -> Steps:
    exchange = _Exchange()
    thread = threading.Thread(
        target=exchange.run, args=(method, start, keywords), name="scipy-minimise", daemon=True
    )
    thread.start()
    try:
        for number in range(max_points):
            found = exchange.next()
            if isinstance(found, str):
                return found
            estimate = yield Trial(found, errors.at(number, max_points) if errors else None)
            exchange.answer(estimate.value)
        return f"{max_points} points"
    finally:
        exchange.answer(None)
        thread.join(_JOIN_S)


History = list[tuple["Point", "Estimate"]]


class UserOptimiser(Search):
    """Your own search.

    Either a callable that takes the list of all (point, estimate) so far and returns the next
    point, or None to end; or a generator (or a function that makes one) that yields points and is
    sent estimates. A `Trial` in the place of a point also says how well it must be known.

    >>> def halves():
    ...     low, high = -1.0, 1.0
    ...     for _ in range(10):
    ...         left = yield (low + 0.25 * (high - low),)
    ...         right = yield (low + 0.75 * (high - low),)
    ...         middle = 0.5 * (low + high)
    ...         low, high = (low, middle) if left.value < right.value else (middle, high)
    >>> UserOptimiser(halves).ask()
    (-0.5,)
    """

    def __init__(
        self,
        search: Callable[..., object] | Generator[object, Estimate, object],
        max_points: int = 10**6,
    ) -> None:
        """Wrap a search.

        Args:
            search: See above; a callable without parameters is called once, and makes a generator.
            max_points: Points that are measured at most.
        """
        _check_positive(max_points=max_points)
        super().__init__(_users(search, max_points))


def _users(
    search: Callable[..., object] | Generator[object, Estimate, object], max_points: int
) -> Steps:
    import inspect  # noqa: PLC0415 - 5 ms that only this needs

    steps = search if isinstance(search, Generator) else None
    if callable(search) and not inspect.signature(search).parameters:
        made = search()
        if not isinstance(made, Generator):
            found = f"{search!r} takes nothing and makes no generator"
            remedy = "yield points in it, or let it take the history"
            raise OptimiserError("the search", found, remedy)
        steps = made
    history: History = []
    answer: Estimate | None = None
    try:
        for _ in range(max_points):
            try:
                if steps is not None:
                    wanted = next(steps) if answer is None else steps.send(answer)
                elif callable(search):
                    wanted = search(list(history))
                else:
                    found = f"is a {type(search).__name__}"
                    raise OptimiserError("the search", found, "give a callable or a generator")
            except StopIteration as end:
                return str(end.value or "done")
            if wanted is None:
                return "done"
            trial = wanted if isinstance(wanted, Trial) else Trial(_user_point(wanted))
            answer = yield trial
            history.append((trial.point, answer))
    finally:
        if steps is not None:
            steps.close()
    return f"{max_points} points"


def _user_point(wanted: object) -> Point:
    values: Iterable[Any] = wanted if isinstance(wanted, Iterable) else (wanted,)
    return checked_start([float(value) for value in values])


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < inf:
            raise OptimiserError(name, f"is {value}", "give a positive number")
