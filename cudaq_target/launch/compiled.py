"""Launches that come out of CUDA-Q's own launch machinery, through the endpoint.

What arrives there is a compiled module with its arguments, of which CUDA-Q cannot hand over those
that are kernels (among them every sub-kernel that a kernel captures). So the call of the kernel
that led here is launched instead, which also shares everything kept for that kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.launch import kernels, redirect
from cudaq_target.launch import observe as observing
from cudaq_target.launch import sample as sampling

if TYPE_CHECKING:
    import cudaq

    from cudaq_target.launch.kernels import BoundKernel
    from cudaq_target.launch.results import PasqalObserveResult, PasqalSampleResult
    from cudaq_target.target import Session


def sample(
    session: Session, module_name: str, n_shots: int, *, explicit_measurements: bool
) -> PasqalSampleResult:
    """Sample the kernel that CUDA-Q is launching.

    Args:
        session: The target in force.
        module_name: Name of the module that arrived.
        n_shots: Number of shots.
        explicit_measurements: Concatenate all measurements in the order of execution.
    """
    bound = _bind(session, module_name)
    return sampling.counted(session, bound, n_shots, explicit=explicit_measurements)()


def observe(
    session: Session, module_name: str, spin_operator: cudaq.SpinOperator, shots_count: int
) -> PasqalObserveResult:
    """Compute an expectation value in the state prepared by the kernel that CUDA-Q is launching.

    Values of single terms reach the caller with `shots_count` only: CUDA-Q copies the result into
    an object of its own, which derives them from counts.

    Args:
        session: The target in force.
        module_name: Name of the module that arrived.
        spin_operator: A Hermitian operator.
        shots_count: Shots for each group of terms; 0 for the exact value.
    """
    bound = _bind(session, module_name)
    operators = observing.canonical_operators(spin_operator)
    return observing.evaluation(session, bound, operators, shots_count)()[0]


def _bind(session: Session, module_name: str) -> BoundKernel:
    call = redirect.launched()
    if call is None:
        raise UnsupportedKernelError(
            Source(module_name.partition("..")[0]),
            "a module launched without its kernel",
            "its arguments cannot be read back from CUDA-Q",
            "Call cudaq.sample, cudaq.observe or cudaq.run with the kernel, or cudaq.evolve",
        )
    kernel, values = call
    return kernels.bind(session, kernel, values)
