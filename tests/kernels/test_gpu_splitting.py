"""Splitting stages on the GPU back end, run on this processor: states, plans of passes, tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.kernels import splitting
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.gpu import splitting as gpu_splitting
from tests.kernels.emulated_device import emulated_gpu  # noqa: F401 - a fixture

TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}
emulated = pytest.mark.usefixtures("emulated_gpu")


def case(n_atoms: int, n_stages: int, dtype: type = np.float64) -> tuple[np.ndarray, ...]:
    """A state as its two parts, then interactions, waits, shifts and angles: one per atom."""
    rng = np.random.default_rng([n_atoms, n_stages])
    parts = rng.normal(size=(2, 1 << n_atoms))
    parts /= np.linalg.norm(parts)
    upper = np.triu(rng.uniform(0.0, 20.0, (n_atoms, n_atoms)), 1)
    waits = rng.choice([0.01, -0.003, 0.02], n_stages)
    shifts = rng.normal(size=(n_stages, n_atoms))
    angles = rng.uniform(-0.8, 0.8, (n_stages, n_atoms))
    angles[-1] = 0.0
    return parts.astype(dtype), upper + upper.T, waits, shifts, angles


def assert_gpu_agrees(n_atoms: int, n_stages: int, dtype: type, **changes: np.ndarray) -> None:
    parts, interactions, waits, shifts, angles = case(n_atoms, n_stages, dtype)
    stages = {"waits": waits, "shifts": shifts, "angles": angles} | changes
    expected, ours = parts.astype(np.float64), parts.copy()
    splitting.advance(*expected, interactions, **stages, decay_per_us=0.2)
    splitting.advance(*ours, interactions, **stages, decay_per_us=0.2, backend="gpu")
    assert ours.dtype == dtype
    assert np.linalg.norm(ours - expected) < TOLERANCE[dtype]


# One group of index bits up to 12 atoms, two up to 20, then three.
@emulated
@pytest.mark.parametrize("n_atoms", [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14, 17, 20, 21])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_gpu_gives_what_the_reference_gives(n_atoms: int, dtype: type) -> None:
    assert_gpu_agrees(n_atoms, 2 if n_atoms > 18 else 5, dtype)


@emulated
@pytest.mark.parametrize("n_atoms", [6, 14])
def test_stages_without_turns_and_none_at_all(n_atoms: int) -> None:
    angles = case(n_atoms, 6)[-1]
    angles[[0, 3, 4]] = 0.0
    angles[2, 1:] = 0.0
    assert_gpu_agrees(n_atoms, 6, np.float64, angles=angles)
    none = np.zeros((0, n_atoms))
    assert_gpu_agrees(n_atoms, 6, np.float64, waits=np.zeros(0), shifts=none, angles=none)


@emulated
def test_every_stage_may_have_a_wait_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_splitting, "_MOST_WAITS", 4)
    waits = np.random.default_rng(1).uniform(-0.01, 0.02, 11)
    for n_atoms in (5, 13):
        assert_gpu_agrees(n_atoms, 11, np.float64, waits=waits)


@emulated
def test_bad_input_is_named_before_anything_is_copied() -> None:
    parts, interactions, waits, shifts, angles = case(3, 2)
    with pytest.raises(KernelInputError, match="split turns"):
        splitting.advance(*parts, interactions, waits, shifts, angles + 2.0, backend="gpu")


@pytest.mark.parametrize("n_atoms", range(1, 35))
def test_groups_turn_every_atom_once(n_atoms: int) -> None:
    groups = gpu_splitting.groups_of(n_atoms)
    turned = [
        bit
        for group in groups
        for bit in group.index_bits()[0 if group.first == group.low else group.low :]
    ]
    assert turned == list(range(n_atoms))
    assert all(group.n_bits <= 12 for group in groups)
    assert len(groups) == max(1, -(-(n_atoms - 4) // 8))


@given(n_groups=st.integers(1, 4), turns=st.lists(st.booleans(), max_size=9))
def test_phases_act_between_the_turns_of_two_stages(n_groups: int, turns: list[bool]) -> None:
    acted = []
    for one in gpu_splitting.passes_of(n_groups, turns):
        for stage in range(one.begin, one.end):
            if stage > one.begin or not one.resumes:
                acted.append((stage, "phases"))
            if turns[stage]:
                acted.append((stage, one.group))
    # Turns of one stage commute; nothing else does.
    expected = [
        (stage, what)
        for stage, has_turn in enumerate(turns)
        for what in ("phases", *range(n_groups * has_turn))
    ]
    assert len(acted) == len(set(acted)) == len(expected)
    assert set(acted) == set(expected)
    assert [stage for stage, _ in acted] == sorted(stage for stage, _ in acted)
    for stage in range(len(turns)):
        assert next(what for begun, what in acted if begun == stage) == "phases"
