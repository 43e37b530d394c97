"""Launches that arrive as modules from CUDA-Q's own launch machinery, through the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cudaq_target.launch import observe as observing
from cudaq_target.launch import sample as sampling
from cudaq_target.launch.kernels import BoundKernel
from cudaq_target.quake.reader import read_module

if TYPE_CHECKING:
    import cudaq

    from cudaq_target.launch.results import PasqalObserveResult, PasqalSampleResult
    from cudaq_target.target import Session


def sample(
    session: Session,
    module: Any,  # noqa: ANN401 - CUDA-Q's compiled module
    arguments: Any,  # noqa: ANN401 - CUDA-Q's list of processed arguments
    n_shots: int,
    *,
    explicit_measurements: bool,
) -> PasqalSampleResult:
    """Sample a module.

    Args:
        session: The target in force.
        module: The kernel as CUDA-Q compiled it; its MLIR is read.
        arguments: Arguments, captured ones last.
        n_shots: Number of shots.
        explicit_measurements: Concatenate all measurements in the order of execution.
    """
    bound = _bind(session, module, arguments)
    return sampling.counted(session, bound, n_shots, explicit=explicit_measurements)()


def observe(
    session: Session,
    module: Any,  # noqa: ANN401 - CUDA-Q's compiled module
    arguments: Any,  # noqa: ANN401 - CUDA-Q's list of processed arguments
    spin_operator: cudaq.SpinOperator,
    shots_count: int,
) -> PasqalObserveResult:
    """Compute an expectation value in the state a module prepares.

    Values of single terms reach the caller with `shots_count` only: CUDA-Q copies the result into
    an object of its own, which derives them from counts.

    Args:
        session: The target in force.
        module: The kernel as CUDA-Q compiled it; its MLIR is read.
        arguments: Arguments, captured ones last.
        spin_operator: A Hermitian operator.
        shots_count: Shots for each group of terms; 0 for the exact value.
    """
    bound = _bind(session, module, arguments)
    operators = observing.canonical_operators(spin_operator)
    return observing.evaluation(session, bound, operators, shots_count)()[0]


def _bind(session: Session, module: Any, arguments: Any) -> BoundKernel:  # noqa: ANN401
    form = read_module(module.mlir_module, module.name)
    return BoundKernel(form, list(arguments), session)
