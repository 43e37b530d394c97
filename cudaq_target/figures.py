"""What all pictures share: colours, a figure, plain axes, a file.

Figures are made without pyplot, so drawing leaves no global state and needs no display.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "open": "#c8553d",
    "close": "#e9a18f",
    "target": "#1b6f8a",
    "raman": "#e8b23a",
    "waiting": "#f6ddd6",
    "atom": "#28415e",
    "text": "#2b2b2b",
    "grid": "#d9d9d9",
}
_DOTS_PER_INCH = 150


def new_figure(width_in: float, height_in: float) -> Figure:
    """Make an empty figure of a size in inches.

    Raises:
        OptionError: Matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            "draw", "matplotlib is not installed", "Install it: pip install 'cudaq-target[draw]'"
        ) from error
    return Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")


def saved(figure: Figure, path: str | Path | None) -> Figure:
    """Write a figure to a file where a path is given, and return it.

    Raises:
        OptionError: The file's suffix names no picture format.
    """
    if path is not None:
        suffix = Path(path).suffix.lstrip(".").lower()
        if suffix not in ("png", "pdf", "svg"):
            raise OptionError(
                f"picture {str(path)!r}",
                "the suffix names no picture format",
                "Give a file name that ends in .png, .pdf or .svg",
            )
        figure.savefig(path, dpi=_DOTS_PER_INCH, format=suffix)
    return figure


def plain(axes: Axes) -> None:
    """Keep only what carries information."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8, colors=COLOURS["text"])
