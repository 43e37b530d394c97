"""Splitting methods on a GPU; `kernels.splitting` says what each function takes.

A stage lets phases act on the whole state, and turns on every atom; a pass over the state reaches
the atoms of one group of index bits. Turns commute, so groups may come in any order: a pass ends
one stage with the last group and begins the next one with the same. Two groups, up to 20 atoms,
cost one pass per stage, three of them two; up to 12 atoms stay in shared memory for all stages.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.kernels.backends import is_on_device
from cudaq_target.kernels.gpu import device

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cudaq_target.kernels.splitting import Stages

    Reals = NDArray[np.float64]
    Array = NDArray[Any]

_SUFFIX = {np.dtype(np.float32): "c64", np.dtype(np.float64): "c128"}

# Of splitting.cu.
_MOST_TILE_BITS = 12
_LOW_BITS = 4
"""Index bits that every tile holds: runs of 64 or 128 bytes in device memory."""

_MOST_WAITS = 512
"""Different waits of which tables are held at a time: 32 MiB a group in double precision."""


@dataclass(frozen=True, slots=True)
class Group:
    """Index bits that the tiles of a pass hold.

    Attributes:
        low: How many of the lowest bits.
        first: The first further bit; `low` where these follow, and then the pass turns them all.
        n_bits: How many bits in all.
    """

    low: int
    first: int
    n_bits: int

    def index_bits(self) -> list[int]:
        """Return the bits, those of the tile's index in ascending order."""
        return [*range(self.low), *range(self.first, self.first + self.n_bits - self.low)]


@dataclass(frozen=True, slots=True)
class Pass:
    """What one launch does to the state.

    Attributes:
        group: Number of its group.
        begin: The first stage.
        end: The stage after the last one.
        resumes: Whether the phases of the first stage have acted before.
    """

    group: int
    begin: int
    end: int
    resumes: bool


def groups_of(n_atoms: int) -> list[Group]:
    """Divide index bits evenly among as few groups as tiles of 2^12 amplitudes allow.

    >>> [(group.first, group.n_bits) for group in groups_of(20)]
    [(4, 12), (12, 12)]
    """
    low = min(n_atoms, _LOW_BITS)
    upper = n_atoms - low
    n_groups = max(1, -(-upper // (_MOST_TILE_BITS - _LOW_BITS)))
    ends = [low + upper * k // n_groups for k in range(n_groups + 1)]
    return [Group(low, first, low + end - first) for first, end in itertools.pairwise(ends)]


def passes_of(n_groups: int, turns: Sequence[bool]) -> list[Pass]:
    """Plan the passes: to the last group and back again, phases where a stage begins.

    Args:
        n_groups: Number of groups.
        turns: Whether each stage has a turn.

    >>> [(p.group, p.begin, p.end, p.resumes) for p in passes_of(2, [True, True, False])]
    [(0, 0, 1, False), (1, 0, 2, True), (0, 1, 3, True)]
    """
    order = list(range(n_groups))
    found = []
    open_pass = Pass(0, 0, 0, resumes=False)
    for stage, has_turn in enumerate(turns):
        open_pass = Pass(open_pass.group, open_pass.begin, stage + 1, open_pass.resumes)
        if not has_turn or n_groups == 1:
            continue
        found.append(open_pass)
        found += [Pass(group, stage, stage + 1, resumes=True) for group in order[1:-1]]
        open_pass = Pass(order[-1], stage, stage + 1, resumes=True)
        order.reverse()
    return [*found, open_pass]


def advance(real: Array, imag: Array, stages: Stages, threads: int | None) -> None:
    """Queue the passes of all stages on the current stream."""
    del threads  # of the host
    xp = device.arrays()
    here = xp.asarray(real), xp.asarray(imag)
    for part in _parts(stages):
        _advance(*here, part)
    if not is_on_device(real):
        real[:], imag[:] = (device.to_host(half) for half in here)


def _parts(stages: Stages) -> Iterator[Stages]:
    """Cut stages where they have too many different waits."""
    n_stages = len(stages.waits)
    step = n_stages if len(np.unique(stages.waits)) <= _MOST_WAITS else _MOST_WAITS
    for begin in range(0, n_stages, max(1, step)):
        yield stages.part(slice(begin, begin + step))


def _advance(real: Array, imag: Array, stages: Stages) -> None:
    xp = device.arrays()
    interactions, waits, shifts, angles, decay_per_us = stages
    n_atoms = len(interactions)
    by_bit = np.ascontiguousarray(interactions[::-1, ::-1], dtype=np.float64)
    distinct, wait_of = np.unique(waits, return_inverse=True)
    groups = groups_of(n_atoms)
    amplitude = np.result_type(real.dtype, np.complex64)
    tables = [_table(by_bit, group, distinct, amplitude) for group in groups]
    pairs, moments, number, moved, tangents, cosines = (
        xp.asarray(np.ascontiguousarray(array))
        for array in (
            by_bit,
            np.asarray(waits, dtype=np.float64),
            wait_of.astype(np.int64),
            np.asarray(shifts[:, ::-1], dtype=np.float64),
            np.tan(angles[:, ::-1]).astype(real.dtype),
            np.cos(angles).prod(axis=1),
        )
    )
    turns = [bool(stage.any()) for stage in angles]
    for one in passes_of(len(groups), turns):
        group = groups[one.group]
        shape = (n_atoms, group.low, group.first, group.n_bits)
        numbers = (one.begin, one.end, int(one.resumes))
        atoms = (pairs, moments, number, tables[one.group], moved, tangents, cosines)
        device.launch(
            "splitting",
            f"stages_{_SUFFIX[real.dtype]}",
            device.blocks_for(device.N_THREADS << (n_atoms - group.n_bits)),
            (real, imag, *shape, *numbers, *atoms, 0.5 * decay_per_us),
            shared_bytes=2 * real.dtype.itemsize << group.n_bits,
        )


def _table(by_bit: Reals, group: Group, waits: Reals, dtype: np.dtype[Any]) -> Array:
    """Phases of the interactions inside a tile, shape (n_waits, 2^n_bits), on the device."""
    xp = device.arrays()
    bits = group.index_bits()
    energies = np.zeros(1)
    for k, bit in enumerate(bits):
        field = np.zeros(1)
        for other in bits[:k]:
            field = np.concatenate([field, field + by_bit[bit, other]])
        energies = np.concatenate([energies, energies + field])
    angles = xp.asarray(waits)[:, None] * xp.asarray(energies)
    table: Array = xp.exp(-1j * angles).astype(dtype)
    return table
