"""Searches for the ground state of a system, and how well each of their points must be known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cudaq_target.coupler.loops.optimisers import (
    GradientDescent,
    Refinement,
    Rotosolve,
    Scipy,
    Search,
    Spsa,
)
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from cudaq_target.coupler.loops.interface import Point
    from cudaq_target.loops.systems import System

OPTIMISERS = ("gradient", "rotosolve", "spsa", "cobyla")
MIN_SHOTS = 8
"""Shots of each basis before its variance is believed, and between two decisions."""

PRIOR_SHOTS = 4.0
"""Shots at the bounds that a variance starts from. A molecule near its ground state shows its other
configuration once in a hundred shots; from one such shot alone, runs without any would end early.
"""

_N_SIGMAS = 2.25  # of the last gradient, that the accuracy allows
_ROTOSOLVE_SWEEPS, _SPSA_STEPS, _COBYLA_POINTS = 3, 40, 40
_SPSA_RAD, _COBYLA_RAD = 0.3, 0.5


def errors_for(problem: System, accuracy: float | None = None) -> Refinement:
    """Standard errors of the points of a search: coarse first, at last what the accuracy needs.

    A gradient with error σ puts the next point σ / curvature off in each of n parameters, so that
    the energy there is n σ² / (2 curvature) too high; 2.25 such σ are to stay within the accuracy.

    Args:
        problem: Knows its curvature.
        accuracy: Energy of the state above the ground state; the problem's own by default.
    """
    energy = problem.accuracy if accuracy is None else accuracy
    slope = math.sqrt(2.0 * problem.curvature * energy / len(problem.start)) / _N_SIGMAS
    last = math.sqrt(2.0) / max(problem.frequencies) * slope
    return Refinement(problem.coarseness * last, last)


def search(
    problem: System,
    optimiser: str = "gradient",
    *,
    n_steps: int | None = None,
    errors: Refinement | None = None,
    start: Point | None = None,
    seed: int = 0,
) -> Search:
    """Make a search by name.

    Args:
        problem: What to solve.
        optimiser: One of `OPTIMISERS`.
        n_steps: Steps, sweeps (rotosolve) or points (cobyla); by default what suits the problem.
        errors: Standard errors of the points; None leaves the shots to the plan.
        start: Another start than the problem's.
        seed: Of the directions of spsa.

    Raises:
        OptionError: Another name.
    """
    begin = problem.start if start is None else start
    frequencies = [[frequency] for frequency in problem.frequencies]
    if optimiser == "gradient":
        n = n_steps or problem.n_steps
        return GradientDescent(
            begin,
            rate=1.0 / problem.curvature,
            n_steps=n,
            frequencies=frequencies,
            errors=errors,
            patience=n,  # a flat direction looks like noise for long
        )
    if optimiser == "rotosolve":
        n = n_steps or _ROTOSOLVE_SWEEPS
        # It jumps to where the fit is least, wherever that is: no coarse points.
        fine = None if errors is None else Refinement(0.5 * errors.last, 0.5 * errors.last)
        return Rotosolve(begin, n_sweeps=n, frequencies=frequencies, errors=fine)
    if optimiser == "spsa":
        n = n_steps or _SPSA_STEPS
        return Spsa(
            begin, step=_SPSA_RAD, perturbation=_SPSA_RAD, n_steps=n, rng=seed, errors=errors
        )
    if optimiser == "cobyla":
        n = n_steps or _COBYLA_POINTS
        # A trust region that shrank for noise does not grow again: no coarse points.
        same = None if errors is None else Refinement(errors.last, errors.last)
        options = {"rhobeg": _COBYLA_RAD}
        return Scipy("COBYLA", begin, max_points=n, errors=same, options=options)
    known = f"Known: {', '.join(OPTIMISERS)}"
    raise OptionError(f"optimiser {optimiser!r}", "unknown optimiser", known)
