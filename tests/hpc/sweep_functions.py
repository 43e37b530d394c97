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
