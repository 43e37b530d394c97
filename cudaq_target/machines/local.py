"""The embedded emulator as a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cudaq_target.emulator.noise import Noise
from cudaq_target.emulator.run import emulate
from cudaq_target.emulator.trajectories import sample_noisy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.timeline import PulseProgram


class LocalMachine:
    """Runs pulse programs in this process: exact pulses, no account, no GPU."""

    name = "local"
    is_emulator = True

    def sample(
        self,
        program: PulseProgram,
        n_shots: int,
        *,
        noise: NoiseModel | None = None,
        rng: np.random.Generator,
        threads: int | None = None,
    ) -> NDArray[np.uint8]:
        """Run the program and measure every qubit.

        Args:
            program: The program.
            n_shots: Number of shots.
            noise: What disturbs the run (`cudaq_target.emulator.noise` says how), or None.
            rng: Source of randomness; the same generator state gives the same shots.
            threads: Most threads to use; None takes all CPUs the process may use.

        Returns:
            Bits, shape (n_shots, n_qubits), in the kernel's qubit order.

        Raises:
            MemoryLimitError: The state would not fit into memory.
            OptionError: The noise model holds something that cannot be emulated here.
            UnsupportedProgramError: Pulses overlap in a way that has no exact propagator.
        """
        if noise is not None:
            return sample_noisy(program, Noise.of(noise), n_shots, rng, threads=threads)
        return emulate(program, threads=threads).sample(n_shots, rng, threads=threads)

    def state(self, program: PulseProgram, *, threads: int | None = None) -> NDArray[np.complex128]:
        """Run the program without noise and return the kernel's state.

        Args:
            program: The program.
            threads: Most threads to use; None takes all CPUs the process may use.

        Returns:
            Amplitudes, shape (2^n_qubits,), qubit 0 most significant.

        Raises:
            MemoryLimitError: The state would not fit into memory.
            UnsupportedProgramError: Pulses overlap in a way that has no exact propagator.
        """
        return emulate(program, threads=threads).state()
