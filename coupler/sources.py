"""Where a playback gets its syndromes from: a text, a Stim memory circuit, any iterable of rounds.

A plain iterable gives its rounds in order, the final readout of a shot among them. A
`MemorySource` measures round after round on demand and ends the shot when it is asked to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np

from cudaq_target.coupler.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_ROUNDS: Final = 3
_MIN_REPEATED: Final = 4  # with fewer rounds, not all circuits of Stim repeat one
_Stim: TypeAlias = Any  # an optional package


@runtime_checkable
class MemorySource(Protocol):
    """Measures the rounds of a memory experiment on demand; never runs out."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Itself."""

    def __next__(self) -> NDArray[np.uint8]:
        """Measure one more round.

        Returns:
            Zeros and ones, shape (n_bits_per_round,).
        """

    def final_readout(self) -> NDArray[np.uint8]:
        """Measure the data qubits, which ends the shot; the next round begins another one.

        Returns:
            Zeros and ones, shape (n_data_qubits,).
        """


def read_source(text: str) -> list[NDArray[np.uint8]]:
    r"""Read a source of syndromes: one string of 0 and 1 per line.

    Args:
        text: Its lines; blank ones are skipped.

    Returns:
        The rounds, shape (n_bits,) each.

    Raises:
        SourceError: A line holds something else.

    >>> [bits.tolist() for bits in read_source("01\n\n10\n")]
    [[0, 1], [1, 0]]
    """
    rounds = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if set(line) - {"0", "1"}:
            reason = f"{line[:40]!r} is no round; write one string of 0 and 1 per line"
            raise SourceError(f"syndromes, line {number}", reason)
        if line:
            rounds.append(np.array([int(bit) for bit in line], dtype=np.uint8))
    return rounds


class StimMemory:
    """Raw measurements of one of Stim's memory circuits, simulated as they are asked for."""

    def __init__(
        self, code_task: str, *, distance: int, rounds: int = 3, seed: int = 1, **noise: float
    ) -> None:
        """Prepare the first shot.

        Args:
            code_task: For example "surface_code:rotated_memory_z", see `stim.Circuit.generated`.
            distance: Of the code.
            rounds: At least 3; how many are measured is up to the caller.
            seed: The same seed gives the same measurements.
            noise: Probabilities by the names that Stim gives them.

        Raises:
            SourceError: Stim is not installed, or refuses the circuit.
        """
        try:
            import stim  # noqa: PLC0415 - optional
        except ModuleNotFoundError as error:
            reason = "Stim is not installed; pip install stim"
            raise SourceError(f"source {code_task}", reason) from error
        if rounds < MIN_ROUNDS:
            raise SourceError(f"source {code_task}", f"{rounds} rounds; give {MIN_ROUNDS} or more")

        def circuit(n_rounds: int) -> _Stim:
            return stim.Circuit.generated(code_task, distance=distance, rounds=n_rounds, **noise)

        try:
            self._head, self._round, tail = _parts(circuit(max(rounds, _MIN_REPEATED)))
        except (TypeError, ValueError) as error:
            raise SourceError(f"source {code_task}", str(error)) from error
        self._circuit = circuit
        self._n_data_qubits = int(tail.num_measurements)
        self._simulator_of = stim.TableauSimulator
        self._rng = np.random.default_rng(seed)
        self._begin()

    @property
    def n_bits_per_round(self) -> int:
        """Measurements of a round."""
        return int(self._round.num_measurements)

    @property
    def n_data_qubits(self) -> int:
        """Measurements of the final readout."""
        return self._n_data_qubits

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> NDArray[np.uint8]:
        self._n_rounds += 1
        return self._measured.pop(0) if self._measured else self._measure(self._round)

    def final_readout(self) -> NDArray[np.uint8]:
        """Measure the data qubits, which ends the shot; as `MemorySource.final_readout`.

        Raises:
            SourceError: Rounds that the circuit begins with were not asked for.
        """
        if self._measured:
            reason = f"{len(self._measured)} rounds must come before the final readout"
            raise SourceError("Stim memory circuit", reason)
        # The basis of colour codes turns with each round, and comes back after three.
        n_rounds = self._n_rounds + (3 if self._n_rounds < _MIN_REPEATED else 0)
        bits = self._measure(_parts(self._circuit(n_rounds))[2])
        self._begin()
        return bits

    def _begin(self) -> None:
        """Prepare a shot; the first rounds are part of its preparation."""
        self._simulator: _Stim = self._simulator_of(seed=int(self._rng.integers(1 << 62)))
        first = self._measure(self._head)
        self._measured = list(first.reshape(-1, self.n_bits_per_round))
        self._n_rounds = 0

    def _measure(self, part: _Stim) -> NDArray[np.uint8]:
        self._simulator.do(part)
        record = self._simulator.current_measurement_record()
        return np.array(record[len(record) - part.num_measurements :], dtype=np.uint8)


def _parts(circuit: _Stim) -> tuple[_Stim, _Stim, _Stim]:
    """What comes before the last repeated block, the block once, and what comes after it."""
    place = max(k for k, part in enumerate(circuit) if part.name == "REPEAT")
    return circuit[:place], circuit[place].body_copy(), circuit[place + 1 :]
