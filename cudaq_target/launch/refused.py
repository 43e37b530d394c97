"""Launches that this target cannot serve: noise models of gates, rounded analog programs."""

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


def launch_analog_kernel(_session: Session, *_: object, **__: object) -> NoReturn:
    """Refuse the function behind `cudaq.dynamics.evolution`, which `cudaq.evolve` replaces here.

    Raises:
        UnsupportedKernelError: Always.
    """
    raise UnsupportedKernelError(
        Source("cudaq.dynamics.evolution"),
        "an analog program whose times are rounded to 10 ns and positions to 10 nm",
        "CUDA-Q rounds before the target sees the program",
        "Call cudaq.evolve or cudaq.evolve_async, which do not",
    )


launch_analog_kernel_async = launch_analog_kernel
