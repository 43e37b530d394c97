"""Kernels that process shots and decide; each has a NumPy reference that defines its result.

Every kernel is one function with a keyword `backend`; a name loads its module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.kernels.backends import (
        Backend,
    )
    from cudaq_target.kernels.betting import (
        EmpiricalBernstein,
        HedgedBetting,
    )
    from cudaq_target.kernels.decoders.error_model import (
        graph_from_dem,
    )
    from cudaq_target.kernels.decoders.graph import (
        DecodingGraph,
        graph_from_checks,
    )
    from cudaq_target.kernels.decoders.interface import (
        Decoder,
    )
    from cudaq_target.kernels.decoders.lookup import (
        LookupDecoder,
        build_table,
    )
    from cudaq_target.kernels.decoders.matching import (
        PyMatchingDecoder,
    )
    from cudaq_target.kernels.decoders.union_find import (
        UnionFindDecoder,
    )
    from cudaq_target.kernels.decoding import (
        detection_events,
        parities,
    )
    from cudaq_target.kernels.errors import (
        BackendUnavailableError,
        ConvergenceError,
        KernelError,
        KernelInputError,
    )
    from cudaq_target.kernels.estimation import (
        Experiment,
        OutcomeErrors,
        information_gain,
        most_informative,
        outcome_probabilities,
        posterior_update,
    )
    from cudaq_target.kernels.grid import (
        GridPosterior,
    )
    from cudaq_target.kernels.intervals import (
        Interval,
        MixtureBernstein,
        bernoulli_interval,
    )
    from cudaq_target.kernels.layout import (
        concatenate_shots,
        marginal_bits,
        outcome_words,
        pack_bits,
        planes_to_shots,
        post_select,
        select_shots,
        transpose_bits,
        unpack_bits,
    )
    from cudaq_target.kernels.moments import (
        RunningMoments,
    )
    from cudaq_target.kernels.observables import (
        MisCosts,
        ising_bounds,
        ising_energies,
        maxcut_bounds,
        maxcut_costs,
        mis_bounds,
        mis_costs,
        pauli_z_bounds,
        pauli_z_expectation,
        pauli_z_values,
        qubo_bounds,
        qubo_costs,
        violation_counts,
    )
    from cudaq_target.kernels.particles import (
        ParticlePosterior,
    )
    from cudaq_target.kernels.pauli_groups import (
        PauliGroup,
        PauliStream,
        group_pauli_terms,
    )
    from cudaq_target.kernels.readout import (
        ReadoutCalibration,
        calibrate_readout,
        correct_probabilities,
        corrected_z_bounds,
        corrected_z_expectation,
        corrected_z_values,
        readout_overhead,
    )
    from cudaq_target.kernels.statistics import (
        histogram,
        marginal_histogram,
        occupation,
        pair_correlations,
    )
    from cudaq_target.kernels.streams import (
        ObservableStream,
        StreamingMean,
    )
    from cudaq_target.kernels.subspace import (
        QuasiCounts,
        correct_counts,
    )

__all__ = [
    "Backend",
    "BackendUnavailableError",
    "ConvergenceError",
    "Decoder",
    "DecodingGraph",
    "EmpiricalBernstein",
    "Experiment",
    "GridPosterior",
    "HedgedBetting",
    "Interval",
    "KernelError",
    "KernelInputError",
    "LookupDecoder",
    "MisCosts",
    "MixtureBernstein",
    "ObservableStream",
    "OutcomeErrors",
    "ParticlePosterior",
    "PauliGroup",
    "PauliStream",
    "PyMatchingDecoder",
    "QuasiCounts",
    "ReadoutCalibration",
    "RunningMoments",
    "StreamingMean",
    "UnionFindDecoder",
    "bernoulli_interval",
    "build_table",
    "calibrate_readout",
    "concatenate_shots",
    "correct_counts",
    "correct_probabilities",
    "corrected_z_bounds",
    "corrected_z_expectation",
    "corrected_z_values",
    "detection_events",
    "graph_from_checks",
    "graph_from_dem",
    "group_pauli_terms",
    "histogram",
    "information_gain",
    "ising_bounds",
    "ising_energies",
    "marginal_bits",
    "marginal_histogram",
    "maxcut_bounds",
    "maxcut_costs",
    "mis_bounds",
    "mis_costs",
    "most_informative",
    "occupation",
    "outcome_probabilities",
    "outcome_words",
    "pack_bits",
    "pair_correlations",
    "parities",
    "pauli_z_bounds",
    "pauli_z_expectation",
    "pauli_z_values",
    "planes_to_shots",
    "post_select",
    "posterior_update",
    "qubo_bounds",
    "qubo_costs",
    "readout_overhead",
    "select_shots",
    "transpose_bits",
    "unpack_bits",
    "violation_counts",
]

# One line per public name, sorted; the same names stand above, once for type checkers and once in
# `__all__`.
_MODULES = {
    "Backend": "backends",
    "BackendUnavailableError": "errors",
    "ConvergenceError": "errors",
    "Decoder": "decoders.interface",
    "DecodingGraph": "decoders.graph",
    "EmpiricalBernstein": "betting",
    "Experiment": "estimation",
    "GridPosterior": "grid",
    "HedgedBetting": "betting",
    "Interval": "intervals",
    "KernelError": "errors",
    "KernelInputError": "errors",
    "LookupDecoder": "decoders.lookup",
    "MisCosts": "observables",
    "MixtureBernstein": "intervals",
    "ObservableStream": "streams",
    "OutcomeErrors": "estimation",
    "ParticlePosterior": "particles",
    "PauliGroup": "pauli_groups",
    "PauliStream": "pauli_groups",
    "PyMatchingDecoder": "decoders.matching",
    "QuasiCounts": "subspace",
    "ReadoutCalibration": "readout",
    "RunningMoments": "moments",
    "StreamingMean": "streams",
    "UnionFindDecoder": "decoders.union_find",
    "bernoulli_interval": "intervals",
    "build_table": "decoders.lookup",
    "calibrate_readout": "readout",
    "concatenate_shots": "layout",
    "correct_counts": "subspace",
    "correct_probabilities": "readout",
    "corrected_z_bounds": "readout",
    "corrected_z_expectation": "readout",
    "corrected_z_values": "readout",
    "detection_events": "decoding",
    "graph_from_checks": "decoders.graph",
    "graph_from_dem": "decoders.error_model",
    "group_pauli_terms": "pauli_groups",
    "histogram": "statistics",
    "information_gain": "estimation",
    "ising_bounds": "observables",
    "ising_energies": "observables",
    "marginal_bits": "layout",
    "marginal_histogram": "statistics",
    "maxcut_bounds": "observables",
    "maxcut_costs": "observables",
    "mis_bounds": "observables",
    "mis_costs": "observables",
    "most_informative": "estimation",
    "occupation": "statistics",
    "outcome_probabilities": "estimation",
    "outcome_words": "layout",
    "pack_bits": "layout",
    "pair_correlations": "statistics",
    "parities": "decoding",
    "pauli_z_bounds": "observables",
    "pauli_z_expectation": "observables",
    "pauli_z_values": "observables",
    "planes_to_shots": "layout",
    "post_select": "layout",
    "posterior_update": "estimation",
    "qubo_bounds": "observables",
    "qubo_costs": "observables",
    "readout_overhead": "readout",
    "select_shots": "layout",
    "transpose_bits": "layout",
    "unpack_bits": "layout",
    "violation_counts": "observables",
}


if not TYPE_CHECKING:  # or type checkers would take any name, submodules too, for an `object`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
