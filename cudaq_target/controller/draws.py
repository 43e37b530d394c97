"""Shots of an emulated program in blocks, each from a generator of its own.

What a block holds depends on the seed, the program and the number of the block alone, so shots do
not depend on how many are asked for at once, nor on what else the machine does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target import machines
from cudaq_target.analog.program import AnalogProgram
from cudaq_target.machines.analog import for_analog
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.controller.machine import Settings
    from cudaq_target.program import Program
    from cudaq_target.timeline import PulseProgram

    Words = NDArray[np.uint64]

# Drawn from a state: the larger it is, the more a pass over it costs.
_STATE_SHOTS: Final = 256
_LARGE_STATE_SHOTS: Final = 4096
_LARGE_STATE: Final = 1 << 13
# One trajectory each.
_NOISY_SHOTS: Final = 32
# Machines that run the whole program for every block.
_RERUN_SHOTS: Final = 1024
# States of analog programs are as exact as so many shots can show.
_EXACT_FOR_SHOTS: Final = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """A program that is ready to be measured.

    Attributes:
        n_shots: Shots of a block.
        block: Draws a block.
        state_bytes: Memory of the state that blocks are drawn from (bytes); 0 where there is none,
            and each block takes an emulation of its own.
    """

    n_shots: int
    block: Callable[[np.random.Generator], Words]
    state_bytes: int = 0


def draws_of(program: Program | AnalogProgram, settings: Settings) -> Draws:
    """Emulate a program as far as all its shots have it in common.

    Args:
        program: The program.
        settings: Machine and noise.

    Raises:
        MemoryLimitError: It would not fit into memory.
        OptionError: The machine does not run such programs, or not with this noise.
        UnsupportedProgramError: The emulator does not know such pulses.
    """
    if isinstance(program, AnalogProgram):
        return _analog(program, settings)
    return _gates(program.timeline, settings)


def _gates(program: PulseProgram, settings: Settings) -> Draws:
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415

    machine, threads = machines.get(settings.machine), settings.threads
    if isinstance(machine, LocalMachine) and settings.noise is None:
        from cudaq_target.emulator.run import emulate  # noqa: PLC0415

        result = emulate(program, threads=threads)
        n_shots = _block_shots(result.amplitudes.size)
        return Draws(
            n_shots,
            lambda rng: Shots.from_bits(result.sample(n_shots, rng, threads=threads)).packed,
            result.amplitudes.nbytes,
        )
    n_shots = _RERUN_SHOTS if settings.noise is None else _NOISY_SHOTS

    def block(rng: np.random.Generator) -> Words:
        bits = machine.sample(program, n_shots, noise=settings.noise, rng=rng, threads=threads)
        return Shots.from_bits(bits).packed

    return Draws(n_shots, block)


def _analog(program: AnalogProgram, settings: Settings) -> Draws:
    from cudaq_target.machines.local_analog import LocalAnalogMachine  # noqa: PLC0415

    machine, noise = for_analog(settings.machine, program, settings.noise).machine, settings.noise
    if isinstance(machine, LocalAnalogMachine) and noise is None:
        return _state(program, settings)
    n_shots = _RERUN_SHOTS if noise is None else _NOISY_SHOTS

    def block(rng: np.random.Generator) -> Words:
        return machine.sample_analog(
            program,
            n_shots,
            noise=noise,
            rng=rng,
            threads=settings.threads,
            modulation=settings.modulation,
            initial_state=None,
        )

    return Draws(n_shots, block)


def _state(program: AnalogProgram, settings: Settings) -> Draws:
    from cudaq_target.emulator.analog.devices import backend_for  # noqa: PLC0415
    from cudaq_target.emulator.analog.integrate import evolve_rydberg  # noqa: PLC0415
    from cudaq_target.emulator.analog.shots import sample_packed  # noqa: PLC0415
    from cudaq_target.machines.local_analog import problem_of, sampling_tolerance  # noqa: PLC0415

    problem = problem_of(program, modulation=settings.modulation)
    state = evolve_rydberg(
        problem,
        tolerance=sampling_tolerance(_EXACT_FOR_SHOTS),
        threads=settings.threads,
        backend=backend_for(problem.n_atoms),
    ).state
    n_shots = _block_shots(state.size)
    return Draws(
        n_shots,
        lambda rng: sample_packed(state, n_shots, rng, threads=settings.threads),
        state.nbytes,
    )


def _block_shots(n_amplitudes: int) -> int:
    return _STATE_SHOTS if n_amplitudes <= _LARGE_STATE else _LARGE_STATE_SHOTS
