"""Parities and look-ups on a GPU; `kernels.decoding` says what each function takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.gpu import device
from cudaq_target.kernels.gpu.layout import planes_to_shots, transpose_bits
from cudaq_target.kernels.packed import word_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Numbers = NDArray[np.int64]

# Of decoding.cu: half-words of shared memory per half-word of a row: as planes, and as sums.
_TILE_SHOTS = 1024
_PLANE_HALVES, _SUM_HALVES = 32 * 32 + 4, 32 * 32
_MOST_SHARED_BYTES = 96 << 10  # which every device since compute capability 8.0 has


def check_lists(masks: Words, n_bits: int) -> tuple[Numbers, Numbers]:
    """Write checks as lists of qubits.

    Args:
        masks: Packed rows on the host, shape (n_checks, ceil(n_bits / 64)).
        n_bits: Qubits.

    Returns:
        First place of each check's qubits, with the end of the last, shape (n_checks + 1,); and the
        qubits, ascending within a check.
    """
    as_bytes = masks.astype("<u8", copy=False).view(np.uint8)
    members = np.unpackbits(as_bytes, axis=1, count=n_bits, bitorder="little")
    checks, qubits = np.nonzero(members)
    starts = np.searchsorted(checks, np.arange(len(masks) + 1))
    return starts.astype(np.int64), qubits.astype(np.int64)


@dataclass(frozen=True, slots=True)
class CheckLists:
    """Lists of `check_lists` in the memory of a device."""

    starts: Numbers
    qubits: Numbers
    n_checks: int


def _lists_of(masks: Words, n_bits: int) -> CheckLists:
    """Copy the lists of some checks to the device; kept there, as frames of one code share them."""
    packed = np.ascontiguousarray(masks).tobytes()
    return _cached_lists(packed, len(masks), n_bits, device.device_id())


@lru_cache(maxsize=16)
def _cached_lists(packed: bytes, n_checks: int, n_bits: int, _device: int) -> CheckLists:
    masks = np.frombuffer(packed, dtype=np.uint64).reshape(n_checks, word_count(n_bits))
    starts, qubits = check_lists(masks, n_bits)
    xp = device.arrays()
    return CheckLists(xp.asarray(starts), xp.asarray(qubits), n_checks)


def parity_rows(shots: Words, n_bits: int, masks: Words) -> Words:
    """Take the parities of shots under masks.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        masks: The qubits of each check, packed, on the host, shape (n_checks, ceil(n_bits / 64)).

    Returns:
        Packed parities, bit c for check c, shape (n_shots, ceil(n_checks / 64)).
    """
    return _parity_rows(shots, n_bits, _lists_of(masks, n_bits))


@device.lands_at_home
def _parity_rows(shots: Words, n_bits: int, checks: CheckLists) -> Words:
    n_shots, n_words = shots.shape
    n_out = word_count(checks.n_checks)
    n_halves = max(2 * n_words * _PLANE_HALVES, 32 * (32 * 2 * n_out + 1))
    shared_bytes = 4 * (n_halves + 2 * n_out * _SUM_HALVES)
    if shared_bytes > _MOST_SHARED_BYTES:
        planes = transpose_bits(shots, n_bits)
        return planes_to_shots(_parity_planes(planes, checks), n_shots)
    out: Words = device.arrays().empty((n_shots, n_out), dtype=np.uint64)
    n_tiles = -(-n_shots // _TILE_SHOTS)
    lists = (checks.starts, checks.qubits, checks.n_checks)
    n_blocks = device.blocks_for(n_tiles * device.N_THREADS)
    arguments = (shots, n_shots, n_words, *lists, n_out, out)
    device.launch("decoding", "parity_rows", n_blocks, arguments, shared_bytes=shared_bytes)
    return out


def parity_planes(planes: Words, n_bits: int, masks: Words) -> Words:
    """Take the parities of shots under masks, from planes to planes.

    Args:
        planes: Planes, shape (n_bits, n_groups).
        n_bits: Bits per shot.
        masks: The qubits of each check, packed, on the host, shape (n_checks, ceil(n_bits / 64)).

    Returns:
        A plane per check, shape (n_checks, n_groups).
    """
    return _parity_planes(planes, _lists_of(masks, n_bits))


@device.lands_at_home
def _parity_planes(planes: Words, checks: CheckLists) -> Words:
    n_groups = planes.shape[1]
    sums: Words = device.arrays().empty((checks.n_checks, n_groups), dtype=np.uint64)
    n_blocks = device.blocks_for(-(-n_groups // 32) * device.N_THREADS)
    arguments = (planes, n_groups, checks.starts, checks.qubits, checks.n_checks, sums)
    device.launch("decoding", "parity_planes", n_blocks, arguments)
    return sums


@device.lands_at_home
def look_up(syndromes: Words, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Look the correction of each syndrome up.

    Args:
        syndromes: Packed, of up to 64 bits, shape (n_shots, 1).
        table: Corrections by syndrome, shape (2^n_bits, n_bytes).

    Returns:
        Corrections, shape (n_shots, n_bytes).
    """
    corrections: NDArray[np.uint8] = table.take(syndromes[:, 0].astype(np.int64), axis=0)
    return corrections


@device.lands_at_home
def detection_events(syndromes: Words, n_checks: int, n_rounds: int) -> Words:
    """XOR each row with itself, shifted by a round.

    Args:
        syndromes: Packed, shape (n_shots, ceil(n_checks n_rounds / 64)).
        n_checks: Bits per round.
        n_rounds: Rounds.

    Returns:
        Packed events, of the same shape.
    """
    n_words = syndromes.shape[1]
    skip, shift = divmod(n_checks, 64)
    events = syndromes.copy()
    if n_words > skip:
        events[:, skip:] ^= syndromes[:, : n_words - skip] << np.uint64(shift)
    if shift and n_words > skip + 1:
        events[:, skip + 1 :] ^= syndromes[:, : n_words - skip - 1] >> np.uint64(64 - shift)
    n_used = n_checks * n_rounds - 64 * (n_words - 1)
    events[:, -1] &= np.uint64((1 << n_used) - 1)
    return events
