"""Decoders of CUDA-Q QEC behind the interface of all decoders.

Each call hands lists of floats to CUDA-Q QEC and gets the likely errors as floats; the
observables are added up here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.decoders.interface import CheckedDecoder
from cudaq_target.kernels.decoders.sparse import check_matrix
from cudaq_target.kernels.errors import BackendUnavailableError, KernelInputError
from cudaq_target.kernels.reference.layout import pack_bits, unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]


class CudaqQecDecoder(CheckedDecoder):
    """A decoder that CUDA-Q QEC knows by name; threads that call it take turns.

    A syndrome on which it does not converge gets the correction that it gives all the same.
    """

    def __init__(
        self,
        name: str,
        checks: NDArray[np.generic],
        observables: NDArray[np.generic],
        **options: object,
    ) -> None:
        """Ask CUDA-Q QEC for a decoder.

        Args:
            name: For example "single_error_lut", "multi_error_lut", "pymatching".
            checks: Which error flips which detector, shape (n_detectors, n_errors).
            observables: Which error flips which observable, shape (n_observables, n_errors).
            options: Those of the decoder, for example `lut_error_depth` or `error_rate_vec`.

        Raises:
            KernelInputError: A matrix is malformed, or CUDA-Q QEC refuses name or options.
            BackendUnavailableError: It is not installed.
        """
        checks = check_matrix(checks, "checks")
        self._observables = check_matrix(observables, "observables")
        if self._observables.shape[1] != checks.shape[1]:
            found = f"have {self._observables.shape[1]} columns"
            raise KernelInputError("observables", found, f"the checks have {checks.shape[1]}")
        super().__init__(checks.shape[0], self._observables.shape[0])
        try:
            import cudaq_qec  # noqa: PLC0415
        except ImportError as error:
            missing = "the package cudaq-qec-cu12 or cudaq-qec-cu13"
            remedy = "install it, or use the look-up, union-find or PyMatching decoder"
            raise BackendUnavailableError("cudaq-qec", missing, remedy) from error
        try:
            self._decoder = cudaq_qec.get_decoder(name, checks, **options)
        except (RuntimeError, TypeError, ValueError) as error:
            found = f"is {name!r} with options {sorted(options)}"
            raise KernelInputError("decoder", found, f"CUDA-Q QEC says: {error}") from error
        self._lock = threading.Lock()

    def _decode(self, syndromes: Words) -> Words:
        lit = unpack_bits(syndromes, self.n_detectors).astype(np.float64).tolist()
        with self._lock:
            likely = np.asarray(self._decoder.decode_batch(lit).result)
        errors = (likely > 0.5).astype(np.float32)  # sums of fewer than 2^24 ones are exact
        flips = (errors @ self._observables.T.astype(np.float32)) % 2.0
        return pack_bits(flips.astype(np.uint8))
