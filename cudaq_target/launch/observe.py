"""`cudaq.observe` and `cudaq.observe_async` on this target.

Without `shots_count` and without noise, expectation values are exact: they are computed from the
state that the pulses leave behind. With noise, and on remote machines, they are estimated from
shots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import cudaq
import numpy as np

from cudaq_target.emulator.memory import require_bytes, state_bytes
from cudaq_target.errors import OptionError, Source, UnsupportedKernelError
from cudaq_target.launch import future, kernels
from cudaq_target.launch.arguments import (
    refuse_noise_model,
    refuse_qpu,
    shots_or,
    shots_or_exact,
)
from cudaq_target.launch.operators import (
    EXACT_COPIES,
    basis_change,
    exact_values,
    group,
    read_operator,
)
from cudaq_target.launch.remote import default_shots, is_remote
from cudaq_target.launch.results import observe_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cudaq_target.launch.future import Future
    from cudaq_target.launch.kernels import BoundKernel, Sampled
    from cudaq_target.launch.operators import PauliString, PauliSum
    from cudaq_target.launch.results import PasqalObserveResult
    from cudaq_target.shots import Shots
    from cudaq_target.target import Session

    Single = PasqalObserveResult | list[PasqalObserveResult]

DEFAULT_SHOTS = 1000


def observe(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    spin_operator: Any,  # noqa: ANN401 - an operator, a term, or a list of them
    *args: object,
    shots_count: int | None = -1,
    noise_model: object = None,
    num_trajectories: int | None = None,
    execution: object = None,
    qpu_id: int = 0,
) -> Single | list[Single]:
    """Compute expectation values of spin operators in the state a kernel prepares.

    Args:
        session: The target in force.
        kernel: The kernel; it must not measure.
        spin_operator: A Hermitian operator, one of its terms, or a list of these.
        *args: Arguments of the kernel, or lists of arguments to broadcast over.
        shots_count: Shots for each group of terms that can be measured together; -1 for exact
            values (with noise or on a remote machine: the target's number of shots, else the
            machine's default, else 1000).
        noise_model: Refused: CUDA-Q's noise models act on gates, which atoms do not run.
        num_trajectories: Refused for the same reason.
        execution: Refused: there is one machine.
        qpu_id: Must be 0.

    Returns:
        A result; a list over operators and, outside of it, over broadcast arguments where there
        are several.

    Raises:
        TargetError: The kernel cannot run here, or an option is not allowed.
    """
    _check(noise_model, num_trajectories, execution, qpu_id)
    prepare = partial(_prepare, session, kernel, canonical_operators(spin_operator), shots_count)
    several = isinstance(spin_operator, list)

    def shaped(arguments: tuple[object, ...]) -> Single:
        results = prepare(arguments)()
        return results if several else results[0]

    sets = kernels.argument_sets(kernel, args)
    return shaped(args) if sets is None else [shaped(arguments) for arguments in sets]


def observe_async(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    spin_operator: Any,  # noqa: ANN401 - an operator or a term
    *args: object,
    qpu_id: int = 0,
    shots_count: int | None = -1,
) -> Future[Single]:
    """Compute expectation values in the background; see `observe`. Errors surface at `get`."""

    def prepare() -> Callable[[], Single]:
        refuse_qpu(qpu_id)
        work = _prepare(session, kernel, canonical_operators(spin_operator), shots_count, args)
        return work if isinstance(spin_operator, list) else lambda: work()[0]

    return future.start(prepare)


def _prepare(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    operators: list[cudaq.SpinOperator],
    shots_count: int | None,
    arguments: tuple[object, ...],
) -> Callable[[], list[PasqalObserveResult]]:
    return evaluation(session, kernels.bind(session, kernel, arguments), operators, shots_count)


def evaluation(
    session: Session,
    bound: BoundKernel,
    operators: list[cudaq.SpinOperator],
    shots_count: int | None,
) -> Callable[[], list[PasqalObserveResult]]:
    """Check a kernel against operators.

    Args:
        session: The target in force.
        bound: The kernel with its arguments.
        operators: Canonical operators.
        shots_count: Shots for each group of terms; 0 or less for exact values.

    Returns:
        What is left to do: run and evaluate.

    Raises:
        UnsupportedKernelError: The kernel measures.
        OptionError: An operator is not Hermitian, or acts on qubits the kernel lacks.
    """
    circuit = bound.circuit
    if circuit.measurements:
        raise UnsupportedKernelError(
            circuit.measurements[0].source,
            "a measurement in a kernel for `observe`",
            "the operator says what is measured",
            "Remove the measurements, or use cudaq.sample",
        )
    sums = [read_operator(each, circuit.kernel, circuit.n_qubits) for each in operators]
    given = shots_or_exact(shots_count)
    exact = given is None and not session.options.is_noisy and not is_remote(session)
    default = DEFAULT_SHOTS if exact else default_shots(session, DEFAULT_SHOTS)
    n_shots = shots_or(given, session.options.shots, default)
    rng = session.generator()

    def work() -> list[PasqalObserveResult]:
        strings = [string for each in sums for string in each.strings]
        found = _exact(bound, strings) if exact else _sampled(bound, strings, n_shots, rng)
        return _results(bound, operators, sums, found)

    return work


@dataclass(frozen=True, slots=True)
class _Found:
    """Expectation values and counts of Pauli strings by term id, and the runs behind them."""

    values: dict[str, float] = field(default_factory=dict)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: list[Sampled] = field(default_factory=list)


def _exact(bound: BoundKernel, strings: Iterable[PauliString]) -> _Found:
    wanted = [string for string in strings if string.qubits]
    if not wanted:
        return _Found()
    n_qubits = bound.circuit.n_qubits
    # Refused before the work where what follows cannot fit.
    require_bytes(state_bytes(n_qubits, copies=1.0 + EXACT_COPIES), n_qubits)
    return _Found(exact_values(bound.state(), wanted))


def _sampled(
    bound: BoundKernel, strings: Iterable[PauliString], n_shots: int, rng: np.random.Generator
) -> _Found:
    found = _Found()
    source = Source(bound.circuit.kernel)
    settings = list(group(strings))
    endings = [basis_change(setting, source) for setting in settings]
    for setting, sampled in zip(settings, bound.sample_all(n_shots, rng, endings), strict=True):
        found.runs.append(sampled)
        for string in setting.strings:
            part = sampled.shots.marginal(string.qubits)
            found.values[string.term_id] = _mean_parity(part)
            found.tables[string.term_id] = part.counts()
    return found


def _mean_parity(shots: Shots) -> float:
    odd = shots.bits().sum(axis=1) & 1
    return float(1.0 - 2.0 * odd.mean())


def _results(
    bound: BoundKernel,
    operators: Sequence[cudaq.SpinOperator],
    sums: Sequence[PauliSum],
    found: _Found,
) -> list[PasqalObserveResult]:
    annotations = bound.annotations(*found.runs)
    results = []
    for operator, total in zip(operators, sums, strict=True):
        ids = [string.term_id for string in total.strings if string.qubits]
        results.append(
            observe_result(
                operator,
                total.value(found.values),
                {term_id: found.values[term_id] for term_id in ids},
                {term_id: found.tables.get(term_id, {}) for term_id in ids},
                annotations,
            )
        )
    return results


def canonical_operators(spin_operator: Any) -> list[cudaq.SpinOperator]:  # noqa: ANN401
    """Return canonical copies; CUDA-Q aborts the process when it meets another form later on.

    Args:
        spin_operator: An operator, a term, or a list of them.

    Raises:
        OptionError: Something else is in there.
    """
    given = spin_operator if isinstance(spin_operator, list) else [spin_operator]
    operators = []
    for each in given:
        if isinstance(each, cudaq.SpinOperatorTerm):
            operator = cudaq.SpinOperator(each)
        elif isinstance(each, cudaq.SpinOperator):
            operator = each.copy()
        else:
            raise OptionError(
                f"spin_operator {each!r}",
                "this is no spin operator",
                "Build one from cudaq.spin, or give a list of such operators",
            )
        operator.canonicalize()
        operators.append(operator)
    return operators


def _check(noise_model: object, num_trajectories: object, execution: object, qpu_id: int) -> None:
    refuse_noise_model(noise_model)
    refuse_qpu(qpu_id)
    if num_trajectories is not None:
        raise OptionError(
            "num_trajectories",
            "it belongs to CUDA-Q's noise models",
            "Set Pasqal(noise=pulser.NoiseModel(...), shots=...) instead",
        )
    if execution is not None:
        raise OptionError("execution", "this target has one machine", "Leave the option out")
