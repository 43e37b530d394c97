"""Lowered programs on the machines of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target import machines, telemetry
from cudaq_target.analog.program import AnalogProgram
from cudaq_target.machines.analog import for_analog
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from cudaq_target.options import Options
    from cudaq_target.program import Program


def measured_here(
    program: Program | AnalogProgram, n_shots: int, options: Options, rng: np.random.Generator
) -> tuple[Shots, str]:
    """Run a program on the machine that the options name.

    Args:
        program: The program.
        n_shots: Number of shots, 0 or more.
        options: Machine, noise, threads.
        rng: The only source of randomness.

    Returns:
        The shots, bit k is kernel qubit k or atom k, and the machine that ran them.

    Raises:
        OptionError: The machine does not run such programs.
        MemoryLimitError: The emulation would not fit into memory.
    """
    with telemetry.task(options.machine, program.kernel, n_shots), telemetry.phase("run"):
        return _measured(program, n_shots, options, rng)


def _measured(
    program: Program | AnalogProgram, n_shots: int, options: Options, rng: np.random.Generator
) -> tuple[Shots, str]:
    noise = options.noise if options.is_noisy else None
    if not isinstance(program, AnalogProgram):
        bits = machines.get(options.machine).sample(
            program.timeline, n_shots, noise=options.noise, rng=rng, threads=options.threads
        )
        return Shots.from_bits(bits), options.machine
    choice = for_analog(options.machine, program, noise)
    if n_shots == 0:
        none = np.zeros((0, program.timeline.n_atoms), dtype=np.uint8)
        return Shots.from_bits(none), choice.name
    packed = choice.machine.sample_analog(
        program,
        n_shots,
        noise=noise,
        rng=rng,
        threads=options.threads,
        modulation=options.modulation,
        initial_state=None,
    )
    return Shots(packed, program.timeline.n_atoms), choice.name
