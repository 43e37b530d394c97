"""What a loop for independent sets knows of its shots, and when its search may end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.loops.estimators import CostEstimator
from cudaq_target.coupler.loops.policies import Minimise
from cudaq_target.coupler.loops.shot_functions import mis_values
from cudaq_target.coupler.loops.tail import TailEstimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.interface import Estimate, Optimiser, Outcome, Point
    from cudaq_target.coupler.loops.shot_plans import ShotPlan
    from cudaq_target.loops.graphs import UnitDiskGraph

    Words = NDArray[np.uint64]

PENALTY: Final = 2.0
"""Of a violated edge: cost -n is reached by independent sets of n vertices alone where n is the
largest size, as a set of s vertices with v violated edges holds an independent one of s - v."""


class SetEstimator:
    """Costs of shots of a graph, by an estimator of their mean or CVaR; and what they hold.

    Attributes:
        best: Least cost of all points so far, and its bits; None at first.
        counts: Shots and largest sets of each point, in order.
    """

    n_settings = 1

    def __init__(self, graph: UnitDiskGraph, part: float, optimum: int | None) -> None:
        """Start without shots.

        Args:
            graph: Whose vertices the bits are.
            part: Of the shots that count.
            optimum: Size of the largest set; None where it is not known.

        Raises:
            KernelInputError: `part` makes no sense.
        """
        self._graph = graph
        self._cost = mis_values(
            graph.n_vertices, np.array(graph.edges, dtype=np.int64).reshape(-1, 2), PENALTY
        )
        self._inner: CostEstimator | TailEstimator = (
            CostEstimator(self._cost) if part == 1.0 else TailEstimator(self._cost, part)
        )
        self._lowest = -float(graph.n_vertices + 1 if optimum is None else optimum)
        self.best: tuple[float, tuple[int, ...]] | None = None
        self.counts: list[tuple[int, int]] = []

    def begin(self, point: Point) -> None:
        """Forget the shots, not what was found; as `interface.Estimator.begin`."""
        self._inner.begin(point)
        self.counts.append((0, 0))

    def update(self, setting: int, rows: Words) -> None:
        """Take in shots; as `interface.Estimator.update`."""
        self._inner.update(setting, rows)
        costs = self._cost.values(rows)
        n_shots, n_largest = self.counts[-1]
        n_new = int((costs < self._lowest + 0.5).sum())
        self.counts[-1] = n_shots + len(costs), n_largest + n_new
        least = int(np.argmin(costs))
        if self.best is None or costs[least] < self.best[0]:
            words = [int(word) for word in rows[least]]
            n = self._graph.n_vertices
            self.best = float(costs[least]), tuple(words[k // 64] >> k % 64 & 1 for k in range(n))

    def estimate(self) -> Estimate:
        """Mean cost or CVaR of the point; as `interface.Estimator.estimate`."""
        return self._inner.estimate()


class FindSet(Minimise):
    """Minimises until a wanted cost was measured, then measures the best point."""

    def __init__(
        self,
        optimiser: Optimiser,
        plan: ShotPlan,
        estimator: SetEstimator,
        wanted_size: int | None,
        *,
        max_points: int,
        final: ShotPlan,
    ) -> None:
        """Begin.

        Args:
            optimiser: Chooses the points.
            plan: Shots of a point.
            estimator: Of the same loop.
            wanted_size: Of a set that ends the search; None for none.
            max_points: Of the search.
            final: Measures the best point at the end.
        """
        super().__init__(optimiser, plan, max_points=max_points, final=final)
        self._sets = estimator
        self._wanted = wanted_size

    def judge(self, estimate: Estimate) -> bool:
        """Stop a run of the search once the wanted set came; as `interface.Policy.judge`."""
        return (self._has_found() and self.plan is self._search) or super().judge(estimate)

    def tell(self, outcome: Outcome) -> None:
        """Learn how a run went; a found set ends its point, too."""
        super().tell(outcome)
        if self._has_found() and self.plan is self._search and self._point is not None:
            point, self._point = self._point, None
            self.finish(point, outcome.estimate)

    def _has_found(self) -> bool:
        best = self._sets.best
        return self._wanted is not None and best is not None and best[0] <= 0.5 - self._wanted

    def _is_over(self) -> bool:
        return super()._is_over() or self._has_found()
