"""How Pulser's own emulator is run, for gate kernels and for analog programs alike."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pulser import NoiseModel

# The Adams integrator keeps up to 12 derivatives and as many copies for its error estimate.
SOLVER_COPIES = 30
BYTES_PER_AMPLITUDE = 16
# An element of a sparse Hamiltonian takes value and column index.
BYTES_PER_ELEMENT = 24


@dataclass(frozen=True, slots=True)
class QutipSolver:
    """Integrates an emulator of Pulser's.

    Attributes:
        rtol: Relative tolerance of the integrator.
        atol: Absolute tolerance of the integrator.
        n_trajectories: Noise realisations per job; shots are shared out among them.
    """

    rtol: float = 1e-8
    atol: float = 1e-10
    n_trajectories: int = 64

    def run(self, emulator: Any) -> Any:  # noqa: ANN401 - pulser_simulation may be missing
        """Integrate; gives Pulser's results."""
        with warnings.catch_warnings():
            # The newer QutipBackendV2 exposes no tolerances.
            warnings.simplefilter("ignore", DeprecationWarning)
            return emulator.run(rtol=self.rtol, atol=self.atol)

    def noisy_shots(
        self,
        make: Callable[[NoiseModel, int], Any],
        noise: NoiseModel,
        n_shots: int,
        rng: np.random.Generator,
        *,
        programs: str = "",
    ) -> NDArray[np.uint8]:
        """Measure all atoms many times under noise.

        Args:
            make: Makes the emulator, given the noise and the number of trajectories.
            noise: Its `runs` and `samples_per_run` are ours to choose.
            n_shots: Number of shots.
            rng: Source of randomness.
            programs: Which ones it does not simulate so, for the message.

        Returns:
            Bits, atom 0 first, shape (n_shots, n_atoms).

        Raises:
            OptionError: pulser-simulation is not installed, or cannot simulate this noise.
            MemoryLimitError: The program has too many atoms.
        """
        n_trajectories = max(1, min(self.n_trajectories, n_shots))
        with warnings.catch_warnings(), seeded_numpy(int(rng.integers(2**32))):
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", message="'samples_per_run'")
            shared = replace(noise, runs=None, samples_per_run=-(-n_shots // n_trajectories))
            try:
                results = self.run(make(shared, n_trajectories))
            except (NotImplementedError, ValueError) as error:
                raise OptionError(
                    option="noise",
                    reason=f"pulser-simulation cannot simulate it{programs} ({error})",
                    remedy="Leave that noise out, or use machine='local'",
                ) from error
            # Stochastic noise yields shots; anything else yields a state to measure.
            if isinstance(results, import_module("pulser_simulation.simresults").NoisyResults):
                counts = results[len(results) - 1].final_bitstrings
            else:
                counts = results.sample_final_state(n_shots)
        rows = np.array([[int(bit) for bit in word] for word in counts], dtype=np.uint8)
        shots = np.repeat(rows, list(counts.values()), axis=0)
        # The last trajectory may have measured a few shots more than were asked for.
        return rng.permutation(shots)[:n_shots]


def simulation() -> Any:  # noqa: ANN401 - it may be missing
    """Import pulser-simulation.

    Raises:
        OptionError: It is not installed.
    """
    try:
        return import_module("pulser_simulation")
    except ImportError as error:
        raise OptionError(
            option="machine 'qutip'",
            reason="pulser-simulation is not installed",
            remedy="Run: python -m pip install 'pulser-simulation>=1.9,<2'",
        ) from error


@contextmanager
def seeded_numpy(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, the only one that Pulser draws noise from, for a while."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
