"""From measured bits to syndromes, and from syndromes to detection events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.backends import Backend, implementation, is_on_device
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import check_shots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]


def parities(shots: Words, n_bits: int, checks: Words, *, backend: Backend = "auto") -> Words:
    """Take the parity of each check in each shot: H s mod 2.

    Compiled code works on planes: 64 shots per XOR, between two transposes of blocks that stay in
    the L1 cache.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        checks: The rows of H, packed, on the host, shape (n_checks, ceil(n_bits / 64)): bit k of
            row c says whether check c holds qubit k. `pack_bits` makes them of a uint8 matrix.
        backend: Where to compute.

    Returns:
        Packed parities, bit c for check c, shape (n_shots, ceil(n_checks / 64)); exact.

    Raises:
        KernelInputError: `shots` are not packed shots, there are none, or `checks` are not packed
            rows of `n_bits` bits on the host, or there is none.
        BackendUnavailableError: The back end does not run here.

    >>> shots, checks = np.array([[1], [3]], dtype=np.uint64), np.array([[1], [3]], dtype=np.uint64)
    >>> parities(shots, 2, checks).tolist()
    [[3], [1]]
    """
    check_shots(shots, n_bits)
    if is_on_device(checks):
        raise KernelInputError("checks", "lie on a GPU", "bring them to the host")
    check_shots(checks, n_bits, name="checks")
    result: Words = implementation("decoding", backend, shots).parity_rows(
        shots, int(n_bits), checks
    )
    return result


def detection_events(
    syndromes: Words, n_checks: int, n_rounds: int, *, backend: Backend = "auto"
) -> Words:
    """Compare each round of checks with the round before it; the first one stays as it is.

    Args:
        syndromes: Packed, round after round: bit r n_checks + c is check c of round r, shape
            (n_shots, ceil(n_checks n_rounds / 64)).
        n_checks: Checks per round.
        n_rounds: Rounds.
        backend: Where to compute.

    Returns:
        Packed events, bit r n_checks + c says whether check c changed in round r, shape
        (n_shots, ceil(n_checks n_rounds / 64)); exact.

    Raises:
        KernelInputError: `syndromes` are not packed shots of n_checks n_rounds bits, or there are
            no shots, checks or rounds.
        BackendUnavailableError: The back end does not run here.

    >>> detection_events(np.array([[0b11_01_01]], dtype=np.uint64), 2, 3).tolist() == [[0b10_00_01]]
    True
    """
    for name, number in (("n_checks", n_checks), ("n_rounds", n_rounds)):
        if not isinstance(number, int | np.integer):
            raise KernelInputError(name, f"is a {type(number).__name__}", "give an integer")
        if number < 1:
            raise KernelInputError(name, f"is {number}", "this kernel needs at least 1")
    check_shots(syndromes, n_checks * n_rounds, name="syndromes")
    result: Words = implementation("decoding", backend, syndromes).detection_events(
        syndromes, int(n_checks), int(n_rounds)
    )
    return result
