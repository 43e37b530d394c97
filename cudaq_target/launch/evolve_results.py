"""What `cudaq.evolve` returns where it computes more than counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cudaq
import numpy as np

from cudaq_target.launch.results import observe_result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cudaq_target.launch.observables import Observables
    from cudaq_target.launch.results import PasqalObserveResult


class PasqalEvolveResult(cudaq.EvolveResult):  # type: ignore[misc]
    """A `cudaq.EvolveResult` that may lack states, and says where it comes from.

    Attributes:
        annotations: Job id, machine, device, and how exact the numbers are.
    """

    def __init__(
        self,
        states: Sequence[cudaq.State],
        table: Sequence[Sequence[PasqalObserveResult]],
        annotations: Mapping[str, object],
    ) -> None:
        # CUDA-Q's constructor wants a state; what shots and noise leave behind is none.
        super().__init__(states[-1] if states else cudaq.State.from_data(np.array([1.0, 0.0j])))
        self._states = list(states)
        self._table = [list(row) for row in table]
        self.annotations = dict(annotations)

    def final_state(self) -> cudaq.State | None:
        """Return the state at the end, or None where there is no single one."""
        return self._states[-1] if self._states else None

    def intermediate_states(self) -> list[cudaq.State] | None:
        """Return the states that were kept, the final one last; None where there are none."""
        return self._states or None

    def expectation_values(self) -> list[list[PasqalObserveResult]] | None:
        """Return one row per step that was kept, the final one last; None without observables."""
        return self._table or None

    def final_expectation_values(self) -> list[PasqalObserveResult] | None:
        """Return the value of each observable at the end; None without observables."""
        return self._table[-1] if self._table else None


def observed(
    observables: Observables,
    values: Mapping[str, float],
    annotations: Mapping[str, object],
) -> list[PasqalObserveResult]:
    """Return a result for each observable.

    Args:
        observables: The operators.
        values: Value of each Pauli string by term id.
        annotations: What to keep with the results.
    """
    return [
        observe_result(
            operator,
            total.value(values),
            {string.term_id: values[string.term_id] for string in total.strings if string.qubits},
            {},
            annotations,
        )
        for operator, total in zip(observables.operators, observables.sums, strict=True)
    ]
