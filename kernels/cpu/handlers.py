"""Functions of `kernels.persistent_functions` for the native dispatcher: compiled, without Python.

Their state is one array of 64-bit words: n_bits, n_rows, then the tables. Answers have the bits of
those of `gpu/handlers.cuh`, sums of floats included: they are added in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np
from numba import carray, types

from cudaq_target.kernels.cpu.bits import popcount
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.persistent_functions import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.kernels.persistent_functions import DeviceFunction

    Words = NDArray[np.uint64]
    Halves = NDArray[np.uint32]
    Reals = NDArray[np.float64]

_OK, _BAD_REQUEST = 0, 2
_BATCH_WORDS = 3
_N_LANES = 256  # threads of the block on the GPU, whose order of adding is repeated here

_Word: Final = types.CPointer(types.uint64)
_SIGNATURE: Final = types.int32(
    _Word, _Word, types.uint32, types.uint32, types.CPointer(types.uint32), _Word
)


@compiled
def _n_shots_of(head: Words, n_bits: int, arg_len: int) -> int:
    """Shots of a whole batch of `n_bits` qubits; 0 for anything else."""
    n_shots = np.int64(head[2] & np.uint64(0xFFFFFFFF))
    n_qubits = np.int64(head[2] >> np.uint64(32))
    n_words = (n_bits + 63) // 64
    if n_qubits != n_bits or arg_len != 8 * (_BATCH_WORDS + n_shots * n_words):
        return 0
    return int(n_shots)


@compiled
def parity_rows(rows: Words, masks: Words, out: Words) -> None:
    """Write the parities of rows under masks as packed rows.

    Args:
        rows: Shape (n_shots, n_words).
        masks: Shape (n_checks, n_words).
        out: Shape (n_shots, ceil(n_checks / 64)).
    """
    for shot in range(rows.shape[0]):
        for k in range(out.shape[1]):
            out[shot, k] = np.uint64(0)
        for check in range(masks.shape[0]):
            word = np.uint64(0)
            for k in range(rows.shape[1]):
                word ^= rows[shot, k] & masks[check, k]
            odd = np.uint64(popcount(word)) & np.uint64(1)
            out[shot, check // 64] |= odd << np.uint64(check % 64)


@compiled
def _bit(row: Words, qubit: int) -> np.uint64:
    return np.uint64((row[qubit // 64] >> np.uint64(qubit % 64)) & np.uint64(1))


@compiled
def mean_energy(rows: Words, numbers: Reals, pairs: Halves, sums: Reals) -> float:
    """Average an Ising energy over rows.

    Args:
        rows: Shape (n_shots, n_words).
        numbers: Constant, fields, weights, shape (1 + n_qubits + n_pairs,).
        pairs: Qubits of each pair, shape (n_pairs, 2).
        sums: Work space, shape (256,).

    Returns:
        The mean.
    """
    n_qubits = numbers.shape[0] - 1 - pairs.shape[0]
    sums[:] = 0.0
    for i in range(numbers.shape[0] - 1):
        n_odd = np.uint64(0)
        for shot in range(rows.shape[0]):
            if i < n_qubits:
                n_odd += _bit(rows[shot], i)
            else:
                a, b = int(pairs[i - n_qubits, 0]), int(pairs[i - n_qubits, 1])
                n_odd += _bit(rows[shot], a) ^ _bit(rows[shot], b)
        mean = 1.0 - 2.0 * np.float64(n_odd) / np.float64(rows.shape[0])
        sums[i % sums.shape[0]] += numbers[1 + i] * mean
    width = sums.shape[0] // 2
    while width > 0:
        for k in range(width):
            sums[k] += sums[k + width]
        width //= 2
    return float(numbers[0] + sums[0])


def _parities(inputs, out, arg_len, max_len, result_len, state):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    result_len[0] = types.uint32(0)
    n_bits, n_checks = int(state[0]), int(state[1])
    n_words, n_out = (n_bits + 63) // 64, (n_checks + 63) // 64
    n_shots = _n_shots_of(carray(inputs, _BATCH_WORDS), n_bits, int(arg_len))
    if n_shots == 0 or 8 * n_shots * n_out > int(max_len):
        return types.int32(_BAD_REQUEST)
    words = carray(inputs, _BATCH_WORDS + n_shots * n_words)
    tables = carray(state, 2 + n_checks * n_words)
    parity_rows(
        words[_BATCH_WORDS:].reshape(n_shots, n_words),
        tables[2:].reshape(n_checks, n_words),
        carray(out, (n_shots, n_out)),
    )
    result_len[0] = types.uint32(8 * n_shots * n_out)
    return types.int32(_OK)


def _ising_mean(inputs, out, arg_len, max_len, result_len, state):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    result_len[0] = types.uint32(0)
    n_bits, n_pairs = int(state[0]), int(state[1])
    n_words = (n_bits + 63) // 64
    n_shots = _n_shots_of(carray(inputs, _BATCH_WORDS), n_bits, int(arg_len))
    if n_shots == 0 or int(max_len) < 8:
        return types.int32(_BAD_REQUEST)
    words = carray(inputs, _BATCH_WORDS + n_shots * n_words)
    n_numbers = 1 + n_bits + n_pairs
    tables = carray(state, 2 + n_numbers + n_pairs + _N_LANES)
    end = 2 + n_numbers
    result = carray(out, 1).view(np.float64)
    result[0] = mean_energy(
        words[_BATCH_WORDS:].reshape(n_shots, n_words),
        tables[2:end].view(np.float64),
        tables[end : end + n_pairs].view(np.uint32).reshape(n_pairs, 2),
        tables[end + n_pairs :].view(np.float64),
    )
    result_len[0] = types.uint32(8)
    return types.int32(_OK)


@dataclass(frozen=True, slots=True)
class CompiledHandler:
    """A function with the signature of `Dispatcher.add_address`, stateful.

    Attributes:
        address: Of its code.
        state: Its tables, writable, shape (n_bytes,).
        code: What owns the code.
    """

    address: int
    state: NDArray[np.uint8]
    code: object


def compiled_handler(function: DeviceFunction) -> CompiledHandler:
    """Compile a function of the GPU for the native dispatcher.

    Args:
        function: Parities or a mean energy; the others are built into the dispatcher.

    Raises:
        KernelInputError: Another kind, or a known kind under a name of its own.
    """
    bodies: dict[Kind, Any] = {Kind.PARITIES: _parities, Kind.ISING_MEAN: _ising_mean}
    if function.kind not in bodies:
        found = f"is {function.kind.name.lower()} under another name"
        raise KernelInputError("function", found, "the CPU has it under its own name")
    code = numba.cfunc(_SIGNATURE, nopython=True)(bodies[function.kind])
    parts = [np.array([function.n_bits, function.n_rows], dtype=np.uint64)]
    parts += [part.reshape(-1).view(np.uint64) for part in (function.table, function.indices)]
    if function.kind == Kind.ISING_MEAN:
        parts.append(np.zeros(_N_LANES, dtype=np.uint64))
    return CompiledHandler(int(code.address), np.concatenate(parts).view(np.uint8), code)
