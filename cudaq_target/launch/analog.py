"""Analog programs: refused until the version that lowers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from cudaq_target.errors import Source, UnsupportedKernelError

if TYPE_CHECKING:
    from cudaq_target.target import Session


def evolve(_session: Session, *_: object, **__: object) -> NoReturn:
    """Refuse `cudaq.evolve`.

    Raises:
        UnsupportedKernelError: Always.
    """
    raise UnsupportedKernelError(
        Source("cudaq.evolve"),
        "an analog program",
        "this version of the target runs gate kernels only",
        "Use cudaq.set_target('dynamics'), or write the program with pulser",
    )


evolve_async = evolve
