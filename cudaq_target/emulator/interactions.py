"""What the Rydberg beam and the interaction do to the atoms, window by window.

Atoms that wait in r gather mutual phases (and lose norm, with relaxation). Both are diagonal and
commute with everything that does not drive one of them, so they are only written down, and enter
the propagator of the next pulse on one of the atoms. Waiting costs nothing that way, whatever the
number of atoms in r.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator import levels as lv
from cudaq_target.emulator.propagators import US_PER_NS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cudaq_target.emulator.state import LevelState
    from cudaq_target.emulator.windows import Window

NEGLIGIBLE_RAD = 1e-13
"""Interaction phases below this are rounding noise and couple nothing."""


class Interactions:
    """Couplings of a register, and what of their effect is still to be applied.

    Args:
        couplings: V_ij = C6/R_ij^6 (rad/µs), shape (n_atoms, n_atoms), zero on the diagonal.
        decay_per_us: Rate Γ at which r loses its norm (1/µs): evolution without a jump.
    """

    def __init__(self, couplings: NDArray[np.float64], decay_per_us: float = 0.0) -> None:
        self._couplings = couplings
        self._decay_per_us = decay_per_us
        self._phases = np.zeros_like(couplings)
        self._losses = np.zeros(len(couplings))

    def copy(self) -> Interactions:
        """Return an independent copy."""
        twin = Interactions(self._couplings, self._decay_per_us)
        twin._phases = self._phases.copy()
        twin._losses = self._losses.copy()
        return twin

    def advance(self, state: LevelState, window: Window) -> None:
        """Let one window act.

        Args:
            state: The state; it changes.
            window: The window.

        Raises:
            UnsupportedProgramError: Too many atoms are driven, or in r near driven ones, at once.
        """
        driven = [drive.atom for drive in window.drives]
        waiting = [atom for atom in state.open_atoms if atom not in driven]
        duration_us = US_PER_NS * (window.end_ns - window.start_ns)
        if len(driven) == 1:
            self._drive_one(state, window, waiting, duration_us)
        elif driven:
            self.settle(state, driven)
            reach = NEGLIGIBLE_RAD / duration_us
            near = tuple(w for w in waiting if (np.abs(self._couplings[w, driven]) > reach).any())
            state.apply(
                lv.cluster_operator(window, near, state.levels, self._couplings, self._decay_per_us)
            )
        if len(waiting) > 1:
            among = np.ix_(waiting, waiting)
            self._phases[among] += self._couplings[among] * duration_us
        if self._decay_per_us:
            self._losses[waiting] += 0.5 * self._decay_per_us * duration_us

    def _drive_one(
        self, state: LevelState, window: Window, waiting: list[int], duration_us: float
    ) -> None:
        drive = window.drives[0]
        atom = drive.atom
        couplings, phases = self._couplings[atom], self._phases[atom]
        near = tuple(
            w
            for w in waiting
            if abs(couplings[w]) * duration_us > NEGLIGIBLE_RAD or abs(phases[w]) > NEGLIGIBLE_RAD
        )
        state.apply(
            lv.single_drive_operator(
                drive,
                near,
                (state.levels[atom], *(state.levels[w] for w in near)),
                couplings[list(near)],
                phases[list(near)],
                (self._decay_per_us, float(self._losses[atom])),
            )
        )
        self._forget(atom)

    def settle(self, state: LevelState, atoms: Iterable[int] | None = None) -> None:
        """Apply what is still to be applied.

        Args:
            state: The state; it changes.
            atoms: Only what concerns these atoms; None means all.
        """
        open_atoms = state.open_atoms
        chosen = set(open_atoms if atoms is None else atoms)
        for a, b in itertools.combinations(open_atoms, 2):
            if abs(self._phases[a, b]) > NEGLIGIBLE_RAD and (a in chosen or b in chosen):
                state.apply(lv.pair_phase(a, b, state.levels, self._phases[a, b]))
        for atom in chosen.intersection(open_atoms):
            if self._losses[atom]:
                loss = np.exp(-self._losses[atom])
                state.apply(lv.level_phase(atom, state.levels[atom], lv.R, loss))
        for atom in chosen:
            self._forget(atom)

    def settle_losses(self, state: LevelState) -> None:
        """Apply the decay of norm alone; phases do not change populations."""
        for atom in state.open_atoms:
            if self._losses[atom]:
                loss = np.exp(-self._losses[atom])
                state.apply(lv.level_phase(atom, state.levels[atom], lv.R, loss))
        self._losses[:] = 0.0

    def jump(self, state: LevelState, atom: int) -> None:
        """Let `atom` fall from r to g: its partners in r keep the phases gathered with it."""
        for partner in state.open_atoms:
            if abs(self._phases[atom, partner]) > NEGLIGIBLE_RAD:
                factor = np.exp(-1j * self._phases[atom, partner])
                state.apply(lv.level_phase(partner, state.levels[partner], lv.R, factor))
        self._forget(atom)
        state.apply(lv.jump_operator(atom, state.levels[atom]))

    def _forget(self, atom: int) -> None:
        self._phases[atom, :] = 0.0
        self._phases[:, atom] = 0.0
        self._losses[atom] = 0.0
