"""Handlers that reduce a batch of shots without Python: the kernels behind a dispatcher.

Requests carry one shot batch, `FORMAT.md`; anything else is answered BAD_REQUEST. Bits beyond
`n_qubits` in the rows are ignored. Compiling takes a second or so, once per process.

| factory | answer |
|---|---|
| `occupation` | ones per qubit in this batch, u32[n_qubits]; the same bytes as the built-in |
| `running_occupation` | shots seen in this session, u64, and ones per qubit, u64[n_qubits] |
| `add_function` | parities and mean Ising energies of `kernels.persistent_functions`, as on a GPU |
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.coupler.handlers import Handler, handler, stateful_handler
from cudaq_target.kernels.cpu.carry_save import count_ones
from cudaq_target.kernels.cpu.handlers import compiled_handler
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.persistent_functions import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler._native import Dispatcher
    from cudaq_target.kernels.persistent_functions import DeviceFunction

    Bytes = NDArray[np.uint8]

_BAD_REQUEST = 2  # `frame.Status`; a literal, as compiled code knows no enumerations
_HEADER_BYTES = 24
_STATE_HEAD_BYTES = 16


@compiled
def batch_shape(arguments: Bytes) -> tuple[int, int]:
    """Read how many shots and qubits a batch has; (-1, 0) where its length disagrees."""
    n_bytes = np.int64(len(arguments))
    if n_bytes < _HEADER_BYTES or n_bytes % 8 != 0:
        return -1, 0
    shape = arguments[16:24].view(np.uint32)
    n_shots, n_qubits = np.int64(shape[0]), np.int64(shape[1])
    if n_shots == 0:
        return (0, int(n_qubits)) if n_bytes == _HEADER_BYTES else (-1, 0)
    n_words = (n_qubits + 63) // 64
    if n_words == 0 or n_bytes != _HEADER_BYTES + 8 * n_shots * n_words:
        return -1, 0
    return int(n_shots), int(n_qubits)


@compiled
def ones_of(arguments: Bytes, n_shots: int, n_qubits: int) -> NDArray[np.int64]:
    """Count the ones per qubit of a whole batch, shape (n_qubits,)."""
    n_words = (n_qubits + 63) // 64
    rows = arguments[_HEADER_BYTES:].view(np.uint64)
    return count_ones(rows.reshape((n_shots, n_words if n_shots > 0 else 1)), n_qubits)


@cache
def occupation() -> Handler:
    """Make the handler that counts the ones of each batch; its name on the wire is `occupation`."""

    def answer(arguments: Bytes, result: Bytes) -> int:
        n_shots, n_qubits = batch_shape(arguments)
        n_bytes = 4 * n_qubits
        if n_shots < 0 or n_bytes > len(result):
            return -_BAD_REQUEST
        result[:n_bytes].view(np.uint32)[:] = ones_of(arguments, n_shots, n_qubits)
        return n_bytes

    return handler(answer)


def running_state_bytes(max_qubits: int) -> int:
    """Memory per session that `running_occupation` needs (bytes): `Dispatcher(session_bytes=…)`."""
    return _STATE_HEAD_BYTES + 8 * max_qubits


@cache
def running_occupation(max_qubits: int) -> Handler:
    """Make the handler that counts the ones of all batches of a session.

    A batch without shots asks for the counts as they are. A batch of another width than the first
    one, or of more than `max_qubits` qubits, is answered BAD_REQUEST and changes nothing. Give the
    dispatcher a `window`, and a request that arrives twice is counted once.

    Args:
        max_qubits: Widest batch.

    Returns:
        A handler with state; zeros at the start of a session.

    Raises:
        ValueError: `max_qubits` is below 1.
    """
    if max_qubits < 1:
        raise ValueError(f"max_qubits is {max_qubits}; at least 1 is needed")

    def answer(arguments: Bytes, result: Bytes, state: Bytes) -> int:
        totals = state.view(np.uint64)  # shots, qubits, ones per qubit
        n_shots, n_qubits = batch_shape(arguments)
        n_bytes = 8 + 8 * n_qubits
        if n_shots < 0 or n_qubits > max_qubits or n_bytes > len(result):
            return -_BAD_REQUEST
        if totals[0] > 0 and totals[1] != np.uint64(n_qubits):
            return -_BAD_REQUEST
        ones = ones_of(arguments, n_shots, n_qubits)
        totals[0] += np.uint64(n_shots)
        totals[1] = np.uint64(n_qubits)
        answered = result[:n_bytes].view(np.uint64)
        answered[0] = totals[0]
        for k in range(n_qubits):
            totals[2 + k] += np.uint64(ones[k])
            answered[1 + k] = totals[2 + k]
        return n_bytes

    return stateful_handler(answer, running_state_bytes(max_qubits))


def add_function(
    dispatcher: Dispatcher, name: str, function: DeviceFunction, *, deadline_ns: int = 0
) -> None:
    """Register parities or a mean Ising energy, with the answers that a GPU would give.

    Args:
        dispatcher: Where.
        name: Its id is the hash of its name.
        function: From `kernels.persistent_functions.parities` or `ising_mean`.
        deadline_ns: A later result is answered DEADLINE (ns); 0 for none.

    Raises:
        KernelInputError: The function has a name of its own in the dispatcher.
        ValueError: The name is taken.
    """
    machine_code = compiled_handler(function)
    dispatcher.add_address(
        name,
        machine_code.address,
        stateful=True,
        state=machine_code.state,
        min_arg_bytes=function.min_arg_bytes,
        deadline_ns=deadline_ns,
        float64_result=function.kind is Kind.ISING_MEAN,
        keep_alive=machine_code,
    )
