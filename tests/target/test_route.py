"""SWAPs appear only where they pay, and change no state."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from cudaq_target.device import resolve
from cudaq_target.errors import DeviceLimitError, OptionError
from cudaq_target.native_ops import CPhase, NativeCircuit
from cudaq_target.place import place, placement
from cudaq_target.route import Swap, check_reach, find_swaps, insert_swaps
from tests.target.circuits_on_atoms import ghz, random_circuit, state

DAD = resolve("DigitalAnalogDevice")
# Pulses of at most 600 ns: about 7 µm.
SLOW = dataclasses.replace(
    DAD,
    max_radius_um=1000.0,
    c6_rad_per_us_um6=DAD.c6_rad_per_us_um6 / 8.0,
    rydberg=dataclasses.replace(DAD.rydberg, max_duration_ns=600),
)


def line(n: int, spacing_um: float) -> np.ndarray:
    return np.stack([np.arange(n) * spacing_um, np.zeros(n)], axis=1)


def far_pair(n: int, repeats: int = 1) -> NativeCircuit:
    gates = tuple(CPhase(0, n - 1, math.pi) for _ in range(repeats))
    return NativeCircuit(n, gates, tuple(range(n)))


@pytest.mark.parametrize("n", [2, 5, 8])
def test_small_patches_need_no_swap(n: int) -> None:
    native = random_circuit(n, 40, np.random.default_rng(n))
    assert find_swaps(native, place(native, DAD), DAD) == ()


def test_a_distant_pair_is_brought_together() -> None:
    native = far_pair(5)
    swaps = find_swaps(native, placement(line(5, 5.0), DAD), DAD)
    assert swaps
    assert all(swap.position == 0 for swap in swaps)


def test_direct_keeps_the_distance() -> None:
    native = far_pair(3)
    assert find_swaps(native, placement(line(3, 6.0), DAD), DAD, "direct") == ()


def test_a_pair_at_ten_micrometres_is_faster_without_a_swap() -> None:
    assert find_swaps(far_pair(3), placement(line(3, 5.0), DAD), DAD) == ()


def test_a_second_gate_on_the_pair_needs_no_second_swap() -> None:
    where = placement(line(5, 5.0), DAD)
    once = find_swaps(far_pair(5), where, DAD)
    assert find_swaps(far_pair(5, repeats=6), where, DAD) == once


@pytest.mark.parametrize("seed", range(5))
def test_swaps_keep_the_state_and_its_phase(seed: int) -> None:
    rng = np.random.default_rng(seed)
    native = random_circuit(4, 12, rng)
    positions = sorted(int(p) for p in rng.integers(0, len(native.ops), size=3))
    swaps = tuple(
        Swap(position, tuple(int(a) for a in rng.permutation(4)[:2])) for position in positions
    )
    np.testing.assert_allclose(state(insert_swaps(native, swaps)), state(native), atol=1e-12)


def test_unknown_route_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"route 'teleport'.*swap, direct"):
        find_swaps(ghz(2), place(ghz(2), DAD), DAD, "teleport")


def test_direct_refuses_a_pair_beyond_the_longest_pulse() -> None:
    where = placement(line(2, 90.0) - 45.0 * np.eye(2)[0], DAD)
    assert find_swaps(far_pair(2), where, SLOW, "direct") == ()
    with pytest.raises(DeviceLimitError, match=r"atoms 0 and 1, which are 90\.0 µm.*route='swap'"):
        check_reach(far_pair(2), where, SLOW, "direct")


def test_a_pair_beyond_the_longest_pulse_is_brought_together_in_several_steps() -> None:
    where = placement(line(8, 5.0), SLOW)
    swaps = find_swaps(far_pair(8), where, SLOW)
    assert len(swaps) >= 4
    check_reach(insert_swaps(far_pair(8), swaps), where, SLOW)


def test_swaps_take_the_way_around_a_gap() -> None:
    """Straight across, no SWAP can be played; the chain leads around."""
    ring = np.array([[0, 0], [0, 5], [0, 10], [6, 12], [12, 10], [12, 5], [12, 0]], dtype=float)
    where = placement(ring, SLOW)
    native = far_pair(7)
    swaps = find_swaps(native, where, SLOW)
    assert swaps
    check_reach(insert_swaps(native, swaps), where, SLOW)
    assert all(where.distances_um[swap.atoms] < 7.0 for swap in swaps)


def test_sites_that_no_chain_connects_say_how_near_they_must_be() -> None:
    where = placement(np.array([[-15.0, 0], [-10, 0], [10, 0], [15, 0]]), SLOW)
    native = far_pair(4)
    assert find_swaps(native, where, SLOW) == ()
    with pytest.raises(DeviceLimitError) as caught:
        check_reach(native, where, SLOW)
    assert "Place them at most 6.9 µm apart" in str(caught.value)
    assert "no chain of SWAPs over these sites brings them so close" in str(caught.value)


def test_a_beam_too_slow_for_neighbours_is_named() -> None:
    slow = dataclasses.replace(DAD, rydberg=dataclasses.replace(DAD.rydberg, max_duration_ns=100))
    where = placement(line(2, 4.0), slow)
    assert find_swaps(far_pair(2), where, slow) == ()
    with pytest.raises(DeviceLimitError, match="too slow even for neighbours: use a device"):
        check_reach(far_pair(2), where, slow)
