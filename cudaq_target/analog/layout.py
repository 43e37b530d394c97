"""Where the atoms of a program stand on a device: as given, moved as a whole, or on given traps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.errors import AnalogLimitError, DeviceLimitError, RegisterError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulser.register.base_register import BaseRegister
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.analog.model import AnalogSpec
    from cudaq_target.analog.rules import AnalogRules

# At 5 µm an atom that is 0.05 µm off its site changes an interaction by 6 %.
LAYOUT_TOLERANCE_UM = 0.05
# Pulser rounds coordinates to six decimals.
_SAME_PLACE_UM = 2e-6


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Atoms on a device.

    Attributes:
        atoms_um: Positions (µm), shape (n_atoms, 2), as the device holds them.
        traps: The trap layout they stand on, or None.
        error_um: Largest distance of an atom from its site, after one common motion (µm).
    """

    atoms_um: NDArray[np.float64]
    traps: RegisterLayout | None
    error_um: float


def place(
    rules: AnalogRules,
    spec: AnalogSpec,
    *,
    traps: RegisterLayout | None = None,
    tolerance_um: float = LAYOUT_TOLERANCE_UM,
) -> Placement:
    """Place the atoms of a program on a device.

    Only distances matter, so atoms that lie outside the device's radius are first moved to its
    centre together. Where a layout is needed, the first of these that works is taken: a calibrated
    layout in which all sites already stand; a new one through them, those without atom included;
    a calibrated one on which the atoms come to stand after a common rotation and translation.

    Args:
        rules: The device.
        spec: The program.
        traps: A `pulser` layout to use, or None to choose.
        tolerance_um: How far a trap may be from the place of an atom (µm).

    Returns:
        The positions as the device holds them, from which interactions must be computed.

    Raises:
        AnalogLimitError: Too many atoms, atoms too close, too far from the centre or off the traps.
        DeviceLimitError: No layout meets the device's limits.
    """
    check_distances(rules, spec.atoms_um)
    sites = _centred(rules, spec.sites_um)
    atoms = sites[spec.filling]
    _check_radius(rules, atoms)
    if traps is not None:
        return _on_traps(rules, atoms, (traps,), tolerance_um)
    if not rules.layout.required:
        return Placement(atoms, None, 0.0)
    for layout in rules.layout.calibrated:
        ids = _traps_at(layout.sorted_coords, sites)
        if ids is not None and _accepted(rules, layout, ids := ids[spec.filling]):
            return Placement(np.asarray(layout.sorted_coords[ids]), layout, 0.0)
    if rules.layout.accepts_new:
        return _new_layout(rules, sites, spec.filling)
    return _on_traps(rules, atoms, rules.layout.calibrated, tolerance_um)


def register(
    rules: AnalogRules, atoms_um: NDArray[np.float64], traps: RegisterLayout | None
) -> BaseRegister:
    """Build the `pulser` register of placed atoms, with an id q0, q1, … per atom.

    Raises:
        DeviceLimitError: The device does not accept it.
    """
    import pulser  # noqa: PLC0415

    ids = [f"q{k}" for k in range(len(atoms_um))]
    try:
        if traps is None:
            made = pulser.Register(dict(zip(ids, atoms_um, strict=True)))
        else:
            made = traps.define_register(
                *traps.get_traps_from_coordinates(*atoms_um), qubit_ids=ids
            )
        rules.pulser_device.validate_register(made)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _refused(rules, len(atoms_um), error) from error
    return made


def check_distances(rules: AnalogRules, atoms_um: NDArray[np.float64]) -> None:
    """Refuse too many atoms, and atoms that are too close.

    Raises:
        AnalogLimitError: With the atoms that break the limit.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415

    n_atoms = len(atoms_um)
    if rules.max_atoms is not None and n_atoms > rules.max_atoms:
        raise AnalogLimitError(
            subject=f"register of {n_atoms} atoms",
            limit=f"at most {rules.max_atoms} atoms",
            device=rules.name,
            remedy=f"Leave {n_atoms - rules.max_atoms} of them out",
            value=float(n_atoms),
            nearest=float(rules.max_atoms),
        )
    if n_atoms < 2:
        return
    distances, neighbours = cKDTree(atoms_um).query(atoms_um, k=2)
    closest = int(np.argmin(distances[:, 1]))
    found_um = float(distances[closest, 1])
    if found_um < rules.min_distance_um - _SAME_PLACE_UM / 2.0:
        a, b = sorted((closest, int(neighbours[closest, 1])))
        factor = math.ceil(1e4 * rules.min_distance_um / max(found_um, 1e-9)) / 1e4
        raise AnalogLimitError(
            subject=f"atoms {a} and {b}, {found_um:.4g} µm apart",
            limit=f"distances of at least {rules.min_distance_um:g} µm",
            device=rules.name,
            remedy=f"Move them apart, or multiply all coordinates by {factor:g}",
            atoms=(a, b),
            value=found_um,
            nearest=rules.min_distance_um,
        )


def _centred(rules: AnalogRules, sites: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.linalg.norm(sites, axis=1).max() <= rules.max_radius_um:
        return sites
    return np.asarray(sites - 0.5 * (sites.min(axis=0) + sites.max(axis=0)))


def _check_radius(rules: AnalogRules, atoms: NDArray[np.float64]) -> None:
    radii = np.linalg.norm(atoms, axis=1)
    farthest = int(np.argmax(radii))
    if radii[farthest] > rules.max_radius_um:
        raise AnalogLimitError(
            subject=f"atom {farthest}, {radii[farthest]:.4g} µm from the centre",
            limit=f"distances from the centre of at most {rules.max_radius_um:g} µm",
            device=rules.name,
            remedy=(
                f"Multiply all coordinates by {rules.max_radius_um / radii[farthest]:.4g} or less, "
                "or leave atoms out"
            ),
            atoms=(farthest,),
            value=float(radii[farthest]),
            nearest=rules.max_radius_um,
        )


def _new_layout(
    rules: AnalogRules, sites: NDArray[np.float64], filling: NDArray[np.bool_]
) -> Placement:
    """Let Pulser make a layout through all sites, with as many traps as the atoms call for."""
    import pulser  # noqa: PLC0415

    n_atoms = int(np.count_nonzero(filling))
    reason: BaseException | None = None
    for n_traps in _wanted_traps(rules, n_atoms, len(sites)):
        try:
            whole = pulser.Register.from_coordinates(sites, center=False, prefix="s")
            layout = whole.with_automatic_layout(_with_traps(rules.pulser_device, n_traps)).layout
            ids = layout.get_traps_from_coordinates(*sites[filling])
            rules.pulser_device.validate_register(layout.define_register(*ids))
        except (ValueError, TypeError, RuntimeError) as error:
            reason = error
        else:
            return Placement(np.asarray(layout.sorted_coords[ids], dtype=np.float64), layout, 0.0)
    raise _refused(rules, n_atoms, reason) from reason


def _wanted_traps(rules: AnalogRules, n_atoms: int, n_sites: int) -> list[int]:
    """Numbers of traps to try: the optimal filling within all limits, then the fewest traps.

    There is not always room for as many as are optimal.
    """
    limits = rules.layout
    lowest = max(math.ceil(n_atoms / limits.max_filling - 1e-9), limits.min_traps, n_sites)
    optimal = round(n_atoms / (limits.optimal_filling or limits.max_filling))
    highest = limits.max_traps or max(lowest, optimal)
    if limits.min_filling > 0.0:
        # Up to `min_traps` traps any filling is allowed.
        highest = min(highest, max(int(n_atoms / limits.min_filling + 1e-9), limits.min_traps))
    if lowest > highest:
        raise DeviceLimitError(
            subject=f"register of {n_atoms} atoms on {n_sites} sites, which needs {lowest} traps",
            limit=(
                f"{limits.min_traps} to {limits.max_traps or 'any number of'} traps, "
                f"{100 * limits.min_filling:g} to {100 * limits.max_filling:g} % of them filled, "
                f"so at most {highest} here"
            ),
            device=rules.name,
            remedy="Change the number of atoms, or leave empty sites out",
        )
    return sorted({min(max(optimal, lowest), highest), lowest}, reverse=True)


def _with_traps(device: Any, n_traps: int) -> Any:  # noqa: ANN401 - a class of Pulser's
    """Copy a device so that Pulser's generator makes this many traps through all given sites."""
    from pulser.devices import Device  # noqa: PLC0415

    if not isinstance(device, Device):
        raise TypeError(
            "layouts are not made for virtual devices; give one, or set requires_layout=False"
        )
    return dataclasses.replace(
        device,
        min_layout_traps=n_traps,
        max_layout_traps=n_traps,
        min_layout_filling=0.0,
        max_layout_filling=1.0,
        optimal_layout_filling=None,
        max_atom_num=n_traps,
        pre_calibrated_layouts=(),
    )


def _on_traps(
    rules: AnalogRules,
    atoms: NDArray[np.float64],
    layouts: tuple[RegisterLayout, ...],
    tolerance_um: float,
) -> Placement:
    """Bring the atoms onto the traps of one of the layouts, all together."""
    best: tuple[float, RegisterLayout, NDArray[np.int64], NDArray[np.float64]] | None = None
    refused: Exception | None = None
    for layout in layouts:
        traps = np.asarray(layout.sorted_coords, dtype=np.float64)
        if traps.shape[1] != 2 or len(traps) < len(atoms):
            continue
        ids, error_um, moved = matched(traps, atoms)
        try:
            rules.pulser_device.validate_register(layout.define_register(*ids.tolist()))
        except ValueError as error:
            refused = error
            if len(set(ids.tolist())) == len(ids):
                continue
        if best is None or error_um < best[0]:
            best = error_um, layout, ids, moved
        if error_um <= _SAME_PLACE_UM:
            break
    if best is None:
        if refused is not None:
            raise _refused(rules, len(atoms), refused) from refused
        sizes = [layout.number_of_traps for layout in layouts]
        raise RegisterError(
            f"{len(atoms)} atoms fit on no layout of {rules.name}, which have {sizes} traps",
            "Use fewer atoms, or a device that accepts new layouts",
        )
    error_um, layout, ids, moved = best
    if error_um > tolerance_um:
        _refuse_off_traps(rules, layout, ids, moved, error_um, tolerance_um)
    return Placement(np.asarray(layout.sorted_coords[ids], dtype=np.float64), layout, error_um)


def _refuse_off_traps(
    rules: AnalogRules,
    layout: RegisterLayout,
    ids: NDArray[np.int64],
    moved: NDArray[np.float64],
    error_um: float,
    tolerance_um: float,
) -> None:
    off = np.linalg.norm(layout.sorted_coords[ids] - moved, axis=1)
    off[_doubled(ids)] += np.inf
    atom = int(np.argmax(off))
    trap = layout.sorted_coords[ids[atom]]
    doubled = bool(np.isinf(off[atom]))
    where = "a trap that another atom holds" if doubled else f"{error_um:.4g} µm from its trap"
    raise AnalogLimitError(
        subject=f"atom {atom}, even after moving all atoms together {where}",
        limit=f"atoms within {tolerance_um:g} µm of the traps of {layout}",
        device=rules.name,
        remedy=(
            f"Nearest trap: {ids[atom]} at ({trap[0]:.4g}, {trap[1]:.4g}) µm; place the atoms on "
            "traps of that layout"
        ),
        atoms=(atom,),
        value=error_um,
        nearest=tolerance_um,
    )


def matched(
    traps: NDArray[np.float64], atoms: NDArray[np.float64]
) -> tuple[NDArray[np.int64], float, NDArray[np.float64]]:
    """Find the rotation and translation that bring atoms nearest to traps.

    Each way to lay the longest line between two atoms onto two traps of about that distance is
    tried, and the best of them is refined by a least-squares fit.

    Args:
        traps: Trap positions (µm), shape (n_traps, 2).
        atoms: Atom positions (µm), shape (n_atoms, 2).

    Returns:
        The trap of each atom, shape (n_atoms,); the largest distance of an atom from its trap
        (µm), inf where two atoms share one; the moved atoms (µm), shape (n_atoms, 2).
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415

    tree = cKDTree(traps)
    in_place = _judged(tree, atoms)
    if in_place[1] <= _SAME_PLACE_UM:
        return in_place
    if len(atoms) == 1:
        nearest = in_place[0]
        return nearest, 0.0, traps[nearest]
    far = np.linalg.norm(atoms[:, None] - atoms[None], axis=-1)
    a, b = np.unravel_index(int(np.argmax(far)), far.shape)
    between = np.linalg.norm(traps[:, None] - traps[None], axis=-1)
    # Laid onto a pair that is longer or shorter, both ends are off by half the difference.
    off = np.abs(between - far[a, b])
    first, second = np.nonzero(off <= off[~np.eye(len(traps), dtype=np.bool_)].min() + 0.5)
    z, t = atoms @ (1.0, 1.0j), traps @ (1.0, 1.0j)
    keep = first != second
    turn = t[second[keep]] - t[first[keep]]
    turn = turn / np.abs(turn) * np.exp(-1j * np.angle(z[b] - z[a]))
    middles = 0.5 * (t[first[keep]] + t[second[keep]])
    best = in_place
    for angle, middle in zip(turn, middles, strict=True):
        moved = (z - 0.5 * (z[a] + z[b])) * angle + middle
        judged = _judged(tree, np.column_stack([moved.real, moved.imag]))
        if judged[1] < best[1]:
            best = judged
            if best[1] <= _SAME_PLACE_UM:
                break
    return _refined(tree, traps, atoms, best)


def _judged(
    tree: Any,  # noqa: ANN401 - scipy has no types here
    moved: NDArray[np.float64],
) -> tuple[NDArray[np.int64], float, NDArray[np.float64]]:
    distances, ids = tree.query(moved)
    shared = len(np.unique(ids)) < len(ids)
    return ids, math.inf if shared else float(distances.max()), moved


def _refined(
    tree: Any,  # noqa: ANN401 - scipy has no types here
    traps: NDArray[np.float64],
    atoms: NDArray[np.float64],
    found: tuple[NDArray[np.int64], float, NDArray[np.float64]],
) -> tuple[NDArray[np.int64], float, NDArray[np.float64]]:
    """Fit the motion to the traps that were found (rotation in the plane, least squares)."""
    ids, error_um, _ = found
    if math.isinf(error_um):
        return found
    z, t = atoms @ (1.0, 1.0j), traps[ids] @ (1.0, 1.0j)
    turn = np.vdot(z - z.mean(), t - t.mean())
    if abs(turn) == 0.0:
        return found
    moved = (z - z.mean()) * turn / abs(turn) + t.mean()
    fitted = _judged(tree, np.column_stack([moved.real, moved.imag]))
    return fitted if fitted[1] < error_um else found


def _doubled(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark every atom whose trap an earlier one has."""
    mark = np.ones(len(ids), dtype=np.bool_)
    mark[np.unique(ids, return_index=True)[1]] = False
    return mark


def _traps_at(traps: NDArray[np.float64], atoms: NDArray[np.float64]) -> NDArray[np.int64] | None:
    from scipy.spatial import cKDTree  # noqa: PLC0415

    if traps.shape[1] != 2:
        return None
    ids, error_um, _ = _judged(cKDTree(traps), atoms)
    return ids if error_um <= _SAME_PLACE_UM else None


def _accepted(rules: AnalogRules, layout: RegisterLayout, ids: NDArray[np.int64]) -> bool:
    try:
        rules.pulser_device.validate_register(layout.define_register(*ids.tolist()))
    except ValueError:
        return False
    return True


def _refused(rules: AnalogRules, n_atoms: int, error: BaseException | None) -> DeviceLimitError:
    words = str(error).rstrip(".")
    if error is not None and error.__cause__ is not None:
        words += f": {str(error.__cause__).rstrip('.')}"
    limits = rules.layout
    return DeviceLimitError(
        subject=f"register of {n_atoms} atoms",
        limit=(
            f"atoms at least {rules.min_distance_um:g} µm apart within {rules.max_radius_um:g} µm "
            f"of the centre, on layouts of {limits.min_traps} to "
            f"{limits.max_traps or 'any number of'} traps with "
            f"{100 * limits.min_filling:g} to {100 * limits.max_filling:g} % of them filled"
        ),
        device=rules.name,
        remedy=f"Pulser says: {words}",
    )
