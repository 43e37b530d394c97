"""`cudaq.get_state` and `cudaq.get_state_async` on this target's emulators.

Amplitudes are those of the ideal kernel, global phase included; what the pulses left outside the
two qubit levels is missing from the norm. CUDA-Q counts qubit 0 as the least significant bit of an
index, everything else in this package as the most significant one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cudaq
import numpy as np

from cudaq_target.emulator.memory import require_bytes, state_bytes
from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.launch import future, kernels
from cudaq_target.launch.arguments import refuse_qpu
from cudaq_target.launch.remote import refuse_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cudaq_target.launch.future import Future
    from cudaq_target.target import Session


def get_state(session: Session, kernel: Any, *args: object) -> cudaq.State:  # noqa: ANN401
    """Return the state a kernel prepares.

    Args:
        session: The target in force.
        kernel: A decorated or built kernel; of one that measures, the state before it does.
        *args: Its arguments.

    Returns:
        CUDA-Q's state object, with amplitudes ordered as CUDA-Q's simulators order them.

    Raises:
        TargetError: The kernel cannot run here, or the machine has no state to show.
        MemoryLimitError: The state, or a copy of it that is needed, would not fit into memory.
    """
    return _prepare(session, kernel, args)()


def get_state_async(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    *args: object,
    qpu_id: int = 0,
) -> Future[cudaq.State]:
    """Return a state in the background; see `get_state`. Errors surface at `get`."""

    def prepare() -> Callable[[], cudaq.State]:
        refuse_qpu(qpu_id)
        return _prepare(session, kernel, args)

    return future.start(prepare)


def qubit_0_least_significant(state: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Reverse the order of qubits in the index of a state vector.

    >>> qubit_0_least_significant(np.array([0, 1, 2, 3], dtype=complex)).real.tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    n_qubits = state.size.bit_length() - 1
    reversed_axes = state.reshape((2,) * n_qubits).transpose()
    return np.ascontiguousarray(reversed_axes).reshape(-1)


def _prepare(
    session: Session,
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    args: tuple[object, ...],
) -> Callable[[], cudaq.State]:
    if session.options.is_noisy:
        raise UnsupportedKernelError(
            Source(kernels.name_of(kernel)),
            "`get_state` with noise",
            "a noisy program ends in no single state",
            "Leave Pasqal(noise=...) out, or use cudaq.sample",
        )
    refuse_state(session, kernels.name_of(kernel))
    bound = kernels.bind(session, kernel, args)
    n_qubits = bound.circuit.n_qubits

    def work() -> cudaq.State:
        # Refused before the work where the last two of the copies below cannot fit.
        require_bytes(state_bytes(n_qubits, copies=2.0), n_qubits)
        state = bound.state()
        require_bytes(state.nbytes, n_qubits)
        reordered = qubit_0_least_significant(state)
        del state
        require_bytes(reordered.nbytes, n_qubits)
        return cudaq.State.from_data(reordered)

    return work
