"""Estimators: what the shots of a point say, kept up to date block after block.

Each keeps some numbers per setting and no shots. What their intervals promise:

| interval | statement |
|---|---|
| "anytime" | rigorous: with probability `confidence` the expectation is in every interval that is |
|  | ever looked at for a point, so that a loop may stop when it likes; `kernels.intervals` |
| "normal" | asymptotic: mean ± z standard errors, for one look; a loop that stops by it is wrong |
|  | somewhat more often than 1 - confidence |

With several settings the errors are shared out by Boole's inequality and widths add ("anytime"), or
variances add ("normal"). `Estimate.standard_error` is asymptotic throughout. None of this covers
errors of the machine or of the confusion matrices. `tail.TailEstimator` is the CVaR of a cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from cudaq_target.coupler.loops.interface import Estimate, Point
from cudaq_target.coupler.loops.shot_functions import (
    MAX_TABLE_BITS,
    ShotFunction,
    check_decoder,
    decoded_values,
    flip_values,
    pauli_values,
)
from cudaq_target.coupler.loops.tallies import (
    LOW,
    MEAN,
    SPAN,
    SQUARES,
    N,
    advance_,
    boundary_table,
    deviation_,
    half_width_,
    new_tally,
)
from cudaq_target.kernels.arguments import check_number
from cudaq_target.kernels.decoding import parities
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import Interval, bernoulli_interval, check_confidence
from cudaq_target.kernels.packed import check_shots, word_count
from cudaq_target.kernels.pauli_groups import PauliGroup, group_pauli_terms
from cudaq_target.kernels.statistics import occupation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from cudaq_target.kernels.decoders.interface import Decoder

    Words = NDArray[np.uint64]
    Reals = NDArray[np.float64]

IntervalKind = Literal["anytime", "normal"]


class ValueOfShot(Protocol):
    """A bounded function of a shot; `ShotFunction` is one that compiled code can read."""

    @property
    def n_bits(self) -> int:
        """Bits per shot."""
        ...

    @property
    def low(self) -> float:
        """No value is below."""
        ...

    @property
    def high(self) -> float:
        """No value is above."""
        ...

    def values(self, rows: Words) -> Reals:
        """Evaluate packed shots, shape (n_shots, n_words); shape (n_shots,)."""
        ...


class MeanEstimator:
    """A constant and the means of functions of a shot, one function per setting.

    Attributes:
        functions: One per setting.
        constant: Added to the sum of the means.
        confidence: Of the interval.
        interval: "anytime" or "normal"; see the table of this module.
        prior_shots: A setting's variance counts as if so many values at its bounds had come first;
            it enters `Estimate.deviations`, by which plans stop and share out shots.
        normal_quantile: Standard errors to either side of the mean that hold `confidence`.
        tallies: Of each setting, shape (n_settings, 7); see `tallies`.
    """

    def __init__(
        self,
        functions: Sequence[ValueOfShot],
        constant: float = 0.0,
        *,
        confidence: float = 0.95,
        interval: IntervalKind = "anytime",
        prior_shots: float = 1.0,
    ) -> None:
        """Start without shots.

        Args:
            functions: One per setting, at least one.
            constant: In the unit of the values.
            confidence: In (0, 1).
            interval: "anytime" or "normal".
            prior_shots: Above 0.

        Raises:
            KernelInputError: No function, or a number or a name makes no sense.
        """
        if not functions:
            raise KernelInputError("functions", "are none", "give one per setting")
        if interval not in ("anytime", "normal"):
            raise KernelInputError("interval", f"is {interval!r}", "use 'anytime' or 'normal'")
        if check_number(prior_shots, "prior_shots") <= 0.0:
            raise KernelInputError("prior_shots", f"is {prior_shots}", "use a number above 0")
        check_confidence(confidence)
        self.functions = tuple(functions)
        self.constant = check_number(constant, "constant")
        self.confidence = confidence
        self.interval = interval
        self.prior_shots = float(prior_shots)
        self.tallies = np.stack([new_tally(one.low, one.high) for one in self.functions])
        self._empty = self.tallies.copy()
        self.normal_quantile = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
        self._values = np.empty(1024)
        self._warm_up()

    @property
    def n_settings(self) -> int:
        """Settings that a point is measured in."""
        return len(self.functions)

    @property
    def boundary(self) -> Reals:
        """Half widths of a setting's interval, as `tallies.boundary_` reads them."""
        return boundary_table(1.0 - (1.0 - self.confidence) / len(self.functions))

    def begin(self, point: Point) -> None:  # noqa: ARG002 - the same at every point
        """Forget all shots."""
        self.tallies[:] = self._empty

    def update(self, setting: int, rows: Words) -> None:
        """Take in shots of a setting, in order; as `interface.Estimator.update`.

        Raises:
            KernelInputError: There is no such setting, these are no packed shots of it, or a value
                lies outside the bounds of its function.
        """
        if not 0 <= setting < len(self.functions):
            expected = f"there are settings 0 to {len(self.functions) - 1}"
            raise KernelInputError("setting", f"is {setting}", expected)
        self._take(setting, self._evaluate(self.functions[setting], rows), rows)

    def _take(self, setting: int, values: Reals, rows: Words) -> None:  # noqa: ARG002 - see below
        """Take in the values of these rows; subclasses look at the rows, too."""
        if not advance_(values, self.tallies[setting]):
            low, high = self.functions[setting].low, self.functions[setting].high
            found = f"of setting {setting} reach from {values.min()} to {values.max()}"
            raise KernelInputError("values", found, f"its bounds are {low} and {high}")

    def _warm_up(self) -> None:
        """Load compiled code now, and not while the first shots wait."""
        for function in self.functions:
            if isinstance(function, ShotFunction):
                row = np.zeros((1, word_count(function.n_bits)), dtype=np.uint64)
                advance_(self._evaluate(function, row), new_tally(function.low, function.high))
        self.estimate()
        if self.interval == "anytime":
            half_width_(self.boundary, self.tallies[0])

    def _evaluate(self, function: ValueOfShot, rows: Words) -> Reals:
        if not isinstance(function, ShotFunction):
            return function.values(rows)
        check_shots(rows, function.n_bits)
        if len(rows) > len(self._values):
            self._values = np.empty(2 * len(rows))
        values = self._values[: len(rows)]
        function.values_into(rows, values)
        return values

    def estimate(self) -> Estimate:
        """What the shots of the point say so far."""
        numbers = self.tallies[:, N]
        shots = tuple(int(n) for n in numbers)
        deviations = tuple(deviation_(tally, self.prior_shots) for tally in self.tallies)
        value = self.constant + float(self.tallies[:, MEAN].sum()) if min(shots) else nan
        error = inf
        if min(shots) > 1:
            error = sqrt(float((self.tallies[:, SQUARES] / ((numbers - 1.0) * numbers)).sum()))
        if self.interval == "normal":
            halves = tuple(
                self.normal_quantile * deviation / sqrt(n) if n else inf
                for deviation, n in zip(deviations, shots, strict=True)
            )
            half = sqrt(sum(one * one for one in halves))
            low, high = value - half, value + half
        else:
            boundary = self.boundary
            halves = tuple(half_width_(boundary, tally) for tally in self.tallies)
            low, high = self._ends(halves)
        return Estimate(
            value,
            error,
            low if min(shots) else -inf,
            high if min(shots) else inf,
            sum(shots),
            shots,
            self.confidence,
            deviations,
            halves,
        )

    def _ends(self, halves: Sequence[float]) -> tuple[float, float]:
        """Sum the intervals of the settings, each cut at its bounds."""
        low = high = self.constant
        for tally, half in zip(self.tallies.tolist(), halves, strict=True):
            low += max(tally[MEAN] - half, tally[LOW])
            high += min(tally[MEAN] + half, tally[LOW] + tally[SPAN])
        return low, high


class EnergyEstimator(MeanEstimator):
    """Expectation of a sum of Pauli terms, a setting per group that is measured together.

    Of each shot the sum of its group's terms is taken, so that the variance holds the covariances
    within the group; groups have shots of their own.

    >>> energy = EnergyEstimator({"II": -1.0, "ZZ": 0.5, "XX": 0.25})
    >>> energy.bases
    ('ZZ', 'XX')
    >>> bell = np.zeros((1000, 1), dtype=np.uint64)
    >>> energy.update(0, bell), energy.update(1, bell), energy.estimate().value
    (None, None, -0.25)
    """

    def __init__(
        self,
        terms: Mapping[str, float] | Sequence[PauliGroup],
        constant: float = 0.0,
        *,
        confusion: ArrayLike | None = None,
        confidence: float = 0.95,
        interval: IntervalKind = "anytime",
        prior_shots: float = 1.0,
    ) -> None:
        """Group the terms.

        Args:
            terms: Weight of each Pauli string, one letter per qubit; or groups, in the order of
                the program's settings, from `kernels.pauli_groups.group_pauli_terms`.
            constant: Added; for groups the first result of `group_pauli_terms`.
            confusion: P(read | prepared) per qubit, shape (n_qubits, 2, 2): the mean is then free
                of these read-out errors, and its variance grows
                (`kernels.readout.corrected_z_values`).
            confidence: As for `MeanEstimator`.
            interval: As for `MeanEstimator`.
            prior_shots: As for `MeanEstimator`.

        Raises:
            KernelInputError: As for `group_pauli_terms`, `pauli_values` and `MeanEstimator`.
        """
        groups: Sequence[PauliGroup]
        if isinstance(terms, Mapping):
            weight, groups = group_pauli_terms(terms)
            constant += weight
        else:
            groups = tuple(terms)
        self.bases = tuple(group.basis for group in groups)
        functions = [
            pauli_values(len(group.basis), group.masks, group.weights, confusion=confusion)
            for group in groups
        ]
        super().__init__(
            functions,
            constant,
            confidence=confidence,
            interval=interval,
            prior_shots=prior_shots,
        )


class CostEstimator(MeanEstimator):
    """Mean cost of a shot; `shot_functions` makes the costs.

    >>> from cudaq_target.coupler.loops.shot_functions import mis_values
    >>> cost = CostEstimator(mis_values(3, [(0, 1), (1, 2)]))
    >>> cost.update(0, np.array([[0b101], [0b101], [0b001], [0b111]], dtype=np.uint64))
    >>> cost.estimate().value, cost.best
    (-1.0, (-2.0, (1, 0, 1)))
    """

    def __init__(
        self,
        cost: ValueOfShot,
        *,
        confidence: float = 0.95,
        interval: IntervalKind = "anytime",
        prior_shots: float = 1.0,
    ) -> None:
        """Start without shots.

        Args:
            cost: Of a shot, for example from `shot_functions.mis_values`.
            confidence: As for `MeanEstimator`.
            interval: As for `MeanEstimator`.
            prior_shots: As for `MeanEstimator`.
        """
        super().__init__((cost,), confidence=confidence, interval=interval, prior_shots=prior_shots)
        self._best: tuple[float, Words] | None = None

    @property
    def best(self) -> tuple[float, tuple[int, ...]] | None:
        """The least cost of all points so far, and the bits that have it; None at first."""
        if self._best is None:
            return None
        cost, row = self._best
        bits = tuple(int(row[k // 64]) >> k % 64 & 1 for k in range(self.functions[0].n_bits))
        return cost, bits

    def _take(self, setting: int, values: Reals, rows: Words) -> None:
        super()._take(setting, values, rows)
        least = int(np.argmin(values))
        if self._best is None or values[least] < self._best[0]:
            self._best = float(values[least]), rows[least].copy()


class FrequencyEstimator(MeanEstimator):
    """Probability of an outcome of one bit, or of odd parity of several; counts of all bits.

    Its `Estimate` has the interval of `MeanEstimator`. `probability_interval` gives that of
    `kernels.intervals.bernoulli_interval`, anytime as well and tighter near 0 and 1.

    >>> ones = FrequencyEstimator(2, [1])
    >>> ones.update(0, np.array([[0b10], [0b00], [0b11], [0b10]], dtype=np.uint64))
    >>> ones.estimate().value, ones.counts.tolist()
    (0.75, [1, 3])
    """

    def __init__(
        self,
        n_bits: int,
        qubits: Sequence[int] = (0,),
        *,
        confidence: float = 0.95,
        interval: IntervalKind = "anytime",
        prior_shots: float = 1.0,
    ) -> None:
        """Start without shots.

        Args:
            n_bits: Bits per shot.
            qubits: Whose parity is estimated, at least one.
            confidence: As for `MeanEstimator`.
            interval: As for `MeanEstimator`.
            prior_shots: As for `MeanEstimator`.

        Raises:
            KernelInputError: A qubit is missing, or as for `MeanEstimator`.
        """
        super().__init__(
            (flip_values(n_bits, qubits),),
            confidence=confidence,
            interval=interval,
            prior_shots=prior_shots,
        )
        self.counts = np.zeros(n_bits, dtype=np.int64)

    def begin(self, point: Point) -> None:
        """Forget all shots; another point follows."""
        super().begin(point)
        self.counts[:] = 0

    def _take(self, setting: int, values: Reals, rows: Words) -> None:
        super()._take(setting, values, rows)
        self.counts += occupation(rows, self.functions[0].n_bits)

    def probability_interval(self) -> Interval:
        """Where the probability is; rigorous at every look."""
        n_shots = int(self.tallies[0, N])
        n_ones = round(float(self.tallies[0, MEAN]) * n_shots)
        return bernoulli_interval(n_ones, n_shots, self.confidence)


class CorrectionEstimator(MeanEstimator):
    """Decodes and corrects every shot; estimates how often an observable stays flipped.

    A decoder of up to 16 detectors becomes a table, which a handler without Python reads as well.
    """

    def __init__(
        self,
        decoder: Decoder,
        n_bits: int,
        detectors: Words,
        observables: Words,
        *,
        confidence: float = 0.95,
        interval: IntervalKind = "anytime",
        prior_shots: float = 1.0,
    ) -> None:
        """Start without shots.

        Args:
            decoder: From `kernels.decoders`.
            n_bits: Bits per shot.
            detectors: The bits whose parity each detector is, packed,
                shape (n_detectors, ceil(n_bits / 64)).
            observables: The bits whose parity each observable is; 0 without errors,
                shape (n_observables, ceil(n_bits / 64)).
            confidence: As for `MeanEstimator`.
            interval: As for `MeanEstimator`.
            prior_shots: As for `MeanEstimator`.

        Raises:
            KernelInputError: The masks do not fit the decoder, or as for `MeanEstimator`.
        """
        function: ValueOfShot
        if decoder.n_detectors <= MAX_TABLE_BITS and _explains_all(decoder):
            function = decoded_values(decoder, n_bits, detectors, observables)
        else:
            check_decoder(decoder, n_bits, detectors, observables)
            function = _Decoded(decoder, n_bits, detectors, observables)
        super().__init__(
            (function,), confidence=confidence, interval=interval, prior_shots=prior_shots
        )


class _Decoded:
    """Values of `decoded_values` for decoders that are too large for a table."""

    low, high = 0.0, 1.0

    def __init__(self, decoder: Decoder, n_bits: int, detectors: Words, observables: Words) -> None:
        self.n_bits = n_bits
        self._decoder = decoder
        self._detectors = detectors
        self._observables = observables

    def values(self, rows: Words) -> Reals:
        corrections = self._decoder.decode(parities(rows, self.n_bits, self._detectors))
        left: Words = parities(rows, self.n_bits, self._observables) ^ corrections
        wrong = np.zeros(len(left))
        wrong[left.any(axis=1)] = 1.0
        return wrong


def _explains_all(decoder: Decoder) -> bool:
    syndromes = np.arange(1 << decoder.n_detectors, dtype=np.uint64).reshape(-1, 1)
    try:
        decoder.decode(syndromes)
    except KernelInputError:
        return False
    return decoder.n_observables <= 64
