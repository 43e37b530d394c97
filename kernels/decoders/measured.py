"""From measured bits to corrections: detectors are parities of measurements, then a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.decoders.lookup import LookupDecoder, build_table
from cudaq_target.kernels.decoders.sparse import check_matrix, dense_rows
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import check_shots
from cudaq_target.kernels.reference.layout import pack_bits, unpack_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.kernels.decoders.interface import Decoder

    Words = NDArray[np.uint64]


class MeasurementDecoder:
    """Decodes measured bits; as safe for threads as the decoder within."""

    def __init__(self, detector_rows: NDArray[np.generic], decoder: Decoder) -> None:
        """Put detectors before a decoder.

        Args:
            detector_rows: D, the measurements whose parity each detector is, zeros and ones,
                shape (n_detectors, n_measurements).
            decoder: What takes the detectors.

        Raises:
            KernelInputError: D is malformed, or the decoder wants another number of detectors.
        """
        rows = check_matrix(detector_rows, "detector_rows")
        if len(rows) != decoder.n_detectors:
            found = f"are {len(rows)} detectors"
            expected = f"the decoder takes {decoder.n_detectors}"
            raise KernelInputError("detector_rows", found, expected)
        self.decoder = decoder
        self._n_measurements = int(rows.shape[1])
        self.masks = pack_bits(rows)

    @property
    def n_measurements(self) -> int:
        """Measured bits of one shot."""
        return self._n_measurements

    @property
    def n_observables(self) -> int:
        """Bits of a correction."""
        return self.decoder.n_observables

    def decode(self, measurements: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Decode one shot.

        Args:
            measurements: Zeros and ones, shape (n_measurements,).

        Returns:
            Flips of the observables, zeros and ones, shape (n_observables,).

        Raises:
            KernelInputError: The shape is another, or the decoder refuses the detectors.
        """
        if measurements.shape != (self._n_measurements,):
            found = f"have shape {measurements.shape}"
            raise KernelInputError("measurements", found, f"give ({self._n_measurements},)")
        shot = pack_bits(measurements[None])
        odd = np.bitwise_count(self.masks & shot).sum(axis=1, dtype=np.uint8) & np.uint8(1)
        correction = self.decoder.decode_one(pack_bits(odd[None])[0])
        flips: NDArray[np.uint8] = unpack_bits(correction[None], self.n_observables)[0]
        return flips

    def decode_shots(self, shots: Words) -> Words:
        """Decode a batch.

        Args:
            shots: Packed measurements, on the host, shape (n_shots, ceil(n_measurements / 64)).

        Returns:
            Packed flips, shape (n_shots, ceil(n_observables / 64)).

        Raises:
            KernelInputError: These are not packed shots, or the decoder refuses the detectors.
        """
        from cudaq_target.kernels.decoding import parities  # noqa: PLC0415 - wants a back end

        check_shots(shots, self._n_measurements)
        return self.decoder.decode(parities(shots, self._n_measurements, self.masks))


def lookup_decoder(
    checks: Sequence[int],
    observables: Sequence[int],
    detectors: Sequence[int],
    n_errors: int,
    max_errors: int = 1,
) -> MeasurementDecoder:
    """Build a look-up decoder from the sparse matrices that CUDA-Q QEC's decoder files hold.

    Args:
        checks: H, the errors that flip each detector; -1 ends a row.
        observables: O, the errors that flip each observable.
        detectors: D, the measurements whose parity each detector is.
        n_errors: Columns of H and O.
        max_errors: Errors per shot that the table covers.

    Returns:
        The decoder.

    Raises:
        KernelInputError: A matrix is malformed, or they contradict each other.

    >>> identity = [0, -1, 1, -1, 2, -1]
    >>> decoder = lookup_decoder(identity, identity, identity, 3)
    >>> decoder.decode(np.array([0, 1, 0], dtype=np.uint8)).tolist()
    [0, 1, 0]
    """
    table = build_table(dense_rows(checks, n_errors), dense_rows(observables, n_errors), max_errors)
    measured = dense_rows(detectors, max([0, *detectors]) + 1)
    return MeasurementDecoder(measured, LookupDecoder(table))
