"""Kernel qubits to sites: close together where gates are many, inside the device's rules."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.ccz import ccz_serves
from cudaq_target.errors import DeviceLimitError, OptionError
from cudaq_target.native_ops import CCZ, CPhase
from cudaq_target.place_search import assign_sites
from cudaq_target.pulses import gate_times_ns
from cudaq_target.sites import Sites, read_sites

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.device import DeviceRules
    from cudaq_target.native_ops import NativeCircuit

# Closer than this, atoms gain nothing (every gate already fits the retarget time) and lose
# robustness against position errors relative to their distance.
_PREFERRED_SPACING_UM = 4.0
# A hair above the device's minimum: Pulser rounds coordinates to 1e-6 µm after centring.
_SPACING_MARGIN_UM = 1e-3
# Pulser's own precision of register coordinates.
_COORDINATE_DECIMALS = 6
# Distances of irregular sites are sorted into this many classes.
_MAX_RADII = 256
# Fewest and most starts; in between, the budget counts terms of the cost times sites.
_N_STARTS, _N_STARTS_OF_TRIPLES = (4, 20), (4, 100)
_SEARCH_BUDGET = 600_000
# A CCZ off a triangle becomes five CPhases, which last about this much longer (ns).
_OFF_TRIANGLE_NS = 1000.0
_CPHASES_PER_PAIR = 5.0 / 3.0
# What must not be, in the sum of gate times; far above any program (ns).
_TOO_SLOW_NS, _TOO_CLOSE_NS = 1e7, 1e9
_LEAST_SPACING_UM = 0.1
_SEED = 20260101


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where each qubit's atom stands.

    Attributes:
        coordinates_um: Position of atom k, which starts as kernel qubit k (µm), shape (n, 2 or 3).
        distances_um: Pair distances (µm), shape (n, n).
        interactions_rad_per_us: Pair interactions C6/R^6 (rad/µs), shape (n, n), 0 on the diagonal.
        traps: The `pulser` trap layout that the sites belong to; None leaves it to the device.
    """

    coordinates_um: NDArray[np.float64]
    distances_um: NDArray[np.float64]
    interactions_rad_per_us: NDArray[np.float64]
    traps: RegisterLayout | None = None


def place(
    native: NativeCircuit,
    rules: DeviceRules,
    layout: Sites | None = None,
    route: str = "swap",
) -> Placement:
    """Choose a site for each wire so that the sum of gate times is small.

    Args:
        native: Native circuit on wires.
        rules: The device.
        layout: Sites to use. With exactly one site per qubit, row k is qubit k; with more, sites
            are chosen among them. None: the device's calibrated layouts where it accepts no
            others, else a compact triangular patch.
        route: "swap", or "direct" where no pair will be brought together; see `route.find_swaps`.

    Returns:
        The placement, with coordinates as Pulser will store them.

    Raises:
        DeviceLimitError: Too many qubits, sites too close or too far out, an unusable trap layout.
        OptionError: Fewer sites than qubits.
    """
    n = native.n_qubits
    check_size(n, rules)
    if layout is None and rules.calibrated_layouts is None:
        sites, _ = _choose(native, rules, _patch(native, rules), route)
        return placement(sites, rules)
    offers = _calibrated(n, rules) if layout is None else [_on_traps(layout, n, rules)]
    chosen: list[tuple[float, NDArray[np.float64], RegisterLayout | None]] = []
    for offer in offers:
        sites, cost_ns = offer.as_array(), 0.0
        if len(sites) > n:
            sites, cost_ns = _choose(native, rules, sites, route)
        chosen.append((cost_ns, sites, offer.traps))
    _, sites, traps = min(chosen, key=lambda found: found[0])
    return replace(placement(sites, rules, centred=False), traps=traps)


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
        OptionError: Two qubits on one site.
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


def _patch(native: NativeCircuit, rules: DeviceRules) -> NDArray[np.float64]:
    """Sites of the default lattice: as many as wires, or more where triangles are wanted."""
    n = native.n_qubits
    spacing_um = lattice_spacing_um(rules)
    if not any(isinstance(op, CCZ) for op in native.ops):
        return triangular_patch(n, spacing_um)
    patch = triangular_patch(_n_candidates(n), spacing_um)
    inside = patch[np.linalg.norm(patch, axis=1) <= rules.max_radius_um]
    return inside if len(inside) >= n else triangular_patch(n, spacing_um)


def _n_candidates(n: int) -> int:
    """Number of sites to choose from: room for other shapes than a disc."""
    return 2 * n + 12


def _choose(
    native: NativeCircuit, rules: DeviceRules, sites: NDArray[np.float64], route: str
) -> tuple[NDArray[np.float64], float]:
    """Assign a site to each wire by local search; also return the sum of gate times (ns)."""
    n = native.n_qubits
    if len(sites) > n:
        from_centre = np.linalg.norm(sites - sites.mean(axis=0), axis=1)
        sites = sites[np.argsort(np.round(from_centre, 9), kind="stable")[: _n_candidates(n)]]
    if n < 2:
        return sites[:n], 0.0
    radii, radius_of_pair = _radius_classes(sites)
    cost_ns, triples, usable = _costs(native, rules, radii, route)
    work = len(sites) * (np.count_nonzero(cost_ns.any(axis=-1)) + 9 * len(triples)) + 1
    site_of_wire, found_ns = assign_sites(
        cost_ns,
        radius_of_pair,
        triples,
        usable,
        int(np.clip(_SEARCH_BUDGET // work, *(_N_STARTS_OF_TRIPLES if triples else _N_STARTS))),
        _SEED,
    )
    return np.asarray(sites[site_of_wire], dtype=np.float64), found_ns


def _radius_classes(
    sites: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances that occur (µm), and which of them each pair of sites has.

    Irregular sites have too many; theirs are rounded up to steps of about 2 %.
    """
    distances = np.linalg.norm(sites[:, None] - sites[None], axis=-1)
    distances = np.round(distances, _COORDINATE_DECIMALS)
    radii = np.unique(distances[np.triu_indices(len(sites), 1)])
    if len(radii) > _MAX_RADII:
        least = max(radii[0], 0.1)
        steps = np.geomspace(least, max(radii[-1], least), _MAX_RADII)
        radii = np.unique(np.append(radii[radii < least], steps))
        radii[-1] = max(radii[-1], distances.max())
    return radii, np.searchsorted(radii, distances).astype(np.int64)


def _costs(
    native: NativeCircuit, rules: DeviceRules, radii: NDArray[np.float64], route: str
) -> tuple[NDArray[np.float64], dict[tuple[int, int, int], float], NDArray[np.bool_]]:
    """Cost of all gates of two wires at each radius (ns), of triples, and radii of triangles."""
    n = native.n_qubits
    with np.errstate(divide="ignore"):
        interactions = rules.c6_rad_per_us_um6 / radii**6
    usable = np.array([ccz_serves(rules, float(v)) for v in interactions], dtype=np.bool_)
    cost_ns = np.zeros((n, n, len(radii)), dtype=np.float64)
    triples: dict[tuple[int, int, int], float] = {}
    tables: dict[float, NDArray[np.float64]] = {}

    def table(theta: float) -> NDArray[np.float64]:
        if theta not in tables:
            tables[theta] = _cost_by_radius(rules, radii, interactions, theta, route)
        return tables[theta]

    for op in native.ops:
        if isinstance(op, CPhase):
            cost_ns[op.a, op.b] += table(abs(op.theta))
        elif isinstance(op, CCZ):
            a, b, c = sorted((op.a, op.b, op.c))
            triples[a, b, c] = triples.get((a, b, c), 0.0) + _OFF_TRIANGLE_NS / 4.0
            for pair in ((a, b), (a, c), (b, c)):
                # What the CPhases would cost, and a slope towards the triangle.
                cost_ns[pair] += _CPHASES_PER_PAIR * table(math.pi)
                cost_ns[pair] += _OFF_TRIANGLE_NS / 4.0 * ~usable
    cost_ns += cost_ns.transpose(1, 0, 2).copy()
    too_close = (radii <= 0.0) | (radii < rules.min_distance_um - 1e-6)
    if too_close.any():
        cost_ns[:, :, too_close] = _TOO_CLOSE_NS
        cost_ns[np.arange(n), np.arange(n)] = 0.0
    return cost_ns, triples, usable


def _cost_by_radius(
    rules: DeviceRules,
    radii: NDArray[np.float64],
    interactions: NDArray[np.float64],
    theta: float,
    route: str,
) -> NDArray[np.float64]:
    """Time of one CPhase (ns) at each distance, with the cheaper sign, and a preference for near.

    A pair that is too slow, or too far apart for the device's longest pulse, is brought together
    by SWAPs, the more of them the farther it is; without SWAPs such a pair must not be.

    The preference (below 1 ns per gate) decides only between equal times: nearer pairs are less
    sensitive to position errors.
    """
    times = np.minimum(
        gate_times_ns(rules, interactions, theta), gate_times_ns(rules, interactions, -theta)
    ).astype(np.float64)
    steps = radii / max(radii.min(), rules.min_distance_um, _LEAST_SPACING_UM)
    too_slow = times > rules.rydberg.max_duration_ns
    if route == "direct":
        times[too_slow] = _TOO_SLOW_NS * steps[too_slow]
    else:
        swap_ns = 3.0 * 2.0 * max(rules.rydberg.min_retarget_ns, 100)
        beyond = times.min() + swap_ns * np.maximum(steps - 1.0, 0.0)
        times = np.where(too_slow, beyond, np.minimum(times, beyond))
    cost: NDArray[np.float64] = times + 0.1 * radii / _PREFERRED_SPACING_UM
    return cost


def _calibrated(n: int, rules: DeviceRules) -> list[Sites]:
    """The calibrated layouts that hold `n` atoms."""
    offers = [read_sites(traps) for traps in rules.calibrated_layouts or ()]
    room = [(offer, _capacity(offer, rules)) for offer in offers]
    large = [offer for offer, capacity in room if capacity >= n]
    if not large:
        most = max((capacity for _, capacity in room), default=0)
        raise DeviceLimitError(
            subject=f"a kernel of {n} qubits",
            limit=f"only its {len(offers)} calibrated layouts, with at most {most} atoms",
            device=rules.name,
            remedy="Use fewer qubits or a device with larger layouts (Pasqal(device=...)).",
        )
    return large


def _on_traps(layout: Sites, n: int, rules: DeviceRules) -> Sites:
    """Check a layout of the user's, and find its traps where only calibrated ones are accepted."""
    if len(layout) < n:
        raise OptionError(
            "layout",
            f"{len(layout)} sites for {n} qubits",
            "Give one (x, y) in µm per qubit: an array of shape (n_sites, 2), n_sites >= n_qubits.",
        )
    if rules.calibrated_layouts is not None:
        layout = _on_calibrated_traps(layout, rules)
    if layout.traps is None:
        return layout
    try:
        rules.pulser_device.validate_layout(layout.traps)
    except (ValueError, TypeError) as error:
        raise DeviceLimitError(
            subject=f"a layout of {layout.traps.number_of_traps} traps",
            limit="only layouts within its rules",
            device=rules.name,
            remedy=f"Pulser says: {str(error).rstrip('.')}.",
        ) from error
    if n > _capacity(layout, rules):
        least = math.ceil(n / rules.pulser_device.max_layout_filling)
        raise DeviceLimitError(
            subject=f"{n} atoms on a layout of {layout.traps.number_of_traps} traps",
            limit=f"at most {rules.pulser_device.max_layout_filling:.0%} of the traps to be filled",
            device=rules.name,
            remedy=f"Give a layout of at least {least} traps, or the coordinates alone.",
        )
    return layout


def _on_calibrated_traps(layout: Sites, rules: DeviceRules) -> Sites:
    for traps in rules.calibrated_layouts or ():
        if layout.traps == traps:
            return layout
        if layout.traps is None:
            try:
                traps.get_traps_from_coordinates(*layout.as_array())
            except ValueError:
                continue
            return Sites(layout.coordinates_um, traps)
    raise DeviceLimitError(
        subject="the sites of Pasqal(layout=...)",
        limit=f"only the traps of one of its {len(rules.calibrated_layouts or ())} calibrated "
        "layouts",
        device=rules.name,
        remedy="Take sites from device.calibrated_register_layouts, or leave the layout out.",
    )


def _capacity(layout: Sites, rules: DeviceRules) -> int:
    """Most atoms on a trap layout."""
    traps = len(layout) if layout.traps is None else layout.traps.number_of_traps
    return int(traps * rules.pulser_device.max_layout_filling)


def check_size(n: int, rules: DeviceRules) -> None:
    """Refuse more qubits than the device holds atoms, before anything is computed for them.

    Raises:
        DeviceLimitError: Too many qubits.
    """
    if n > rules.max_atoms:
        raise DeviceLimitError(
            subject=f"a kernel of {n} qubits",
            limit=f"at most {rules.max_atoms} atoms",
            device=rules.name,
            remedy="Use fewer qubits or a larger device (Pasqal(device=...)).",
        )


def _check_geometry(
    coordinates: NDArray[np.float64], distances: NDArray[np.float64], rules: DeviceRules
) -> None:
    n = len(coordinates)
    if n > 1:
        gaps = distances + np.where(np.eye(n, dtype=bool), np.inf, 0.0)
        a, b = divmod(int(gaps.argmin()), n)
        if gaps[a, b] <= 0.0:
            raise OptionError(
                "layout",
                f"qubits {a} and {b} share the site {tuple(coordinates[a].tolist())} µm",
                "Give every qubit a site of its own in Pasqal(layout=...), or leave it out.",
            )
        if gaps[a, b] < rules.min_distance_um - 1e-6:
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
