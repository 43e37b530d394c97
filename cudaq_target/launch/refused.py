"""Launches that this target cannot serve: noise models of gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from cudaq_target.errors import Source, UnsupportedKernelError

if TYPE_CHECKING:
    from cudaq_target.target import Session


def ptsbe_sample(_session: Session, *_: object, **__: object) -> NoReturn:
    """Refuse `cudaq.ptsbe.sample`.

    Raises:
        UnsupportedKernelError: Always.
    """
    raise UnsupportedKernelError(
        Source("cudaq.ptsbe"),
        "a sample of noise trajectories",
        "they come from noise models of gates, which become pulses on atoms here",
        "Use cudaq.sample with the noise of the atoms: "
        "cudaq.set_target(Pasqal(noise=pulser.NoiseModel(...)))",
    )


ptsbe_sample_async = ptsbe_sample
