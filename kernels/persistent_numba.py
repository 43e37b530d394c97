"""The dispatcher of `gpu/dispatch.cu` once more, in Numba: a second reading of the same rules.

It serves `rpc_increment`, `echo` and `occupation`. Numba's simulator runs it without a GPU, and its
compiler shows that a loop over a flag in shared memory stays a loop: plain loads are hoisted out of
it, so that flags are read and written by the two instructions below. `PersistentDispatcher` uses
the other one, which is the faster.

Importing this module imports Numba's CUDA target; NUMBA_ENABLE_CUDASIM=1 chooses the simulator.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numba.cuda
import numpy as np
from numba import types, uint8, uint32, uint64

if TYPE_CHECKING:
    from collections.abc import Callable

    Numba = Any  # Numba's types and LLVM's builders have no types in Python

cuda: Any = numba.cuda

REQUEST_MAGIC, RESPONSE_MAGIC = 0x43555152, 0x43555153
INCREMENT, ECHO, OCCUPATION = 0x191B6322, 0xD49DD484, 0x9CBD40FA
HEADER_BYTES, BATCH_BYTES = 24, 24
BAD_REQUEST, UNKNOWN_FUNCTION, BAD_LENGTH, BAD_FRAME = 2, -1, -2, -3
RUN, STOP = 0, 1
STAMP, COMMAND = 0, 1
MAX_QUBITS = 1024

IS_SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in {"", "0"}

if IS_SIMULATED:

    def load_acquire(words: Any, index: int) -> Any:  # noqa: ANN401
        """Load a word; one interpreter runs all threads."""
        return words[index]

    def store_release(words: Any, index: int, value: int) -> None:  # noqa: ANN401
        """Store a word."""
        words[index] = value

else:
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba.cuda.extending import intrinsic

    _LOAD = "ld.acquire.sys.global.u64 $0, [$1];"
    _STORE = "st.release.sys.global.u64 [$0], $1;"

    def _address(context: Numba, builder: Numba, array: Numba, words: Numba, index: Numba) -> Numba:
        data = context.make_array(array)(context, builder, words).data
        return builder.ptrtoint(builder.gep(data, [index]), ir.IntType(64))

    @intrinsic
    def load_acquire(
        _context: Numba, words: Numba, index: Numba
    ) -> tuple[Numba, Callable[..., Numba]]:
        """Load a word that another processor releases, `words[index]`."""

        def emit(context: Numba, builder: Numba, signature: Numba, arguments: Numba) -> Numba:
            address = _address(context, builder, signature.args[0], *arguments)
            word = ir.IntType(64)
            kind = ir.FunctionType(word, [word])
            code = ir.InlineAsm(kind, _LOAD, "=l,l,~{memory}", side_effect=True)
            return builder.call(code, [address])

        return types.uint64(words, index), emit

    @intrinsic
    def store_release(
        _context: Numba, words: Numba, index: Numba, _value: Numba
    ) -> tuple[Numba, Callable[..., Numba]]:
        """Store a word for another processor to acquire, `words[index] = value`."""

        def emit(context: Numba, builder: Numba, signature: Numba, arguments: Numba) -> Numba:
            address = _address(context, builder, signature.args[0], *arguments[:2])
            word = ir.IntType(64)
            kind = ir.FunctionType(ir.VoidType(), [word, word])
            code = ir.InlineAsm(kind, _STORE, "l,l,~{memory}", side_effect=True)
            builder.call(code, [address, arguments[2]])
            return context.get_dummy_value()

        return types.void(words, index, types.uint64), emit


@cuda.jit(device=True)
def read_u32(slot: Any, at: int) -> Any:  # noqa: ANN401
    """Read four bytes that need not be aligned."""
    value = uint32(0)
    for k in range(4):
        value |= uint32(slot[at + k]) << uint32(8 * k)
    return value


@cuda.jit(device=True)
def write_u32(slot: Any, at: int, value: int) -> None:  # noqa: ANN401
    """Write four bytes that need not be aligned."""
    for k in range(4):
        slot[at + k] = uint8((value >> (8 * k)) & 0xFF)


@cuda.jit(device=True)
def occupation(request: Any, response: Any, arg_len: int, capacity: int, counts: Any) -> int:  # noqa: ANN401
    """Count ones per qubit, by all threads; returns the result's length, or -1 for BAD_REQUEST."""
    n_shots = np.int64(read_u32(request, HEADER_BYTES + 16))
    n_qubits = np.int64(read_u32(request, HEADER_BYTES + 20))
    row_bytes = (n_qubits + 63) // 64 * 8
    is_empty = n_shots == 0 and arg_len == BATCH_BYTES
    is_whole = n_qubits > 0 and n_shots > 0 and arg_len == BATCH_BYTES + n_shots * row_bytes
    if not (is_empty or is_whole) or 4 * n_qubits > capacity or n_qubits > MAX_QUBITS:
        return -1
    for qubit in range(cuda.threadIdx.x, n_qubits, cuda.blockDim.x):
        count: Any = 0
        for shot in range(n_shots):
            at = HEADER_BYTES + BATCH_BYTES + shot * row_bytes + qubit // 8
            count += (np.int64(request[at]) >> (qubit % 8)) & 1
        counts[qubit] = count
        write_u32(response, HEADER_BYTES + 4 * qubit, count)
    return int(4 * n_qubits)


@cuda.jit(device=True)
def answer(request: Any, response: Any, counts: Any) -> None:  # noqa: ANN401
    """Write the answer to a request, all but its magic; by all threads."""
    magic, function = read_u32(request, 0), read_u32(request, 4)
    arg_len = np.int64(read_u32(request, 8))
    capacity = response.shape[0] - HEADER_BYTES
    status = 0
    n_result: Any = 0
    if magic != REQUEST_MAGIC:
        status = BAD_FRAME
    elif HEADER_BYTES + arg_len > request.shape[0]:
        status = BAD_LENGTH
    elif function in (INCREMENT, ECHO):
        n_result = arg_len
        if arg_len > capacity:
            status, n_result = BAD_REQUEST, 0
        summand = 1 if function == INCREMENT else 0
        for k in range(cuda.threadIdx.x, n_result, cuda.blockDim.x):
            value = np.int64(request[HEADER_BYTES + k]) + summand
            response[HEADER_BYTES + k] = uint8(value & 0xFF)
    elif function == OCCUPATION:
        n_result = -1
        if arg_len >= BATCH_BYTES:
            n_result = occupation(request, response, arg_len, capacity, counts)
        if n_result < 0:
            status, n_result = BAD_REQUEST, 0
    else:
        status = UNKNOWN_FUNCTION
    if cuda.threadIdx.x == 0:
        write_u32(response, 4, status)
        write_u32(response, 8, n_result)
        for k in range(12, HEADER_BYTES):  # request id and time stamp are echoed
            response[k] = request[k]


@cuda.jit
def dispatch(
    rx_flags: Any,  # noqa: ANN401
    tx_flags: Any,  # noqa: ANN401
    rx_data: Any,  # noqa: ANN401
    tx_data: Any,  # noqa: ANN401
    n_answered: Any,  # noqa: ANN401
    command: Any,  # noqa: ANN401
) -> None:
    """Serve a ring by one block until `command[0]` is not 0.

    Args:
        rx_flags: Mapped, u64[n_slots].
        tx_flags: Mapped, u64[n_slots].
        rx_data: Mapped, u8[n_slots, rx_stride].
        tx_data: Mapped, u8[n_slots, tx_stride].
        n_answered: Mapped, u64[1].
        command: Mapped, u64[1].
    """
    shared = cuda.shared.array(2, uint64)
    counts = cuda.shared.array(MAX_QUBITS, uint32)
    thread = cuda.threadIdx.x
    number = np.int64(n_answered[0])
    while True:
        slot = number % rx_flags.shape[0]
        if thread == 0:
            shared[STAMP], shared[COMMAND] = uint64(0), uint64(0)
            while shared[STAMP] == 0 and shared[COMMAND] == 0:
                shared[STAMP] = load_acquire(rx_flags, slot)
                shared[COMMAND] = load_acquire(command, 0)
        cuda.syncthreads()
        if shared[STAMP] == 0:
            return
        response = tx_data[slot]
        answer(rx_data[slot], response, counts)
        cuda.threadfence_system()
        cuda.syncthreads()
        number += 1
        if thread == 0:
            write_u32(response, 0, RESPONSE_MAGIC)
            store_release(tx_flags, slot, shared[STAMP])
            n_answered[0] = number
            store_release(rx_flags, slot, uint64(0))
        cuda.syncthreads()
