"""Arrays without owners in compiled code.

Numba counts references to an array wherever one is copied: each call, each branch, with atomic
instructions. In loops whose bodies take nanoseconds that is most of the time. A borrowed array has
no owner to count for; whoever borrows keeps the original alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

if TYPE_CHECKING:
    from collections.abc import Callable

Numba: TypeAlias = Any  # Numba's types and LLVM's builders have no types in Python


@intrinsic
def borrowed(_context: Numba, array: Numba) -> tuple[Numba, Callable[..., Numba]] | None:
    """Return the same array without its owner; for compiled code alone."""

    def emit(target: Numba, builder: Numba, _signature: Numba, arrays: Numba) -> Numba:
        view = cast("Numba", make_array)(array)(target, builder, arrays[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()

    return (array(array), emit) if isinstance(array, types.Array) else None
