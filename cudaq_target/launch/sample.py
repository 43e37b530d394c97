"""`cudaq.sample` and `cudaq.sample_async` on this target."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cudaq.runtime import sample as stock

from cudaq_target.errors import OptionError
from cudaq_target.launch import future, kernels
from cudaq_target.launch.arguments import refuse_noise_model, refuse_qpu, shots_or
from cudaq_target.launch.remote import default_shots
from cudaq_target.launch.results import sample_result
from cudaq_target.readout import readout_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from cudaq_target.launch.future import Future
    from cudaq_target.launch.kernels import BoundKernel
    from cudaq_target.launch.results import PasqalSampleResult
    from cudaq_target.target import Session

DEFAULT_SHOTS = 1000


def sample(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    *args: object,
    shots_count: int | None = None,
    noise_model: object = None,
    explicit_measurements: bool = False,
) -> PasqalSampleResult | list[PasqalSampleResult]:
    """Sample a kernel.

    Args:
        session: The target in force.
        kernel: The kernel.
        *args: Its arguments, or lists of arguments to broadcast over.
        shots_count: Number of shots; by default those of the target, else 1000.
        noise_model: Refused: CUDA-Q's noise models act on gates, which atoms do not run.
        explicit_measurements: Concatenate all measurements in the order of execution.

    Returns:
        Counts of the measured qubits (all qubits where the kernel measures none), qubit 0
        leftmost; a list of them when broadcasting.

    Raises:
        TargetError: The kernel cannot run here, or an option is not allowed.
    """
    _check(kernel, noise_model)
    default = default_shots(session, DEFAULT_SHOTS)
    n_shots = shots_or(shots_count, session.options.shots, default)
    prepare = partial(_prepare, session, kernel, n_shots, explicit_measurements)
    sets = kernels.argument_sets(kernel, args)
    if sets is None:
        return prepare(args)()
    return [prepare(arguments)() for arguments in sets]


def sample_async(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    *args: object,
    shots_count: int | None = None,
    explicit_measurements: bool = False,
    noise_model: object = None,
    qpu_id: int = 0,
) -> Future[PasqalSampleResult]:
    """Sample a kernel in the background; see `sample`. Errors surface at `get`."""

    def prepare() -> Callable[[], PasqalSampleResult]:
        _check(kernel, noise_model)
        refuse_qpu(qpu_id)
        default = default_shots(session, DEFAULT_SHOTS)
        n_shots = shots_or(shots_count, session.options.shots, default)
        return _prepare(session, kernel, n_shots, explicit_measurements, args)

    return future.start(prepare)


def counted(
    session: Session, bound: BoundKernel, n_shots: int, *, explicit: bool
) -> Callable[[], PasqalSampleResult]:
    """Check a kernel and the way its measurements are to be arranged.

    Args:
        session: The target in force.
        bound: The kernel with its arguments.
        n_shots: Number of shots.
        explicit: Concatenate all measurements in the order of execution.

    Returns:
        What is left to do: run and count.

    Raises:
        OptionError: `explicit`, but the kernel measures nothing.
    """
    circuit = bound.circuit
    if explicit and not circuit.measurements:
        raise OptionError(
            "explicit_measurements",
            f"kernel {circuit.kernel} measures nothing",
            "Measure qubits in the kernel, or leave the option out",
        )
    registers = readout_order(circuit, explicit=explicit)
    rng = session.generator()

    def work() -> PasqalSampleResult:
        sampled = bound.sample(n_shots, rng)
        return sample_result(sampled.shots, registers, bound.annotations(sampled))

    return work


def _check(kernel: object, noise_model: object) -> None:
    refuse_noise_model(noise_model)
    if getattr(kernel, "return_type", None) is not None:
        # A mistake on every target: CUDA-Q's own check says so in CUDA-Q's own words.
        stock._detail_check_conditionals_on_measure(kernel)


def _prepare(
    session: Session,
    kernel: object,
    n_shots: int,
    explicit: bool,
    arguments: tuple[object, ...],
) -> Callable[[], PasqalSampleResult]:
    bound = kernels.bind(session, kernel, arguments)
    return counted(session, bound, n_shots, explicit=explicit)
