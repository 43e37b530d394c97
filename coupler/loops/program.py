"""The programs of a loop: one text per setting, and how a point becomes parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cudaq_target.coupler.loops.interface import Point

Parameters = Callable[[int, Point], Sequence[float]]
"""Setting and point in, parameters of that setting's text out."""


def the_point(setting: int, point: Point) -> Sequence[float]:  # noqa: ARG001 - one of `Parameters`
    """Send the point as it is."""
    return point


@dataclass(frozen=True, slots=True)
class LoopProgram:
    """What a loop runs, in the texts that the controller loads.

    Attributes:
        texts: One per setting, at least one; equal texts are loaded once.
        n_bits: Measured bits per shot.
        parameters: Parameters on the wire of a setting at a point; the point itself by default.
        names: Of the loop's parameters, for reports.

    Raises:
        ValueError: There is no text, or no bit is measured.

    >>> LoopProgram(("program in basis Z", "program in basis X"), 2).n_settings
    2
    """

    texts: tuple[str, ...]
    n_bits: int
    parameters: Parameters = the_point
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.texts or self.n_bits < 1:
            message = f"{len(self.texts)} texts and {self.n_bits} bits; at least 1 each is needed"
            raise ValueError(message)

    @property
    def n_settings(self) -> int:
        """How many settings there are."""
        return len(self.texts)
