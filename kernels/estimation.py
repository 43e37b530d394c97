"""What shots of known pulses say about Rabi frequency, detuning and phase, and what to do next.

A point is a row (rabi_rad_per_us, detuning_rad_per_us, phase_rad). Points are a grid
(`kernels.grid`) or particles (`kernels.particles`); the kernels here take either, from the host,
whatever the back end. Experiments on an atom prepared in 0 are:

- Rabi: a pulse of frequency W, detuning D and duration t excites with probability
  W² / (W² + D²) sin²(sqrt(W² + D²) t / 2);
- Ramsey: two short pi/2 pulses, t apart, the second one of phase s:
  (1 + cos(D t + phase - s)) / 2.

They solve the Schrödinger equation of H = W/2 (cos s X + sin s Y) - D |1><1|, which has Pulser's
signs, in closed form. The read-out comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cudaq_target.kernels.arguments import check_integer, check_ones, check_reals, host_array
from cudaq_target.kernels.backends import Backend, implementation
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.reference.estimation import RABI, RAMSEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Reals = NDArray[np.float64]

PARAMETERS = ("rabi_rad_per_us", "detuning_rad_per_us", "phase_rad")
"""Columns of points."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A pulse experiment on an atom in 0, of which each shot gives one bit.

    With Rabi frequency W, detuning D, duration t and shift s the probability to read 1 is
    W² / (W² + D²) sin²(sqrt(W² + D²) t / 2) for "rabi", one pulse, and
    (1 + cos(D t + phase - s)) / 2 for "ramsey", two short pi/2 pulses.

    Attributes:
        kind: "rabi" or "ramsey".
        duration_us: Of the pulse, or between the two pulses.
        phase_rad: Shift of the second pulse ("ramsey").
    """

    kind: Literal["rabi", "ramsey"]
    duration_us: float
    phase_rad: float = 0.0


@dataclass(frozen=True, slots=True)
class OutcomeErrors:
    """State preparation and measurement errors.

    Attributes:
        one_of_zero: Probability to read 1 of an atom in 0.
        zero_of_one: Probability to read 0 of an atom in 1.
    """

    one_of_zero: float = 0.0
    zero_of_one: float = 0.0


NO_ERRORS = OutcomeErrors()


def outcome_probabilities(
    parameters: ArrayLike,
    experiments: Sequence[Experiment],
    errors: OutcomeErrors = NO_ERRORS,
    *,
    backend: Backend = "auto",
) -> Reals:
    """Compute the probability to read 1, for each experiment and each point.

    Args:
        parameters: Points: Rabi frequency (rad/µs), detuning (rad/µs) and phase (rad), shape
            (n_points, 3).
        experiments: At least one.
        errors: Of preparation and read-out.
        backend: Where to compute.

    Returns:
        Probabilities, clipped to [1e-9, 1 - 1e-9], shape (n_experiments, n_points); back ends
        agree to 1e-12 (1 + largest angle in rad).

    Raises:
        KernelInputError: No points or experiments, an unknown kind, a number that is not finite, a
            negative duration, errors that are no probabilities or make both states read alike.
        BackendUnavailableError: The back end does not run here.

    >>> outcome_probabilities([[2.0, 0.0, 0.0]], [Experiment("rabi", np.pi / 4)]).round(6)
    array([[0.5]])
    """
    points = _check_points(parameters)
    rows = _check_experiments(experiments)
    wrong = check_reals((errors.one_of_zero, errors.zero_of_one), (2,), "errors")
    if not ((wrong >= 0.0).all() and wrong.sum() < 1.0):
        expected = "use probabilities of a sum below 1, or both states read alike"
        raise KernelInputError("errors", f"are {wrong.tolist()}", expected)
    kernels = implementation("estimation", backend)
    probabilities: Reals = kernels.outcome_probabilities(points, rows, wrong)
    return probabilities


def posterior_update(
    log_weights: ArrayLike,
    probabilities: ArrayLike,
    n_ones: int,
    n_shots: int,
    *,
    backend: Backend = "auto",
) -> Reals:
    """Weigh points by shots of one experiment: Bayes' rule with a binomial likelihood.

    log w + k log q + (N - k) log(1 - q), minus the logarithm of the sum, found relative to the
    largest: nothing overflows, however many shots.

    Args:
        log_weights: Natural logarithms of the weights, -inf allowed, shape (n_points,).
        probabilities: To read 1, q, in (0, 1), shape (n_points,).
        n_ones: Shots that read 1, k.
        n_shots: Shots, N; 0 only normalises.
        backend: Where to compute.

    Returns:
        Logarithms of the new weights, of sum 1, shape (n_points,); back ends agree to 1e-14 times
        (1 + n_shots * largest |log|).

    Raises:
        KernelInputError: No points, shapes that do not fit, NaN, a probability outside (0, 1), all
            weights 0, or not 0 <= n_ones <= n_shots.
        BackendUnavailableError: The back end does not run here.

    >>> np.exp(posterior_update(np.log([0.5, 0.5]), [0.2, 0.6], 1, 1)).round(3)
    array([0.25, 0.75])
    """
    prior = _check_log_weights(log_weights)
    likely = check_reals(probabilities, prior.shape, "probabilities")
    _check_open_interval(likely)
    check_ones(n_ones, n_shots, "shots")
    kernels = implementation("estimation", backend)
    posterior: Reals = kernels.posterior_update(prior, likely, int(n_ones), int(n_shots))
    return posterior


def information_gain(
    log_weights: ArrayLike, probabilities: ArrayLike, *, backend: Backend = "auto"
) -> Reals:
    """Compute what one shot of each experiment is expected to tell.

    The mutual information of outcome and point, H(sum w q) - sum w H(q) with the binary entropy H
    (D. V. Lindley, Ann. Math. Statist. 27, 986 (1956)).

    Args:
        log_weights: Natural logarithms of weights of sum 1, shape (n_points,).
        probabilities: To read 1, shape (n_experiments, n_points).
        backend: Where to compute.

    Returns:
        Expected reduction of the entropy of the weights (bit), in [0, 1] up to rounding,
        shape (n_experiments,); back ends agree to 1e-12.

    Raises:
        KernelInputError: As in `posterior_update`; no experiment, or weights whose sum is not 1.
        BackendUnavailableError: The back end does not run here.

    >>> information_gain(np.log([0.5, 0.5]), [[0.5, 0.5], [1e-9, 1 - 1e-9]]).round(3) + 0.0
    array([0., 1.])
    """
    prior = _check_log_weights(log_weights, sum_one=True)
    n_experiments = len(np.atleast_1d(host_array(probabilities, "probabilities")))
    if n_experiments == 0:
        raise KernelInputError("probabilities", "are of no experiment", "give one row or more")
    likely = check_reals(probabilities, (n_experiments, len(prior)), "probabilities")
    _check_open_interval(likely)
    kernels = implementation("estimation", backend)
    gains: Reals = kernels.information_gain(prior, likely)
    return gains


def most_informative(
    parameters: ArrayLike,
    log_weights: ArrayLike,
    candidates: Sequence[Experiment],
    errors: OutcomeErrors = NO_ERRORS,
    *,
    backend: Backend = "auto",
) -> Experiment:
    """Choose the experiment that is expected to tell most; the first of equal ones.

    Args:
        parameters: Points, shape (n_points, 3).
        log_weights: Of sum 1, shape (n_points,).
        candidates: At least one.
        errors: Of preparation and read-out.
        backend: Where to compute.

    Returns:
        One of the candidates.

    Raises:
        KernelInputError: See `outcome_probabilities` and `information_gain`.
        BackendUnavailableError: The back end does not run here.
    """
    points = _check_points(parameters)
    if len(_check_log_weights(log_weights, sum_one=True)) != len(points):
        found = f"have shape {np.shape(log_weights)}"
        raise KernelInputError("log_weights", found, f"there are {len(points)} points")
    probabilities = outcome_probabilities(points, candidates, errors, backend=backend)
    gains = information_gain(log_weights, probabilities, backend=backend)
    # Gains that differ by rounding alone are equal, or back ends could choose differently.
    return candidates[int(np.argmax(gains >= gains.max() - 1e-10))]


def check_parameter(parameter: int) -> None:
    """Refuse what is no column of points.

    Raises:
        KernelInputError: See above.
    """
    if check_integer(parameter, "parameter") >= len(PARAMETERS):
        expected = f"0 to {len(PARAMETERS) - 1} are {', '.join(PARAMETERS)}"
        raise KernelInputError("parameter", f"is {parameter}", expected)


def check_spread(spread: ArrayLike) -> Reals:
    """Refuse what is no spread of steps; give it, shape (3,).

    Raises:
        KernelInputError: See above.
    """
    steps = check_reals(spread, (len(PARAMETERS),), "spread")
    if (steps < 0.0).any():
        raise KernelInputError("spread", f"holds {steps.min()}", "use 0 or more")
    return steps


def _check_points(parameters: ArrayLike) -> Reals:
    points = host_array(parameters, "parameters")
    if points.ndim != 2 or points.shape[1] != len(PARAMETERS) or len(points) == 0:
        expected = f"give (n_points, 3), columns {', '.join(PARAMETERS)}"
        raise KernelInputError("parameters", f"has shape {points.shape}", expected)
    return check_reals(points, points.shape, "parameters")


def _check_experiments(experiments: Sequence[Experiment]) -> Reals:
    if isinstance(experiments, Experiment):
        raise KernelInputError("experiments", "are a single one", "give a sequence: [experiment]")
    if not len(experiments):
        raise KernelInputError("experiments", "are none", "give at least one")
    kinds = {"rabi": RABI, "ramsey": RAMSEY}
    for experiment in experiments:
        if not isinstance(experiment, Experiment):
            found = f"hold {experiment!r}"
            raise KernelInputError("experiments", found, "use Experiment(kind, duration_us)")
        if experiment.kind not in kinds:
            found = f"hold the kind {experiment.kind!r}"
            raise KernelInputError("experiments", found, "use 'rabi' or 'ramsey'")
        numbers = check_reals((experiment.duration_us, experiment.phase_rad), (2,), "experiments")
        if numbers[0] < 0.0:
            found = f"hold {experiment}"
            raise KernelInputError("experiments", found, "a duration is 0 or more")
    return np.array(
        [(kinds[one.kind], one.duration_us, one.phase_rad) for one in experiments],
        dtype=np.float64,
    )


def _check_log_weights(log_weights: ArrayLike, *, sum_one: bool = False) -> Reals:
    found = host_array(log_weights, "log_weights")
    if found.dtype.kind != "f" or found.ndim != 1 or found.size == 0:
        what = f"has dtype {found.dtype} and shape {found.shape}"
        raise KernelInputError("log_weights", what, "give real numbers of shape (n_points,)")
    if np.isnan(found).any() or found.max() == np.inf or found.max() == -np.inf:
        raise KernelInputError(
            "log_weights", f"have the largest value {found.max()}", "one must be finite, none NaN"
        )
    logarithms = np.ascontiguousarray(found, dtype=np.float64)
    total = float(np.exp(logarithms.clip(None, 1.0)).sum()) if sum_one else 1.0
    if abs(total - 1.0) > 1e-6:
        expected = "make the sum 1: posterior_update with n_shots = 0 does"
        raise KernelInputError("log_weights", f"are of weights of sum {total:.6g}", expected)
    return logarithms


def _check_open_interval(probabilities: Reals) -> None:
    if not ((probabilities > 0.0) & (probabilities < 1.0)).all():
        expected = "clip them to [1e-9, 1 - 1e-9], or one shot rules points out for good"
        raise KernelInputError("probabilities", "reach 0 or 1", expected)
