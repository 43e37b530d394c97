"""Compiling loops with Numba, wherever this package is installed.

Compiled code is kept on disk next to the source, else in the user's cache directory. Where neither
can be written (a read-only image without a home), functions are compiled anew in each process;
without Numba they run as plain Python, slowly and with the same results.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Function = TypeVar("Function", bound=Callable[..., object])

try:
    import numba
except ImportError:  # pragma: no cover - tried in a process of its own
    numba = None  # type: ignore[assignment]


@overload
def compiled(function: Function, /) -> Function: ...
@overload
def compiled(
    *, parallel: bool = ..., contract: bool = ..., inline: bool = ...
) -> Callable[[Function], Function]: ...


def compiled(
    function: Function | None = None,
    /,
    *,
    parallel: bool = False,
    contract: bool = False,
    inline: bool = False,
) -> Function | Callable[[Function], Function]:
    """Compile a function of numbers and arrays; it runs without the GIL.

    Divisions by zero give inf or nan, as in NumPy.

    Args:
        function: The function; None when options are given.
        parallel: Run its `prange` loops on all of Numba's threads.
        contract: Allow fused multiply-add.
        inline: Make it a part of what calls it. Calls count the references to each array that they
            hand over, atomically, which is more work than a short function does.

    Returns:
        The compiled function, or a decorator.

    >>> @compiled
    ... def double(x: float) -> float:
    ...     return 2.0 * x
    >>> double(1.5)
    3.0
    """
    if function is None:
        return partial(_compile, parallel=parallel, contract=contract, inline=inline)
    return _compile(function, parallel=parallel, contract=contract, inline=inline)


def _compile(function: Function, *, parallel: bool, contract: bool, inline: bool) -> Function:
    if numba is None:
        return function
    make = partial(
        numba.njit,
        nogil=True,
        error_model="numpy",
        parallel=parallel,
        forceinline=inline,
        fastmath={"contract"} if contract else False,
    )
    result: Function
    try:
        result = make(cache=True)(function)
    except RuntimeError:
        # Numba finds no place for its cache; nothing else can fail before the first call.
        result = make()(function)
    return result


@compiled
def next_uniform(state: NDArray[np.int64]) -> float:
    """Draw a number in (0, 1) for searches in compiled code.

    The minimal standard generator of Park and Miller (doi:10.1145/159604.164627, with multiplier
    48271). It touches no global generator, so that compiling a program never changes what the
    user's own compiled code draws.

    Args:
        state: One number in 1 … 2^31 - 2, advanced in place, shape (1,).

    Returns:
        The number.
    """
    state[0] = state[0] * 48271 % 2147483647
    return float(state[0] / 2147483647.0)
