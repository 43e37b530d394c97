"""Kernels that process shots and decide; each has a NumPy reference that defines its result.

Every kernel is one function with a keyword `backend`; a name loads its module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.kernels.backends import Backend
    from cudaq_target.kernels.decoding import parities
    from cudaq_target.kernels.errors import (
        BackendUnavailableError,
        KernelError,
        KernelInputError,
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
    from cudaq_target.kernels.moments import RunningMoments
    from cudaq_target.kernels.statistics import (
        histogram,
        marginal_histogram,
        occupation,
        pair_correlations,
    )

__all__ = [
    "Backend",
    "BackendUnavailableError",
    "KernelError",
    "KernelInputError",
    "RunningMoments",
    "concatenate_shots",
    "histogram",
    "marginal_bits",
    "marginal_histogram",
    "occupation",
    "outcome_words",
    "pack_bits",
    "pair_correlations",
    "parities",
    "planes_to_shots",
    "post_select",
    "select_shots",
    "transpose_bits",
    "unpack_bits",
]

# One line per public name, sorted; the same names stand above, once for type checkers and once in
# `__all__`.
_MODULES = {
    "Backend": "backends",
    "BackendUnavailableError": "errors",
    "KernelError": "errors",
    "KernelInputError": "errors",
    "RunningMoments": "moments",
    "concatenate_shots": "layout",
    "histogram": "statistics",
    "marginal_bits": "layout",
    "marginal_histogram": "statistics",
    "occupation": "statistics",
    "outcome_words": "layout",
    "pack_bits": "layout",
    "pair_correlations": "statistics",
    "parities": "decoding",
    "planes_to_shots": "layout",
    "post_select": "layout",
    "select_shots": "layout",
    "transpose_bits": "layout",
    "unpack_bits": "layout",
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
