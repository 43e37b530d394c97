"""Where atoms may stand: positions of the user's choice, the traps of a layout, or both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pulser.register.register_layout import RegisterLayout

_REMEDY = (
    "Give coordinates (µm) of shape (n_sites, 2), a pulser Register or RegisterLayout, "
    "or the path of a JSON file with a list of [x, y]"
)


@dataclass(frozen=True, slots=True)
class Sites:
    """Places for atoms.

    Attributes:
        coordinates_um: One (x, y) or (x, y, z) per site (µm). With as many sites as qubits, row k
            is for qubit k.
        traps: The trap layout that all sites belong to; None leaves it to the device's rules.
    """

    coordinates_um: tuple[tuple[float, ...], ...]
    traps: RegisterLayout | None = None

    def __len__(self) -> int:
        return len(self.coordinates_um)

    def as_array(self) -> NDArray[np.float64]:
        """Return the coordinates (µm), shape (n_sites, 2 or 3)."""
        import numpy as np  # noqa: PLC0415

        return np.array(self.coordinates_um, dtype=np.float64)


def read_sites(value: object) -> Sites:
    """Read sites in any form that the option `layout` takes.

    Args:
        value: Coordinates (µm) of shape (n_sites, 2 or 3), a `pulser` register or register layout,
            the path of a JSON file with a list of [x, y], or sites.

    Raises:
        OptionError: It holds no finite coordinates.
    """
    from pulser.register.base_register import BaseRegister  # noqa: PLC0415
    from pulser.register.register_layout import RegisterLayout  # noqa: PLC0415

    if isinstance(value, Sites):
        return value
    if isinstance(value, RegisterLayout):
        return Sites(_coordinates(value.sorted_coords), value)
    if isinstance(value, BaseRegister):
        positions = [position.as_array() for position in value.qubits.values()]
        return Sites(_coordinates(positions), value.layout)
    if isinstance(value, str | Path):
        try:
            return Sites(_coordinates(json.loads(Path(value).read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            raise OptionError(
                f"layout {str(value)!r}", f"not readable ({error})", _REMEDY
            ) from error
    return Sites(_coordinates(value))


def traps_to_json(traps: RegisterLayout | None) -> dict[str, Any] | None:
    """Return a trap layout in Pulser's abstract representation, as an object for JSON."""
    if traps is None:
        return None
    content: dict[str, Any] = json.loads(traps.to_abstract_repr())
    return content


def traps_from_json(content: dict[str, Any] | None) -> RegisterLayout | None:
    """Read what `traps_to_json` returned.

    Raises:
        ValueError: It is no trap layout.
    """
    from pulser.register.register_layout import RegisterLayout  # noqa: PLC0415

    if content is None:
        return None
    try:
        return RegisterLayout.from_abstract_repr(json.dumps(content))
    except Exception as error:  # whatever Pulser's schema and constructors raise
        raise ValueError(f"no trap layout ({type(error).__name__})") from error


def _coordinates(table: Any) -> tuple[tuple[float, ...], ...]:  # noqa: ANN401 - of the user's
    import numpy as np  # noqa: PLC0415

    try:
        sites = np.asarray(table, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError("layout", "it holds no table of numbers", _REMEDY) from error
    if sites.ndim != 2 or sites.shape[1] not in (2, 3) or not np.isfinite(sites).all():
        raise OptionError("layout", f"coordinates of shape {sites.shape} are not usable", _REMEDY)
    return tuple(tuple(float(x) for x in site) for site in sites)
