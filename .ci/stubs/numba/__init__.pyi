"""The part of Numba this project uses, typed: Numba itself ships no types.

A decorated function keeps its signature, so `mypy --strict` sees through the decorator.
"""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from numba import config as config

_Function = TypeVar("_Function", bound=Callable[..., object])

@overload
def njit(function: _Function, /) -> _Function: ...
@overload
def njit(
    *signatures: str,
    boundscheck: bool = ...,
    cache: bool = ...,
    error_model: str = ...,
    fastmath: bool | set[str] = ...,
    inline: str = ...,
    nogil: bool = ...,
    parallel: bool = ...,
) -> Callable[[_Function], _Function]: ...

prange = range

def get_num_threads() -> int: ...
def set_num_threads(n_threads: int, /) -> None: ...
def __getattr__(name: str) -> Any: ...  # noqa: ANN401
