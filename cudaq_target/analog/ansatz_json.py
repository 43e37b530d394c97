"""Families of analog programs as JSON, so that a machine elsewhere binds their parameters.

Layout of the text, version 1, one object:

- `format`, `version`: `cudaq-target analog ansatz`, 1
- `amplitude`, `detuning`: `n_points`, `kind`, `first`, `last`
- `bounds`: lowest and highest valid value of each parameter (rad/µs), null where there is none
- `base`: register, device and duration, as an analog program without drive

Floats are written with all digits, so that both ends make equal members.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.analog import program_json
from cudaq_target.analog.program import AnalogProgram
from cudaq_target.json_format import JsonFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.analog.ansatz import AnalogAnsatz

FORMAT: Final = JsonFormat(
    noun="ansatz",
    name="cudaq-target analog ansatz",
    version=1,
    remedy="Give a text written by AnalogAnsatz.to_json().",
    renewal="Write it with this version of cudaq-target.",
)


def dumps(ansatz: AnalogAnsatz) -> str:
    """Write an ansatz as JSON.

    Args:
        ansatz: The ansatz.

    Returns:
        The text, of the layout that the module describes.
    """
    finite = np.isfinite(ansatz.bounds).tolist()
    bounds = [
        [value if known else None for value, known in zip(row, row_known, strict=True)]
        for row, row_known in zip(ansatz.bounds.tolist(), finite, strict=True)
    ]
    return json.dumps(
        {
            **FORMAT.head,
            "amplitude": dataclasses.asdict(ansatz.amplitude),
            "detuning": dataclasses.asdict(ansatz.detuning),
            "bounds": bounds,
            "base": json.loads(program_json.dumps(AnalogProgram(ansatz.base))),
        },
        ensure_ascii=False,
        allow_nan=False,
    )


def loads(text: str) -> AnalogAnsatz:
    """Read what `dumps` wrote.

    Args:
        text: JSON.

    Returns:
        The ansatz; its members are equal to those of the original, to the last bit.

    Raises:
        OptionError: The text is no such ansatz, is damaged, or has an unknown version.
    """
    from cudaq_target.analog.ansatz import AnalogAnsatz, Shape  # noqa: PLC0415 - it imports this

    content = FORMAT.content(text)
    with FORMAT.reading():
        amplitude, detuning = (Shape(**content[name]) for name in ("amplitude", "detuning"))
        base = program_json.loads(json.dumps(content["base"])).timeline
        bounds = _bounds(content["bounds"], amplitude.n_free + detuning.n_free)
    return AnalogAnsatz(amplitude, detuning, base, bounds)


def _bounds(rows: list[list[float | None]], n_parameters: int) -> NDArray[np.float64]:
    if len(rows) != n_parameters:
        raise ValueError(f"{len(rows)} bounds of {n_parameters} parameters")
    return np.array([_interval(row) for row in rows], dtype=np.float64).reshape(-1, 2)


def _interval(row: list[float | None]) -> tuple[float, float]:
    low, high = row
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)
