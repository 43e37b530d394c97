"""One good call of every public kernel, and what is wrong with arguments by their names.

`CALLS` makes arguments for a number of shots and of qubits; `BAD` spoils them one at a time. A new
kernel needs an entry in `CALLS`, and a new name of an argument one in `BAD`: the tests say so.
"""

# ruff: noqa: ARG001, ARG005 - entries of one table take the same arguments

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.kernels.estimation import Experiment, OutcomeErrors
from tests.kernels.backends import random_bits, random_shots

if TYPE_CHECKING:
    from collections.abc import Callable

    Arguments = dict[str, Any]
    Make = Callable[[np.random.Generator, int, int], Arguments]

LAYOUT = {
    "unpack_bits",
    "transpose_bits",
    "planes_to_shots",
    "select_shots",
    "post_select",
    "concatenate_shots",
    "marginal_bits",
    "pack_bits",
}
"""Kernels that take no shots, and shots of no qubits."""


def _shots(rng: np.random.Generator, n_shots: int, n_bits: int) -> Arguments:
    return {"shots": random_shots(rng, n_shots, n_bits), "n_bits": n_bits}


def _pairs(rng: np.random.Generator, n_bits: int) -> list[tuple[int, int]]:
    if n_bits < 2:
        return []
    return [tuple(rng.choice(n_bits, 2, replace=False).tolist()) for _ in range(2 * n_bits)]


def _graph(rng: np.random.Generator, n_shots: int, n_bits: int, name: str = "edges") -> Arguments:
    return _shots(rng, n_shots, n_bits) | {name: _pairs(rng, n_bits)}


def _weighted(rng: np.random.Generator, n_shots: int, n_bits: int) -> Arguments:
    graph = _graph(rng, n_shots, n_bits)
    return graph | {"weights": rng.normal(size=len(graph["edges"]))}


def _terms(rng: np.random.Generator, n_shots: int, n_bits: int) -> Arguments:
    masks = random_shots(rng, 7, n_bits)
    return _shots(rng, n_shots, n_bits) | {"masks": masks}


def _confusion(rng: np.random.Generator, n_bits: int) -> np.ndarray:
    wrong = rng.uniform(0.0, 0.1, (n_bits, 2))
    return np.stack(
        [
            np.stack([1 - wrong[:, 0], wrong[:, 1]], axis=1),
            np.stack([wrong[:, 0], 1 - wrong[:, 1]], axis=1),
        ],
        axis=1,
    )


def _strings(rng: np.random.Generator, n_shots: int, n_bits: int) -> Arguments:
    strings = np.unique(random_shots(rng, min(n_shots, 70), n_bits), axis=0)
    counts = rng.integers(1, 50, len(strings))
    confusion = _confusion(rng, n_bits)
    return {"strings": strings, "counts": counts, "n_bits": n_bits, "confusion": confusion} | {
        "max_distance": 3,
        "tolerance": 1e-10,
        "method": "direct",
    }


def _points(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform([1.0, -3.0, -1.0], [9.0, 3.0, 1.0], (50, 3))


def _experiments(rng: np.random.Generator) -> list[Experiment]:
    durations = rng.uniform(0.0, 2.0, 4).tolist()
    kinds = ("rabi", "ramsey", "rabi", "ramsey")
    return [Experiment(kind, t, 0.3) for kind, t in zip(kinds, durations, strict=True)]


def _log_weights(rng: np.random.Generator, n_points: int = 50) -> np.ndarray:
    weights = rng.random(n_points)
    return np.log(weights / weights.sum())


def _qubits(rng: np.random.Generator, n_bits: int) -> list[int]:
    return rng.permutation(n_bits)[: max(1, n_bits // 2)].tolist()


ERRORS = OutcomeErrors(0.01, 0.05)

CALLS: dict[str, Make] = {
    "unpack_bits": _shots,
    "pack_bits": lambda rng, n, k: {"bits": random_bits(rng, n, k)},
    "transpose_bits": _shots,
    "planes_to_shots": lambda rng, n, k: {"planes": random_shots(rng, k, n), "n_shots": n},
    "select_shots": lambda rng, n, k: _shots(rng, n, k) | {"mask": rng.random(n) < 0.5},
    "post_select": lambda rng, n, k: (
        _shots(rng, n, k) | {"outcomes": dict.fromkeys(_qubits(rng, k)[:2], 1)}
    ),
    "outcome_words": lambda rng, n, k: {
        "outcomes": dict.fromkeys(_qubits(rng, k)[:2], 1),
        "n_bits": k,
    },
    "concatenate_shots": lambda rng, n, k: {
        "frames": [(random_shots(rng, n, k), k), (random_shots(rng, n + 1, k), k)]
    },
    "marginal_bits": lambda rng, n, k: _shots(rng, n, k) | {"qubits": _qubits(rng, k)},
    "occupation": _shots,
    "pair_correlations": _shots,
    "histogram": _shots,
    "marginal_histogram": lambda rng, n, k: _shots(rng, n, k) | {"qubits": _qubits(rng, k)},
    "ising_energies": lambda rng, n, k: (
        _weighted(rng, n, k) | {"fields": rng.normal(size=k), "constant": 0.5}
    ),
    "ising_bounds": lambda rng, n, k: {
        "weights": rng.normal(size=5),
        "fields": rng.normal(size=k),
        "constant": 0.5,
    },
    "pauli_z_values": lambda rng, n, k: (
        _terms(rng, n, k) | {"weights": rng.normal(size=7), "constant": 0.5}
    ),
    "pauli_z_bounds": lambda rng, n, k: {
        "masks": random_shots(rng, 7, k),
        "weights": rng.normal(size=7),
        "constant": 0.5,
    },
    "pauli_z_expectation": _terms,
    "violation_counts": lambda rng, n, k: _graph(rng, n, k, "pairs"),
    "mis_costs": _graph,
    "mis_bounds": lambda rng, n, k: {"n_bits": k, "n_edges": 5, "penalty": 2.0},
    "maxcut_costs": _weighted,
    "maxcut_bounds": lambda rng, n, k: {"weights": rng.normal(size=5)},
    "qubo_costs": lambda rng, n, k: (
        _shots(rng, n, k) | {"matrix": rng.normal(size=(k, k)), "constant": 0.5}
    ),
    "qubo_bounds": lambda rng, n, k: {"matrix": rng.normal(size=(k, k)), "constant": 0.5},
    "group_pauli_terms": lambda rng, n, k: {"terms": {"Z" * k: 0.5, "X" * k: 1.0}},
    "bernoulli_interval": lambda rng, n, k: {"n_ones": 3, "n_values": 10, "confidence": 0.9},
    "calibrate_readout": lambda rng, n, k: {
        "zeros": random_shots(rng, n, k),
        "ones": random_shots(rng, n + 1, k),
        "n_bits": k,
    },
    "readout_overhead": lambda rng, n, k: {"confusion": _confusion(rng, k)},
    "correct_probabilities": lambda rng, n, k: {
        "probabilities": rng.random(2 ** (k % 11 + 1)),
        "confusion": _confusion(rng, k % 11 + 1),
    },
    "corrected_z_values": lambda rng, n, k: (
        _terms(rng, n, k)
        | {"weights": rng.normal(size=7), "constant": 0.5, "confusion": _confusion(rng, k)}
    ),
    "corrected_z_bounds": lambda rng, n, k: {
        "n_bits": k,
        "masks": random_shots(rng, 7, k),
        "weights": rng.normal(size=7),
        "constant": 0.5,
        "confusion": _confusion(rng, k),
    },
    "corrected_z_expectation": lambda rng, n, k: (
        _terms(rng, n + 1, k) | {"confusion": _confusion(rng, k)}
    ),
    "correct_counts": _strings,
    "outcome_probabilities": lambda rng, n, k: {
        "parameters": _points(rng),
        "experiments": _experiments(rng),
        "errors": ERRORS,
    },
    "posterior_update": lambda rng, n, k: {
        "log_weights": _log_weights(rng),
        "probabilities": rng.uniform(0.01, 0.99, 50),
        "n_ones": n // 2,
        "n_shots": n,
    },
    "information_gain": lambda rng, n, k: {
        "log_weights": _log_weights(rng),
        "probabilities": rng.uniform(0.01, 0.99, (3, 50)),
    },
    "most_informative": lambda rng, n, k: {
        "parameters": _points(rng),
        "log_weights": _log_weights(rng),
        "candidates": _experiments(rng),
        "errors": ERRORS,
    },
    "parities": lambda rng, n, k: _shots(rng, n, k) | {"checks": random_shots(rng, 70, k)},
    "detection_events": lambda rng, n, k: {
        "syndromes": random_shots(rng, n, 3 * k),
        "n_checks": k,
        "n_rounds": 3,
    },
    "build_table": lambda rng, n, k: {
        "checks": random_bits(rng, 6, 9),
        "observables": random_bits(rng, 2, 9),
        "max_errors": 2,
    },
    "graph_from_checks": lambda rng, n, k: {
        "checks": np.eye(4, 5, dtype=np.uint8) | np.eye(4, 5, 1, dtype=np.uint8),
        "observables": np.eye(1, 5, dtype=np.uint8),
        "error_rates": np.full(5, 0.1),
    },
    "graph_from_dem": lambda rng, n, k: {"model": "error(0.1) D0 L0\nerror(0.2) D0 D1"},
}
"""Arguments of a good call, by the name of the kernel."""

N_BITS = 70
"""Qubits of the calls that `BAD` spoils: two words, so that arrays can be strided."""


def _bad_words(good: np.ndarray) -> Arguments:
    stray = good.copy()
    stray[0, -1] |= np.uint64(1 << 63)
    return {
        "None": None,
        "a list": good.tolist(),
        "signed": good.astype(np.int64),
        "floats": good.astype(np.float64),
        "bytes": good.view(np.uint8),
        "one axis": good[0],
        "three axes": good[None],
        "a word too few": np.ascontiguousarray(good[:, :-1]),
        "a word too many": np.hstack([good, 0 * good[:, :1]]),
        "every other row": np.repeat(good, 2, axis=0)[::2],
        "Fortran order": np.asfortranarray(np.vstack([good, good])),
        "stray bits": stray,
    }


def _bad_reals(good: object) -> Arguments:
    array = np.array(good, dtype=np.float64)
    spoiled = {
        str(value): np.where(np.arange(array.size).reshape(array.shape) == 0, value, array)
        for value in (np.nan, np.inf, -np.inf)
    }
    return spoiled | {
        "one too many": np.append(array, 0.0).reshape(-1)[None],
        "complex": array + 1j,
        "text": np.full(array.shape, "1.0"),
        "ragged": [[1.0], [1.0, 2.0]],
    }


def _bad_pairs(good: object) -> Arguments:
    return {
        "missing qubit": [(0, N_BITS)],
        "negative qubit": [(-1, 0)],
        "one qubit twice": [(2, 2)],
        "triples": [(0, 1, 2)],
        "halves": [(0.5, 1.0)],
        "NaN": [(np.nan, 1.0)],
        "ragged": [(0, 1), (2,)],
        "one axis": [0, 1],
        "text": [("0", "1")],
    }


def _bad_integers(good: int) -> Arguments:
    return {"negative": -1, "half": 2.5, "whole float": float(good), "text": "3", "None": None}


def _bad_confusion(good: np.ndarray) -> Arguments:
    singular, rows, beyond = good.copy(), good.copy(), good.copy()
    singular[0] = 0.5
    rows[0] = [[0.9, 0.1], [0.3, 0.7]]
    beyond[0] = [[1.1, 0.0], [-0.1, 1.0]]
    reals = _bad_reals(good)
    return reals | {
        "singular": singular,
        "rows sum to 1": rows,
        "no probabilities": beyond,
        "no qubits": np.zeros((0, 2, 2)),
        "a number": 0.5,
        "None": None,
    }


def _bad_matrix(good: np.ndarray) -> Arguments:
    return {
        "None": None,
        "text": "01",
        "a 2": good + 2,
        "NaN": good * np.nan,
        "halves": 0.5 * good,
        "one axis": good[0],
        "no rows": good[:0],
        "no errors": good[:, :0],
        "another number of errors": good[:, 1:],
        "ragged": [[0], [0, 1]],
    }


def _bad_log_weights(good: np.ndarray) -> Arguments:
    return {
        "NaN": np.where(np.arange(good.size) == 0, np.nan, good),
        "inf": np.where(np.arange(good.size) == 0, np.inf, good),
        "all 0": np.full(good.size, -np.inf),
        "none": np.zeros(0),
        "two axes": good[None],
        "integers": np.zeros(good.size, dtype=np.int64),
        "another length": good[:-1],
        "a number": 0.5,
    }


BAD: dict[str, Callable[[Any], Arguments]] = {
    **dict.fromkeys(("shots", "strings", "zeros", "ones", "masks", "planes"), _bad_words),
    **dict.fromkeys(("syndromes", "parities.checks"), _bad_words),
    **dict.fromkeys(("checks", "observables"), _bad_matrix),
    **dict.fromkeys(("n_checks", "n_rounds"), lambda good: _bad_integers(good) | {"none": 0}),
    "max_errors": _bad_integers,
    "error_rates": lambda good: {
        "NaN": good * np.nan,
        "above a half": good + 0.5,
        "negative": -good,
        "text": "0.1",
        "another length": good[1:],
        "None": None,
    },
    "model": lambda good: {
        "no error": "",
        "NaN": "error(nan) D0 L0",
        "above a half": "error(0.7) D0 L0",
        "unknown": "erorr(0.1) D0 L0",
        "three detectors": "error(0.1) D0 D1 D2 L0",
        "None": None,
    },
    "n_bits": lambda good: _bad_integers(good) | {"another word": good + 64, "none": 0},
    **dict.fromkeys(("n_ones", "n_values", "n_edges"), _bad_integers),
    "max_distance": lambda good: {"negative": -1, "half": 2.5, "text": "3"},
    "mis_bounds.n_bits": _bad_integers,
    "outcome_words.n_bits": _bad_integers,
    "posterior_update.n_shots": _bad_integers,
    "pauli_z_bounds.masks": lambda good: {  # which say themselves how many words a qubit has
        what: bad for what, bad in _bad_words(good).items() if what[:6] not in ("a word", "stray ")
    },
    "n_shots": lambda good: _bad_integers(good) | {"another word": good + 64},
    **dict.fromkeys(("weights", "fields", "constant", "penalty"), _bad_reals),
    "matrix": lambda good: _bad_reals(good) | {"not square": good[:, 1:]},
    **dict.fromkeys(("edges", "pairs"), _bad_pairs),
    "confusion": _bad_confusion,
    "log_weights": _bad_log_weights,
    "probabilities": lambda good: _bad_reals(good) | {"another length": good[..., 1:]},
    "parameters": lambda good: (
        _bad_reals(good) | {"two columns": good[:, :2], "no points": good[:0]}
    ),
    **dict.fromkeys(
        ("experiments", "candidates"),
        lambda good: {
            "none": [],
            "unknown kind": [Experiment("echo", 1.0)],
            "negative duration": [Experiment("rabi", -1.0)],
            "NaN duration": [Experiment("rabi", np.nan)],
            "infinite phase": [Experiment("ramsey", 1.0, np.inf)],
            "text": [Experiment("rabi", "1")],
        },
    ),
    "errors": lambda good: {
        "negative": OutcomeErrors(-0.1, 0.0),
        "NaN": OutcomeErrors(np.nan, 0.0),
        "both states read alike": OutcomeErrors(0.5, 0.5),
    },
    "bits": lambda good: {
        "None": None,
        "a list": good.tolist(),
        "integers": good.astype(np.int64),
        "a 2": good + np.uint8(2),
        "one axis": good[0],
        "strided": good[:, ::2],
    },
    "mask": lambda good: {
        "None": None,
        "a list": good.tolist(),
        "bytes": good.astype(np.uint8),
        "too short": good[:-1],
        "two axes": good[None],
    },
    "qubits": lambda good: {
        "missing": [N_BITS],
        "negative": [-1],
        "twice": [1, 2, 1],
        "halves": [0.5],
        "NaN": [np.nan],
        "two axes": [[0, 1]],
        "ragged": [[0], [1, 2]],
        "None": None,
    },
    "outcomes": lambda good: {
        "missing qubit": {N_BITS: 1},
        "negative qubit": {-1: 1},
        "outcome 2": {0: 2},
        "outcome NaN": {0: np.nan},
        "half a qubit": {0.5: 1},
        "a list": [0, 1],
    },
    "frames": lambda good: {
        "none": [],
        "two widths": [good[0], (np.zeros((1, 1), dtype=np.uint64), 3)],
        **{
            name: [good[0], (bad, good[0][1])]
            for name, bad in _bad_words(np.vstack([good[1][0], good[0][0]])).items()
        },
    },
    "counts": lambda good: {
        "negative": np.where(np.arange(good.size) == 0, -1, good),
        "all 0": 0 * good,
        "halves": good + 0.5,
        "NaN": good * np.nan,
        "another length": good[1:],
        "ragged": [[1], [1, 2]],
    },
    "terms": lambda good: {
        "none": {},
        "no qubits": {"": 1.0},
        "another length": good | {"Z": 1.0},
        "another letter": {"A" * N_BITS: 1.0},
        "NaN": {"Z" * N_BITS: np.nan},
        "text": {"Z" * N_BITS: "1"},
        "a list": ["ZZ"],
    },
    "confidence": lambda good: {"0": 0.0, "1": 1.0, "NaN": np.nan, "text": "0.9"},
    "tolerance": lambda good: {"0": 0.0, "negative": -1e-9, "NaN": np.nan, "text": "1"},
    "method": lambda good: {"unknown": "guess", "None": None},
}
"""Spoiled values of an argument by its name, given the good one; first by `kernel.argument`."""


def spoil(name: str, argument: str, good: object) -> Arguments:
    """Spoiled values of an argument of a kernel, by what is wrong with them."""
    return BAD.get(f"{name}.{argument}", BAD[argument])(good)


def all_bad_calls() -> list[tuple[str, str, str]]:
    """Kernel, argument and what is wrong with it, for every entry of the tables above."""
    rows = []
    for name, make in CALLS.items():
        for argument, good in make(np.random.default_rng(1), N_BITS, N_BITS).items():
            rows += [(name, argument, what) for what in spoil(name, argument, good)]
    return rows
