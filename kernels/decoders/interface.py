"""What every decoder offers, and the checks that all of them make first.

Syndromes and corrections are packed as shots are (`kernels.packed`): bit k of a syndrome is
detector k, bit k of a correction says whether observable k is flipped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from cudaq_target.kernels.backends import is_on_device
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import check_shots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]


def check_kind(value: object, kind: type, argument: str, makers: str) -> None:
    """Refuse what is no graph where a graph is wanted, and no table where a table is.

    Args:
        value: What was given.
        kind: What is wanted.
        argument: Its name in the call.
        makers: Which functions make one.

    Raises:
        KernelInputError: It is of another kind.
    """
    if not isinstance(value, kind):
        found = f"is of type {type(value).__name__}"
        raise KernelInputError(argument, found, f"give a {kind.__name__}; {makers}")


class Decoder(Protocol):
    """Explains syndromes; one syndrome always gets one answer.

    Any number of threads may call one decoder at once.
    """

    @property
    def n_detectors(self) -> int:
        """Bits of a syndrome."""

    @property
    def n_observables(self) -> int:
        """Bits of a correction."""

    def decode(self, syndromes: Words) -> Words:
        """Decode a batch.

        Args:
            syndromes: Packed, on the host, shape (n_shots, ceil(n_detectors / 64)).

        Returns:
            Packed flips of the observables, shape (n_shots, ceil(n_observables / 64)).

        Raises:
            KernelInputError: These are not packed syndromes, there are none, or no set of errors
                that the decoder knows explains one (a look-up decoder then gives no correction).
        """

    def decode_one(self, syndrome: Words) -> Words:
        """Decode one syndrome.

        Args:
            syndrome: Packed, shape (ceil(n_detectors / 64),).

        Returns:
            Packed flips of the observables, shape (ceil(n_observables / 64),).

        Raises:
            KernelInputError: See `decode`.
        """


class CheckedDecoder(ABC):
    """A `Decoder` that leaves the checks to this class."""

    def __init__(self, n_detectors: int, n_observables: int) -> None:
        """Remember the shapes.

        Args:
            n_detectors: Bits of a syndrome.
            n_observables: Bits of a correction.
        """
        self._n_detectors = n_detectors
        self._n_observables = n_observables

    @property
    def n_detectors(self) -> int:
        """Bits of a syndrome."""
        return self._n_detectors

    @property
    def n_observables(self) -> int:
        """Bits of a correction."""
        return self._n_observables

    def decode(self, syndromes: Words) -> Words:
        """Decode a batch; see `Decoder.decode`."""
        if is_on_device(syndromes):
            raise KernelInputError("syndromes", "lie on a GPU", "bring them to the host")
        check_shots(syndromes, self._n_detectors, name="syndromes")
        return self._decode(syndromes)

    def decode_one(self, syndrome: Words) -> Words:
        """Decode one syndrome; see `Decoder.decode_one`."""
        if getattr(syndrome, "ndim", 1) != 1:
            raise KernelInputError("syndrome", f"has {syndrome.ndim} axes", "give one row")
        as_batch = syndrome[None] if hasattr(syndrome, "ndim") else syndrome
        correction: Words = self.decode(as_batch)[0]
        return correction

    @abstractmethod
    def _decode(self, syndromes: Words) -> Words:
        """Decode what is known to be a batch of at least one."""


def unexplained(shot: int) -> KernelInputError:
    """Return the error for a syndrome that no set of errors explains.

    Args:
        shot: Its row.
    """
    return KernelInputError(
        "syndromes",
        f"row {shot} cannot come from the errors of the graph",
        "a part without boundary has an even number of lit detectors",
    )
