"""Measured bits, one row per shot, packed into 64-bit words.

The one rule of bit order: bit k of a shot is qubit k, least significant first inside a word, and
qubit 0 is the leftmost character of a bit string.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import cudaq
    from numpy.typing import NDArray

WORD_BITS = 64
# Outcomes that are counted in a table of all of them, where there are as many shots at least.
_MOST_IN_TABLE = 1 << 10


@dataclass(frozen=True, slots=True, eq=False)
class Shots:
    """Every shot of a job, in the order in which they were measured.

    Attributes:
        packed: Bits, uint64, shape (n_shots, ceil(n_bits / 64)); bits beyond `n_bits` are 0.
        n_bits: Bits per shot.

    >>> shots = Shots.from_counts({"100": 2, "011": 1})
    >>> shots.packed.ravel().tolist(), shots.counts()
    ([6, 1, 1], {'011': 1, '100': 2})
    """

    packed: NDArray[np.uint64]
    n_bits: int

    def __post_init__(self) -> None:
        n_words = words_per_shot(self.n_bits)
        if self.packed.dtype != np.uint64 or self.packed.shape[1:] != (n_words,):
            raise ValueError(
                f"packed shots of {self.n_bits} bits are uint64 of shape (n_shots, {n_words}), "
                f"not {self.packed.dtype} of shape {self.packed.shape}"
            )
        used = self.n_bits % WORD_BITS
        if used and len(self.packed) and int(self.packed[:, -1].max()) >> used:
            raise ValueError(f"packed shots have bits set beyond bit {self.n_bits - 1}")

    def __repr__(self) -> str:
        return f"<Shots: {len(self.packed)} shots of {self.n_bits} bits>"

    @classmethod
    def from_bits(cls, bits: NDArray[np.integer[Any]] | NDArray[np.bool_]) -> Shots:
        """Pack bits.

        Args:
            bits: 0 or 1 (or bool), shape (n_shots, n_bits); column k is qubit k.

        Returns:
            The same shots.
        """
        n_shots, n_bits = bits.shape
        n_words = words_per_shot(n_bits)
        octets = np.zeros((n_shots, 8 * n_words), dtype=np.uint8)
        packed = np.packbits(bits.astype(bool), axis=1, bitorder="little")
        octets[:, : packed.shape[1]] = packed
        return cls(octets.view("<u8").astype(np.uint64).reshape(n_shots, n_words), n_bits)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int]) -> Shots:
        """Expand counts into shots, ordered by bit string; the order of arrival is not known.

        Args:
            counts: Bit string, qubit 0 leftmost, to number of shots.

        Returns:
            As many shots as the counts sum up to.

        Raises:
            ValueError: The bit strings have different lengths.
        """
        strings = sorted(counts)
        n_bits = len(strings[0]) if strings else 0
        if any(len(string) != n_bits for string in strings):
            raise ValueError("all bit strings of one job have the same length")
        characters = np.frombuffer("".join(strings).encode("ascii"), dtype=np.uint8)
        rows = characters.reshape(len(strings), n_bits) == ord("1")
        return cls.from_bits(np.repeat(rows, [counts[string] for string in strings], axis=0))

    @classmethod
    def concatenate(cls, parts: Sequence[Shots]) -> Shots:
        """Join shots of the same width, in order.

        Args:
            parts: At least one, all with the same number of bits.

        Returns:
            The shots of the first part, then those of the next.

        Raises:
            ValueError: Widths differ, or there are no parts.
        """
        widths = sorted({part.n_bits for part in parts})
        if len(widths) != 1:
            found = " and ".join(map(str, widths)) or "no"
            raise ValueError(f"shots of {found} bits cannot be joined; give parts of one width")
        return cls(np.concatenate([part.packed for part in parts]), widths[0])

    @property
    def n_shots(self) -> int:
        """Number of shots."""
        return int(self.packed.shape[0])

    def __len__(self) -> int:
        return self.n_shots

    def bits(self) -> NDArray[np.uint8]:
        """Unpack.

        Returns:
            0 or 1, uint8, shape (n_shots, n_bits); column k is qubit k.
        """
        if self.n_bits == 0:
            return np.zeros((self.n_shots, 0), dtype=np.uint8)
        octets = np.ascontiguousarray(self.packed, dtype="<u8").view(np.uint8)
        return np.unpackbits(octets, axis=1, count=self.n_bits, bitorder="little")

    def marginal(self, qubits: Sequence[int]) -> Shots:
        """Keep some bits, in the order given.

        Args:
            qubits: Bits to keep; one may occur twice.

        Returns:
            Shots whose bit j is bit `qubits[j]` of these.

        Raises:
            IndexError: There is no such bit.

        >>> Shots.from_counts({"100": 1}).marginal([2, 0]).counts()
        {'01': 1}
        """
        outside = [qubit for qubit in qubits if not 0 <= qubit < self.n_bits]
        if outside:
            raise IndexError(f"bit {outside[0]} of shots that have {self.n_bits} bits")
        if list(qubits) == list(range(self.n_bits)):
            return self
        return Shots.from_bits(self.bits()[:, list(qubits)])

    def outcomes(self) -> tuple[Shots, NDArray[np.int64], NDArray[np.int64]]:
        """Find the distinct outcomes.

        Returns:
            One shot per distinct outcome; how often each occurred, shape (n_outcomes,); and which
            outcome each shot is, shape (n_shots,).
        """
        keys = self.packed[:, 0] if self.packed.shape[1] == 1 else self.packed
        axis = None if keys.ndim == 1 else 0
        distinct, inverse, counts = np.unique(
            keys, axis=axis, return_inverse=True, return_counts=True
        )
        rows = distinct.reshape(len(counts), self.packed.shape[1])
        return (
            Shots(rows, self.n_bits),
            counts.astype(np.int64),
            inverse.reshape(-1).astype(np.int64),
        )

    def counts(self) -> dict[str, int]:
        """Count the outcomes.

        Returns:
            Bit string, qubit 0 leftmost, to number of shots, ordered by bit string.
        """
        if self.n_bits and 1 << self.n_bits <= min(self.n_shots, _MOST_IN_TABLE):
            names, words = _table(self.n_bits)
            n_each = np.bincount(self.packed[:, 0].view(np.int64), minlength=len(words))[words]
            return {name: n for name, n in zip(names, n_each.tolist(), strict=True) if n}
        distinct, n_each, _ = self.outcomes()
        return dict(sorted(zip(distinct.strings(), n_each.tolist(), strict=True)))

    def strings(self) -> list[str]:
        """Write each shot as a bit string, qubit 0 leftmost."""
        if self.n_bits == 0:
            return [""] * self.n_shots
        characters = np.ascontiguousarray(self.bits() + np.uint8(ord("0")))
        text = characters.tobytes().decode("ascii")
        return [text[k : k + self.n_bits] for k in range(0, len(text), self.n_bits)]

    def to_sample_result(self) -> cudaq.SampleResult:
        """Return a `cudaq.SampleResult` of all bits that keeps these shots (imports CUDA-Q)."""
        from cudaq_target.launch.results import sample_result  # noqa: PLC0415

        return sample_result(self)


def shots_of(result: object) -> Shots:
    """Return the single shots behind a sample result of this target.

    Args:
        result: What `cudaq.sample` returned.

    Returns:
        All shots in order of arrival; bit k is kernel qubit k, whether it was measured or not.

    Raises:
        OptionError: The result has no shots: another target made it, or results were merged.
    """
    shots = getattr(result, "shots", None)
    if not isinstance(shots, Shots):
        raise OptionError(
            "shots_of",
            "this result keeps no single shots",
            "Give a result of cudaq.sample on the target pasqal",
        )
    return shots


@cache
def _table(n_bits: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Every outcome of a few bits: bit strings, qubit 0 leftmost, in order, and their words."""
    names = tuple(f"{place:0{n_bits}b}" for place in range(1 << n_bits))
    return names, np.array([int(name[::-1], 2) for name in names], dtype=np.int64)


def words_per_shot(n_bits: int) -> int:
    """Return how many 64-bit words one shot of `n_bits` bits takes."""
    return -(-n_bits // WORD_BITS)
