"""Kernel qubits to sites: close together where gates are many, inside the device's rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import DeviceLimitError, OptionError
from cudaq_target.native_ops import CCZ, CPhase
from cudaq_target.place_search import assign_sites
from cudaq_target.pulses import gate_times_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.device import DeviceRules
    from cudaq_target.native_ops import NativeCircuit

# Closer than this, atoms gain nothing (every gate already fits the retarget time) and lose
# robustness against position errors relative to their distance.
_PREFERRED_SPACING_UM = 4.0
# A hair above the device's minimum: Pulser rounds coordinates to 1e-6 µm after centring.
_SPACING_MARGIN_UM = 1e-3
# Pulser's own precision of register coordinates.
_COORDINATE_DECIMALS = 6
_N_STARTS = 20
_SEED = 20260101


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where each qubit's atom stands.

    Attributes:
        coordinates_um: Position of atom k, which starts as kernel qubit k (µm), shape (n, 2 or 3).
        distances_um: Pair distances (µm), shape (n, n).
        interactions_rad_per_us: Pair interactions C6/R^6 (rad/µs), shape (n, n), 0 on the diagonal.
    """

    coordinates_um: NDArray[np.float64]
    distances_um: NDArray[np.float64]
    interactions_rad_per_us: NDArray[np.float64]


def place(
    native: NativeCircuit,
    rules: DeviceRules,
    layout: NDArray[np.float64] | None = None,
) -> Placement:
    """Choose a site for each wire so that the sum of gate times is small.

    Args:
        native: Native circuit on wires.
        rules: The device.
        layout: Sites to use (µm), shape (n_sites, 2 or 3). With exactly one site per qubit, row k
            is qubit k; with more, sites are chosen among them. None: a compact triangular patch.

    Returns:
        The placement, with coordinates as Pulser will store them.

    Raises:
        DeviceLimitError: Too many qubits, sites too close or too far out.
        OptionError: A layout of the wrong shape, with too few or non-finite sites.
    """
    n = native.n_qubits
    _check_size(n, rules)
    if layout is None:
        sites = _choose(native, rules, triangular_patch(n, lattice_spacing_um(rules)))
    else:
        sites = np.asarray(layout, dtype=np.float64)
        _check_layout(sites, n)
        if len(sites) > n:
            sites = _choose(native, rules, sites)
    return placement(sites, rules, centred=layout is None)


def placement(
    sites_um: NDArray[np.float64], rules: DeviceRules, *, centred: bool = True
) -> Placement:
    """Derive distances and interactions from sites, and check them against the device.

    Args:
        sites_um: Site of each qubit (µm), shape (n, 2 or 3).
        rules: The device.
        centred: Move the centre of mass to the origin.

    Raises:
        DeviceLimitError: Sites too close to each other or too far from the centre.
    """
    if centred and len(sites_um):
        sites_um = sites_um - sites_um.mean(axis=0)
    coordinates = np.round(sites_um, _COORDINATE_DECIMALS)
    distances = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=-1)
    _check_geometry(coordinates, distances, rules)
    with np.errstate(divide="ignore"):
        interactions = rules.c6_rad_per_us_um6 / distances**6
    np.fill_diagonal(interactions, 0.0)
    return Placement(coordinates, distances, interactions)


def lattice_spacing_um(rules: DeviceRules) -> float:
    """Spacing of the default lattice (µm)."""
    return max(rules.min_distance_um, _PREFERRED_SPACING_UM) + _SPACING_MARGIN_UM


def triangular_patch(n_sites: int, spacing_um: float) -> NDArray[np.float64]:
    """The sites of a triangular lattice nearest to a common centre.

    The best of three centres (a site, the middle of an edge, the middle of a triangle) is taken:
    the one whose patch has the smallest sum of squared distances.

    Args:
        n_sites: Number of sites.
        spacing_um: Lattice constant (µm).

    Returns:
        Sites (µm), shape (n_sites, 2), centred.

    >>> triangular_patch(3, 4.0).shape
    (3, 2)
    """
    reach = 2 + math.ceil(math.sqrt(n_sites))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    lattice = np.stack([columns + rows / 2.0, rows * math.sqrt(0.75)], axis=-1).reshape(-1, 2)
    best, best_spread = lattice[:n_sites], math.inf
    for centre in ((0.0, 0.0), (0.5, 0.0), (0.5, math.sqrt(0.75) / 3.0)):
        radii = np.linalg.norm(lattice - centre, axis=1)
        patch = lattice[np.argsort(np.round(radii, 9), kind="stable")[:n_sites]]
        spread = float(((patch - patch.mean(axis=0)) ** 2).sum()) if n_sites else 0.0
        if spread < best_spread - 1e-9:
            best, best_spread = patch, spread
    centre_of_mass = best.mean(axis=0) if n_sites else 0.0
    return np.asarray((best - centre_of_mass) * spacing_um, dtype=np.float64)


def _choose(
    native: NativeCircuit, rules: DeviceRules, sites: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Assign a site to each wire by local search on the sum of gate times."""
    n = native.n_qubits
    if n < 2:
        return sites[:n]
    pairs, thetas = _pair_angles(native)
    distances = np.linalg.norm(sites[:, None] - sites[None], axis=-1)
    upper = np.triu_indices(len(sites), 1)
    radii = np.unique(np.round(distances[upper], _COORDINATE_DECIMALS))
    interactions = rules.c6_rad_per_us_um6 / radii**6
    index_of_radius = np.searchsorted(radii, np.round(distances, _COORDINATE_DECIMALS))
    # What all gates of a pair of wires cost at each distance, shape (n, n, n_radii).
    cost_ns = np.zeros((n, n, len(radii)), dtype=np.float64)
    tables: dict[float, NDArray[np.float64]] = {}
    for (a, b), theta in zip(pairs, thetas, strict=True):
        if theta not in tables:
            tables[theta] = _cost_by_radius(rules, radii, interactions, theta)
        cost_ns[a, b] += tables[theta]
        cost_ns[b, a] += tables[theta]
    site_of_wire = assign_sites(cost_ns, index_of_radius.astype(np.int64), _N_STARTS, _SEED)
    return np.asarray(sites[site_of_wire], dtype=np.float64)


def _cost_by_radius(
    rules: DeviceRules,
    radii: NDArray[np.float64],
    interactions: NDArray[np.float64],
    theta: float,
) -> NDArray[np.float64]:
    """Time of one CPhase (ns) at each distance, with the cheaper sign, and a preference for near.

    The preference (below 1 ns per gate) decides only between equal times: nearer pairs are less
    sensitive to position errors.
    """
    times = np.minimum(
        gate_times_ns(rules, interactions, theta), gate_times_ns(rules, interactions, -theta)
    )
    swap_ns = 3.0 * 2.0 * max(rules.rydberg.min_retarget_ns, 100)
    beyond = times.min() + swap_ns * np.maximum(radii / radii.min() - 1.0, 0.0)
    cost: NDArray[np.float64] = np.minimum(times, beyond) + 0.1 * radii / radii.min()
    return cost


def _pair_angles(native: NativeCircuit) -> tuple[list[tuple[int, int]], list[float]]:
    """Pairs that share a gate, one entry per gate, and its angle without sign (rad)."""
    pairs: list[tuple[int, int]] = []
    thetas: list[float] = []
    for op in native.ops:
        if isinstance(op, CPhase):
            pairs.append((op.a, op.b))
            thetas.append(abs(op.theta))
        elif isinstance(op, CCZ):
            # All three pairs must be neighbours; weigh them so that they become so.
            for pair in ((op.a, op.b), (op.a, op.c), (op.b, op.c)):
                pairs += [pair] * 3
                thetas += [math.pi] * 3
    return pairs, thetas


def _check_size(n: int, rules: DeviceRules) -> None:
    if n > rules.max_atoms:
        raise DeviceLimitError(
            subject=f"a kernel of {n} qubits",
            limit=f"at most {rules.max_atoms} atoms",
            device=rules.name,
            remedy="Use fewer qubits or a larger device (Pasqal(device=...)).",
        )


def _check_layout(sites: NDArray[np.float64], n: int) -> None:
    remedy = "Give one (x, y) in µm per qubit: an array of shape (n_sites, 2), n_sites >= n_qubits."
    if sites.ndim != 2 or sites.shape[1] not in (2, 3) or not np.isfinite(sites).all():
        raise OptionError("layout", f"coordinates of shape {sites.shape} are not usable", remedy)
    if len(sites) < n:
        raise OptionError("layout", f"{len(sites)} sites for {n} qubits", remedy)


def _check_geometry(
    coordinates: NDArray[np.float64], distances: NDArray[np.float64], rules: DeviceRules
) -> None:
    n = len(coordinates)
    if n > 1:
        gaps = distances + np.where(np.eye(n, dtype=bool), np.inf, 0.0)
        a, b = divmod(int(gaps.argmin()), n)
        if gaps[a, b] <= 0.0 or gaps[a, b] < rules.min_distance_um - 1e-6:
            raise DeviceLimitError(
                subject=f"qubits {a} and {b} are {gaps[a, b]:.3f} µm apart",
                limit=f"no less than {rules.min_distance_um:g} µm",
                device=rules.name,
                remedy="Spread the sites of Pasqal(layout=...), or leave it out.",
            )
    if n:
        radii = np.linalg.norm(coordinates, axis=1)
        k = int(radii.argmax())
        if radii[k] > rules.max_radius_um:
            raise DeviceLimitError(
                subject=f"qubit {k} is {radii[k]:.1f} µm from the centre",
                limit=f"at most {rules.max_radius_um:g} µm",
                device=rules.name,
                remedy="Use fewer qubits, or move the sites of Pasqal(layout=...) inwards.",
            )
