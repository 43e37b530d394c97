"""Packed shots in other forms: as bytes, as bit planes, fewer rows, fewer columns, joined.

The forms are those of `kernels.packed`: shots are `uint64[n_shots, ceil(n_bits / 64)]`, planes are
their transpose, `uint64[n_bits, ceil(n_shots / 64)]`: bit s % 64 of word s // 64 of plane k is the
outcome of qubit k in shot s. Every function takes no shots and shots of no bits, and gives exactly
the same on every back end. Results lie where the input lay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.backends import Backend, implementation, is_on_device
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import (
    check_bit_count,
    check_planes,
    check_qubits,
    check_shots,
    word_count,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Bits = NDArray[np.uint8] | NDArray[np.bool_]


def unpack_bits(shots: Words, n_bits: int, *, backend: Backend = "auto") -> NDArray[np.uint8]:
    """Spread packed shots over bytes.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        backend: Where to compute.

    Returns:
        Zeros and ones, shape (n_shots, n_bits).

    Raises:
        KernelInputError: `shots` are not packed shots of `n_bits` bits.
        BackendUnavailableError: The back end does not run here.

    >>> unpack_bits(np.array([[6]], dtype=np.uint64), 4).tolist()
    [[0, 1, 1, 0]]
    """
    check_shots(shots, n_bits, allow_empty=True)
    result: NDArray[np.uint8] = implementation("layout", backend, shots).unpack_bits(
        shots, int(n_bits)
    )
    return result


def pack_bits(bits: Bits, *, backend: Backend = "auto") -> Words:
    """Pack one byte per bit into shots; undoes `unpack_bits`.

    Args:
        bits: Zeros and ones, uint8 or bool, shape (n_shots, n_bits), C-contiguous.
        backend: Where to compute.

    Returns:
        Packed shots, shape (n_shots, ceil(n_bits / 64)).

    Raises:
        KernelInputError: Wrong dtype, shape or strides, or a value above 1.
        BackendUnavailableError: The back end does not run here.

    >>> pack_bits(np.array([[0, 1, 1, 0]], dtype=np.uint8)).tolist()
    [[6]]
    """
    dtype = getattr(bits, "dtype", None)
    if dtype not in (np.uint8, np.bool_):
        found = f"is a {type(bits).__name__}" if dtype is None else f"has dtype {dtype}"
        raise KernelInputError("bits", found, "give an array of uint8 or bool")
    if bits.ndim != 2:
        raise KernelInputError("bits", f"has shape {bits.shape}", "expected (n_shots, n_bits)")
    if not bits.flags.c_contiguous:
        expected = "pass numpy.ascontiguousarray(...) or cupy.ascontiguousarray(...) of it"
        raise KernelInputError("bits", f"has strides {bits.strides}", expected)
    as_bytes = bits.view(np.uint8)
    if dtype == np.uint8 and as_bytes.size and (largest := int(as_bytes.max())) > 1:
        raise KernelInputError("bits", f"holds {largest}", "a bit is 0 or 1")
    result: Words = implementation("layout", backend, bits).pack_bits(as_bytes)
    return result


def transpose_bits(shots: Words, n_bits: int, *, backend: Backend = "auto") -> Words:
    """Turn packed shots into bit planes: one row per qubit, one bit per shot.

    Blocks of 64 × 64 bits are transposed by swapping halves, quarters, … (H. S. Warren, Hacker's
    Delight, 2nd edition, section 7-3).

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        backend: Where to compute.

    Returns:
        Planes, shape (n_bits, ceil(n_shots / 64)); bits beyond the last shot are 0.

    Raises:
        KernelInputError: `shots` are not packed shots of `n_bits` bits.
        BackendUnavailableError: The back end does not run here.

    >>> transpose_bits(np.array([[1], [3]], dtype=np.uint64), 2).tolist()
    [[3], [2]]
    """
    check_shots(shots, n_bits, allow_empty=True)
    result: Words = implementation("layout", backend, shots).transpose_bits(shots, int(n_bits))
    return result


def planes_to_shots(planes: Words, n_shots: int, *, backend: Backend = "auto") -> Words:
    """Turn bit planes back into packed shots; undoes `transpose_bits`.

    Args:
        planes: Planes, shape (n_bits, ceil(n_shots / 64)).
        n_shots: Shots per plane.
        backend: Where to compute.

    Returns:
        Packed shots, shape (n_shots, ceil(n_bits / 64)).

    Raises:
        KernelInputError: `planes` are not planes of `n_shots` shots.
        BackendUnavailableError: The back end does not run here.

    >>> planes_to_shots(np.array([[3], [2]], dtype=np.uint64), 2).tolist()
    [[1], [3]]
    """
    check_planes(planes, n_shots)
    result: Words = implementation("layout", backend, planes).planes_to_shots(planes, int(n_shots))
    return result


def select_shots(
    shots: Words, n_bits: int, mask: NDArray[np.bool_], *, backend: Backend = "auto"
) -> Words:
    """Keep some shots, in their order.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        mask: Whether to keep each shot, shape (n_shots,); where `shots` lies.
        backend: Where to compute.

    Returns:
        Packed shots, shape (n_kept, ceil(n_bits / 64)).

    Raises:
        KernelInputError: `shots` are not packed shots, or `mask` is not one bool per shot.
        BackendUnavailableError: The back end does not run here.

    >>> select_shots(np.array([[1], [3]], dtype=np.uint64), 2, np.array([False, True])).tolist()
    [[3]]
    """
    check_shots(shots, n_bits, allow_empty=True)
    dtype = getattr(mask, "dtype", None)
    if dtype != np.bool_ or mask.shape != (len(shots),):
        found = f"is a {type(mask).__name__}" if dtype is None else f"is {dtype}{mask.shape}"
        raise KernelInputError("mask", found, f"expected bool({len(shots)},)")
    if is_on_device(mask) != is_on_device(shots):
        raise KernelInputError("mask", "lies elsewhere than shots", "bring both to one side")
    result: Words = implementation("layout", backend, shots).select_shots(
        shots, np.ascontiguousarray(mask) if not is_on_device(mask) else mask
    )
    return result


def post_select(
    shots: Words, n_bits: int, outcomes: Mapping[int, int], *, backend: Backend = "auto"
) -> Words:
    """Keep the shots in which certain qubits had certain outcomes, in their order.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        outcomes: 0 or 1 per qubit; empty keeps every shot.
        backend: Where to compute.

    Returns:
        Packed shots, shape (n_kept, ceil(n_bits / 64)), of all `n_bits` bits.

    Raises:
        KernelInputError: `shots` are not packed shots, or `outcomes` names a qubit that is missing
            or an outcome other than 0 and 1.
        BackendUnavailableError: The back end does not run here.

    >>> post_select(np.array([[1], [2], [3]], dtype=np.uint64), 2, {0: 1, 1: 0}).tolist()
    [[1]]
    """
    check_shots(shots, n_bits, allow_empty=True)
    mask, value = outcome_words(outcomes, n_bits)
    result: Words = implementation("layout", backend, shots).post_select(shots, mask, value)
    return result


def outcome_words(outcomes: Mapping[int, int], n_bits: int) -> tuple[Words, Words]:
    """Write outcomes of qubits as words to compare shots with: `shot & mask == value`.

    Args:
        outcomes: 0 or 1 per qubit.
        n_bits: Bits per shot.

    Returns:
        Mask and value, each of shape (ceil(n_bits / 64),), on the host.

    Raises:
        KernelInputError: A qubit is missing, or an outcome is neither 0 nor 1.

    >>> [words.tolist() for words in outcome_words({0: 1, 3: 0}, 4)]
    [[9], [1]]
    """
    check_bit_count(n_bits)
    if not isinstance(outcomes, Mapping):
        found = f"are a {type(outcomes).__name__}"
        raise KernelInputError("outcomes", found, "map qubits to 0 or 1")
    qubits = check_qubits(list(outcomes), n_bits, name="outcomes")
    mask, value = np.zeros((2, word_count(n_bits)), dtype=np.uint64)
    for qubit, outcome in zip(qubits.tolist(), outcomes.values(), strict=True):
        if outcome not in (0, 1):
            found = f"gives qubit {qubit} the outcome {outcome!r}"
            raise KernelInputError("outcomes", found, "an outcome is 0 or 1")
        bit = np.uint64(1 << qubit % 64)
        mask[qubit // 64] |= bit
        value[qubit // 64] |= bit if outcome else np.uint64(0)
    return mask, value


def concatenate_shots(
    frames: Sequence[tuple[Words, int]], *, backend: Backend = "auto"
) -> tuple[Words, int]:
    """Join the shots of several frames of one stream.

    Args:
        frames: Packed shots and their bits per shot, at least one frame; all of one width.
        backend: Where to compute.

    Returns:
        Packed shots, shape (n_shots of all frames, ceil(n_bits / 64)), and n_bits.

    Raises:
        KernelInputError: There is no frame, the widths differ, or a frame does not hold packed
            shots.
        BackendUnavailableError: The back end does not run here.

    >>> one = np.array([[1]], dtype=np.uint64)
    >>> concatenate_shots([(one, 2), (one, 2)])[0].tolist()
    [[1], [1]]
    """
    if not frames:
        raise KernelInputError("frames", "is empty", "give at least one frame")
    for k, frame in enumerate(frames):
        if not (isinstance(frame, tuple | list) and len(frame) == 2):
            raise KernelInputError(
                f"frame {k}", f"is of type {type(frame).__name__}", "give pairs (shots, n_bits)"
            )
    n_bits = frames[0][1]
    for k, (shots, width) in enumerate(frames):
        if width != n_bits:
            found = f"{k} has {width} bits per shot, frame 0 has {n_bits}"
            raise KernelInputError("frame", found, "all frames need one width")
        check_shots(shots, width, name=f"frame {k}", allow_empty=True)
    arrays = [shots for shots, _ in frames]
    if len({is_on_device(shots) for shots in arrays}) > 1:
        raise KernelInputError("frames", "lie on the host and on a GPU", "bring them to one side")
    result: Words = implementation("layout", backend, *arrays).concatenate_shots(arrays)
    return result, int(n_bits)


def marginal_bits(
    shots: Words, n_bits: int, qubits: Sequence[int], *, backend: Backend = "auto"
) -> Words:
    """Keep some qubits of every shot, in any order.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        qubits: Which to keep, each once; bit j of the result is qubit `qubits[j]`.
        backend: Where to compute.

    Returns:
        Packed shots, shape (n_shots, ceil(n_qubits / 64)).

    Raises:
        KernelInputError: `shots` are not packed shots, or `qubits` names a qubit that is missing
            or one twice.
        BackendUnavailableError: The back end does not run here.

    >>> marginal_bits(np.array([[4]], dtype=np.uint64), 3, [2, 0]).tolist()
    [[1]]
    """
    check_shots(shots, n_bits, allow_empty=True)
    kept = check_qubits(qubits, n_bits)
    result: Words = implementation("layout", backend, shots).marginal_bits(shots, int(n_bits), kept)
    return result
