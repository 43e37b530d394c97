"""Functions that processes import by name; sweeps call them."""

from __future__ import annotations

import os
import time

import numpy as np


def squared(point: int) -> int:
    return point * point


def drawn(point: int, *, seed: int) -> float:
    return point + float(np.random.default_rng(seed).random())


def process_of(_: object) -> int:
    return os.getpid()


class UnpicklableError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fails_at_three(point: int) -> int:
    if point == 3:
        raise UnpicklableError(point, 2)
    return point


def dies_at_three(point: int) -> int:
    if point == 3:
        os._exit(9)
    time.sleep(0.01)
    return point


def is_even(point: int) -> bool:
    return point % 2 == 0


def job_of(_: int) -> tuple[str, str | None]:
    """The job that this runs in, and the QPU that it has."""
    time.sleep(0.1)
    return os.environ["SLURM_JOB_ID"], os.environ.get("QRMI_JOB_QPU_RESOURCES")


def inverted(point: int) -> tuple[str, dict[str, int]]:
    """The job that this runs in, and shots of its QPU, which nothing here names."""
    from cudaq_target import submit
    from cudaq_target.analog.model import AnalogSpec, Waveform
    from cudaq_target.analog.program import build
    from cudaq_target.analog.rules import analog_rules

    pulse = Waveform([0, 1000], [3.1416, 3.1416])
    program = build(AnalogSpec.of([(0, 0)], pulse), analog_rules("DigitalAnalogDevice"))
    counts = submit(program, 10 + point).result(120).counts()
    return os.environ["SLURM_JOB_ID"], counts


def either(point: int) -> tuple[str, object]:
    return inverted(point) if is_even(point) else job_of(point)
