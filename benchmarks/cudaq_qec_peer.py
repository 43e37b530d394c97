"""CUDA-Q QEC as a peer of the decoders: the same error model, the same shots, one core.

Its decoders take and give lists of floats. These are made before the clock starts, so that only
its decoding is timed; ours unpack and pack their bits within their time.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.kernels import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Matrix = NDArray[np.uint8]

MATCHING: Final = "nv-fusion-decoder"
LOOK_UP: Final = "multi_error_lut"
BELIEF: Final = "nv-qldpc-decoder"


def is_installed() -> bool:
    """Whether cudaq-qec can be found."""
    return importlib.util.find_spec("cudaq_qec") is not None


@dataclass(frozen=True, slots=True)
class QecPeer:
    """One of its decoders with the shots that it is timed on.

    Attributes:
        name: As CUDA-Q QEC calls it.
        decoder: The decoder.
        lit: Detectors of each shot as floats, (n_shots, n_detectors) as nested lists.
        observables: Which error flips which observable, shape (n_observables, n_errors); None where
            the decoder gives observables itself.
    """

    name: str
    decoder: Any
    lit: list[list[float]]
    observables: Matrix | None

    def decode(self) -> NDArray[np.float64]:
        """Return what the decoder gives for all shots."""
        found: NDArray[np.float64] = self.decoder.decode_batch(self.lit).result
        return found

    def flips(self) -> Matrix:
        """Return the flips of the observables, shape (n_shots, n_observables)."""
        likely = (np.asarray(self.decode()) > 0.5).astype(np.uint8)
        if self.observables is None:
            return likely
        flips: Matrix = (likely @ self.observables.T) % 2
        return flips


def matching(model: object, syndromes: Words, n_detectors: int) -> QecPeer:
    """Matching by fusion of blocks, on the processor; takes Stim's error model as text."""
    import cudaq_qec  # noqa: PLC0415 - optional

    return QecPeer(
        MATCHING, cudaq_qec.get_decoder(MATCHING, str(model)), _lists(syndromes, n_detectors), None
    )


def look_up(checks: Matrix, flips: Matrix, n_errors: int, syndromes: Words) -> QecPeer:
    """A table of all syndromes of up to so many errors.

    Args:
        checks: Which error flips which detector, shape (n_detectors, n_errors).
        flips: Which error flips which observable, shape (n_observables, n_errors).
        n_errors: The most errors in the table.
        syndromes: Packed, one row per shot.
    """
    import cudaq_qec  # noqa: PLC0415 - optional

    decoder = cudaq_qec.get_decoder(LOOK_UP, checks, lut_error_depth=n_errors)
    return QecPeer(LOOK_UP, decoder, _lists(syndromes, len(checks)), flips)


def why_no_belief(checks: Matrix) -> str | None:
    """Return why belief propagation can not run here, in CUDA-Q QEC's words; None if it can."""
    import cudaq_qec  # noqa: PLC0415 - optional

    try:
        cudaq_qec.get_decoder(BELIEF, checks)
    except RuntimeError as error:
        return str(error)
    return None


def _lists(syndromes: Words, n_detectors: int) -> list[list[float]]:
    lists: list[list[float]] = unpack_bits(syndromes, n_detectors).astype(np.float64).tolist()
    return lists
