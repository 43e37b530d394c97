"""`cudaq.run`, `cudaq.run_async` and direct calls of kernels on this target."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.launch import future, kernels
from cudaq_target.launch.arguments import refuse_noise_model, refuse_qpu, shots_or
from cudaq_target.launch.remote import default_shots

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from cudaq_target.launch.future import Future
    from cudaq_target.launch.kernels import BoundKernel
    from cudaq_target.target import Session

DEFAULT_SHOTS = 100


def run(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    *args: object,
    shots_count: int | None = None,
    noise_model: object = None,
    qpu_id: int = 0,
) -> list[Any]:
    """Run a kernel that returns a value, and return the value of each shot.

    Args:
        session: The target in force.
        kernel: The kernel.
        *args: Its arguments.
        shots_count: Number of shots; by default those of the target, else 100.
        noise_model: Refused: CUDA-Q's noise models act on gates, which atoms do not run.
        qpu_id: Must be 0.

    Returns:
        One value per shot, in order of arrival, computed by the kernel's own classical code from
        the bits measured at the end.

    Raises:
        TargetError: The kernel cannot run here, or an option is not allowed.
    """
    return _prepare(session, kernel, args, shots_count, noise_model, qpu_id)()


def run_async(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    *args: object,
    shots_count: int | None = None,
    noise_model: object = None,
    qpu_id: int = 0,
) -> Future[list[Any]]:
    """Run a kernel in the background; see `run`. Errors surface at `get`."""
    return future.start(partial(_prepare, session, kernel, args, shots_count, noise_model, qpu_id))


def call(session: Session, kernel: Any, *args: object) -> Any:  # noqa: ANN401
    """Call a kernel like a function: one shot, whose return value is the result."""
    bound = kernels.bind(session, kernel, args)
    rng = session.generator()
    if not kernels.returns_value(kernel):
        bound.sample(1, rng)
        return None
    return _values(bound, 1, rng)[0]


def _prepare(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    args: tuple[object, ...],
    shots_count: int | None,
    noise_model: object,
    qpu_id: int,
) -> Callable[[], list[Any]]:
    refuse_noise_model(noise_model)
    refuse_qpu(qpu_id)
    default = default_shots(session, DEFAULT_SHOTS)
    n_shots = shots_or(shots_count, session.options.shots, default)
    if not kernels.returns_value(kernel):
        raise UnsupportedKernelError(
            Source(kernels.name_of(kernel)),
            "`run` of a kernel that returns nothing",
            "the results of a run are what the kernel returns in each shot",
            "Return the measured bits, or use cudaq.sample",
        )
    bound = kernels.bind(session, kernel, args)
    rng = session.generator()
    return lambda: _values(bound, n_shots, rng)


def _values(bound: BoundKernel, n_shots: int, rng: np.random.Generator) -> list[Any]:
    """Sample, and evaluate the kernel's classical code once for each distinct outcome."""
    measured = [event.qubit for event in bound.circuit.measurements]
    outcomes, _, which = bound.sample(n_shots, rng).shots.marginal(measured).outcomes()
    values = [bound.returned(bits) for bits in outcomes.bits()]
    return [values[k] for k in which.tolist()]
