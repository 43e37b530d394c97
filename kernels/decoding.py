"""From measured bits to syndromes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cudaq_target.kernels.backends import Backend, implementation, is_on_device
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import check_shots

if TYPE_CHECKING:
    import numpy as np
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
            row c says whether check c holds qubit k. `pack_bits` makes them of a matrix.
        backend: Where to compute.

    Returns:
        Packed parities, bit c for check c, shape (n_shots, ceil(n_checks / 64)); exact.

    Raises:
        KernelInputError: `shots` are not packed shots, there are none, or `checks` are not packed
            rows of `n_bits` bits on the host, or there is none.
        BackendUnavailableError: The back end does not run here.

    >>> import numpy as np
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
