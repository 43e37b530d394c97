"""Every kernel with more than one back end gives the same on all of them, at any shape."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings

from cudaq_target import kernels
from tests.kernels.backends import COMPILED, bit_counts, seeds, shot_counts
from tests.kernels.public_calls import CALLS, LAYOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernels.public_calls import Arguments

KERNELS = sorted(
    name for name in CALLS if "backend" in inspect.signature(getattr(kernels, name)).parameters
)


def bound_of_sum(arguments: Arguments, n_terms: int) -> float:
    weights = (
        np.abs(arguments.get("weights", 0.0)).sum() + np.abs(arguments.get("fields", 0.0)).sum()
    )
    weights += np.abs(arguments.get("matrix", 0.0)).sum()
    return n_terms * 2.0**-52 * (abs(arguments.get("constant", 0.0)) + weights)


def bound_of_corrected(arguments: Arguments) -> float:
    masks, confusion = arguments["masks"], arguments["confusion"]
    n_factors = np.bitwise_count(masks).sum() + len(masks)
    weights = arguments.get("weights", np.ones(len(masks)))
    bounds = kernels.corrected_z_bounds(len(confusion), masks, weights, confusion, 0.5)
    return float(2.0**-50 * n_factors * max(map(abs, bounds)))


BOUNDS: dict[str, Callable[[Arguments], float]] = {
    "ising_energies": lambda a: bound_of_sum(a, 1 + len(a["edges"]) + len(a["fields"])),
    "pauli_z_values": lambda a: bound_of_sum(a, 1 + len(a["masks"])),
    "maxcut_costs": lambda a: bound_of_sum(a, len(a["edges"])),
    "qubo_costs": lambda a: bound_of_sum(a, a["matrix"].size),
    "correct_probabilities": lambda a: (
        len(a["confusion"])
        * 2.0**-50
        * kernels.readout_overhead(a["confusion"])
        * np.abs(a["probabilities"]).sum()
    ),
    "corrected_z_values": bound_of_corrected,
    "corrected_z_expectation": lambda a: 2.0**26 * bound_of_corrected(a),
    "correct_counts": lambda a: 1e-12 * kernels.correct_counts(**a, backend="numpy").overhead,
    "outcome_probabilities": lambda a: (
        1e-12
        * (1 + 2 * np.abs(a["parameters"]).max() * max(e.duration_us for e in a["experiments"]))
    ),
    "posterior_update": lambda a: (
        1e-14
        * (1 + a["n_shots"] * np.abs([a["log_weights"], np.log(0.01) + 0 * a["log_weights"]]).max())
    ),
    "information_gain": lambda a: 1e-12,  # noqa: ARG005 - entries of one table
}
"""What reals may differ by, as the docstrings say; every other kernel gives the same bits."""


def numbers_of(result: object) -> list[np.ndarray]:
    """The arrays and numbers that a result holds."""
    if isinstance(result, tuple | list):
        return [array for part in result for array in numbers_of(part)]
    if is_dataclass(result):
        return [
            array for field in fields(result) for array in numbers_of(getattr(result, field.name))
        ]
    return [np.asarray(result)]


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=25)
@given(n_shots=shot_counts(), n_bits=bit_counts(), seed=seeds())
@example(n_shots=65, n_bits=1000, seed=0)
@example(n_shots=0, n_bits=0, seed=0)
@example(n_shots=1, n_bits=1, seed=0)
@example(n_shots=513, n_bits=64, seed=0)
@example(n_shots=64, n_bits=65, seed=0)
@example(n_shots=63, n_bits=63, seed=0)
def test_back_ends_agree(name: str, backend, n_shots: int, n_bits: int, seed: int) -> None:
    if name not in LAYOUT:
        n_shots, n_bits = max(n_shots, 1), max(n_bits, 1)
    if (
        name in LAYOUT
        and n_bits == 0
        and {"qubits", "outcomes"} & set(inspect.signature(getattr(kernels, name)).parameters)
    ):
        n_bits = 1
    arguments = CALLS[name](np.random.default_rng(seed), n_shots, n_bits)
    function = getattr(kernels, name)
    expected = numbers_of(function(**arguments, backend="numpy"))
    found = numbers_of(function(**arguments, backend=backend))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if one.dtype.kind == "f" and name in BOUNDS:
            assert np.abs(one - other).max(initial=0.0) <= BOUNDS[name](arguments)
        else:
            assert np.array_equal(one, other)
