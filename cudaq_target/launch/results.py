"""Our data as CUDA-Q's result objects, with the single shots kept alongside.

CUDA-Q's constructors take counts of one register only. Further registers are added in the integer
encoding of `SampleResult.serialize`; what CUDA-Q's objects cannot hold (shots in order of arrival,
exact expectation values of single terms) lives in subclasses.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import cudaq

from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOG = logging.getLogger(__name__)
GLOBAL = "__global__"
# CUDA-Q reads a bit string as a signed 64-bit number.
REGISTER_BITS = 63


class PasqalSampleResult(cudaq.SampleResult):  # type: ignore[misc]
    """A `cudaq.SampleResult` that knows its shots.

    Attributes:
        shots: All shots, bit k is kernel qubit k; None once results of unknown shots were added.
        registers: Which bits of a shot form each register, in order.
    """

    shots: Shots | None
    registers: dict[str, tuple[int, ...]]

    def get_sequential_data(self, register_name: str = GLOBAL) -> list[str]:
        """Return the bit string of each shot in order of arrival.

        Args:
            register_name: The register to read.
        """
        if self.shots is None or register_name not in self.registers:
            data: list[str] = super().get_sequential_data(register_name)
            return data
        return self.shots.marginal(self.registers[register_name]).strings()

    def __iadd__(self, other: cudaq.SampleResult) -> PasqalSampleResult:
        # Annotations tell where the first counts come from; CUDA-Q prints a warning about others.
        bare = cudaq.SampleResult(dict(other.items()))
        names = [name for name in other.register_names if name != GLOBAL]
        if names:
            tables = {name: dict(other.get_register_counts(name).items()) for name in names}
            bare.deserialize(encode(tables))
        super().__iadd__(bare)
        same = isinstance(other, PasqalSampleResult) and other.registers == self.registers
        if same and self.shots is not None and other.shots is not None:
            self.shots = Shots.concatenate((self.shots, other.shots))
        else:
            self.shots = None
        return self


def sample_result(
    shots: Shots,
    registers: Mapping[str, Sequence[int]] | None = None,
    annotations: Mapping[str, object] | None = None,
) -> PasqalSampleResult:
    """Build a sample result.

    Args:
        shots: All shots, bit k is kernel qubit k.
        registers: Bits of each register; `__global__` (default: all bits) becomes the counts.
        annotations: Text and numbers to keep with the result.

    Returns:
        CUDA-Q's result, with the shots kept.
    """
    columns = {name: tuple(bits) for name, bits in (registers or {}).items()}
    columns.setdefault(GLOBAL, tuple(range(shots.n_bits)))
    # A kernel without qubits has no outcomes, where ours would be one: the empty string.
    counts = shots.marginal(columns[GLOBAL]).counts() if columns[GLOBAL] else {}
    result = PasqalSampleResult(counts, annotations=dict(annotations or {}))
    named = {name: bits for name, bits in columns.items() if name != GLOBAL}
    if named:
        tables = {name: shots.marginal(bits).counts() for name, bits in named.items()}
        result.deserialize(encode(tables))
    result.shots, result.registers = shots, columns
    return result


def encode(tables: Mapping[str, Mapping[str, int]]) -> list[int]:
    """Write counts of several registers in the encoding of `SampleResult.serialize`.

    Args:
        tables: Register name to counts.

    Returns:
        For each register: length of its name, its characters, number of outcomes, then for each
        outcome the bit string as a number (leftmost bit most significant), its length, its count.

    >>> encode({"a": {"01": 7}})
    [1, 97, 1, 1, 2, 7]
    """
    encoded: list[int] = []
    for name, counts in tables.items():
        if any(len(string) > REGISTER_BITS for string in counts):
            _LOG.warning(
                "register %r has more than %d bits, which CUDA-Q's results cannot hold; "
                "its bits are in cudaq_target.shots_of(result)",
                name,
                REGISTER_BITS,
            )
            continue
        encoded += [len(name), *map(ord, name), len(counts)]
        for string, count in counts.items():
            encoded += [int(string or "0", 2), len(string), count]
    return encoded


class PasqalObserveResult(cudaq.ObserveResult):  # type: ignore[misc]
    """A `cudaq.ObserveResult` that knows the expectation value of each term.

    Attributes:
        term_values: Expectation value of each Pauli string, coefficient left out, by term id.
        table: Counts of each term, empty for exact values.
    """

    term_values: dict[str, float]
    table: cudaq.SampleResult

    def expectation(self, *sub_term: cudaq.SpinOperatorTerm) -> float:
        """Return the value of the whole operator, or of one Pauli string without coefficient."""
        known = self.term_values.get(_term_id(*sub_term)) if sub_term else None
        if known is not None:
            return known
        value: float = super().expectation(*sub_term)
        return value

    def counts(self, *sub_term: cudaq.SpinOperatorTerm) -> cudaq.SampleResult:
        """Return the counts of all terms, each a register, or those of one Pauli string."""
        return super().counts(*sub_term) if sub_term else self.table


def observe_result(
    operator: cudaq.SpinOperator,
    value: float,
    term_values: Mapping[str, float],
    tables: Mapping[str, Mapping[str, int]],
    annotations: Mapping[str, object],
) -> PasqalObserveResult:
    """Build an observe result.

    Args:
        operator: The operator, canonical (CUDA-Q aborts the process otherwise).
        value: Its expectation value.
        term_values: Expectation value of each Pauli string by term id, coefficient left out.
        tables: Counts of each Pauli string by term id; empty counts for exact values.
        annotations: Text and numbers to keep with the counts.
    """
    table = cudaq.SampleResult({}, annotations=dict(annotations))
    table.deserialize(encode(tables))
    result = PasqalObserveResult(value, operator, table)
    result.term_values, result.table = dict(term_values), table
    return result


def _term_id(term: Any) -> str:  # noqa: ANN401 - a term, or an operator of one term
    terms = [term] if isinstance(term, cudaq.SpinOperatorTerm) else list(term)
    if len(terms) != 1:
        return ""  # CUDA-Q's own method refuses it
    term = terms[0].copy()
    term.canonicalize()
    return str(term.term_id)
