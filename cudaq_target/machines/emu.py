"""Pasqal's emulators emu-sv (state vectors) and emu-mps (matrix product states), on torch.

They come with the extra `emu-torch`. Both run analog programs alone and take steps of `dt_ns`
with the Hamiltonian of their middle, which leaves some 1e-4 in probabilities.
"""

from __future__ import annotations

import logging
import random
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from cudaq_target.emulator.memory import require_bytes, state_bytes
from cudaq_target.errors import OptionError
from cudaq_target.machines.qutip_solver import seeded_numpy
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.analog.program import AnalogProgram

Measured = TypeVar("Measured")
_BYTES_PER_AMPLITUDE = 16
# Vectors of the Krylov space that a step of 10 ns builds, the state, and what is between them.
_KRYLOV_COPIES = 20
_LARGEST_BOND = 1024  # of emu-mps, by default


@dataclass(frozen=True, slots=True)
class _EmuMachine(ABC):
    """What both emulators share.

    Attributes:
        dt_ns: Longest step of the integrator (ns).
        n_trajectories: Noise realisations per job; shots are shared out among them.
        gpu: Use the GPU that torch finds; on the CPU otherwise.
    """

    dt_ns: float = 10.0
    n_trajectories: int = 64
    gpu: bool = True

    name: ClassVar[str]
    package: ClassVar[str]
    backend: ClassVar[str]
    config: ClassVar[str]

    def sample_analog(
        self,
        program: AnalogProgram,
        n_shots: int,
        *,
        noise: NoiseModel | None = None,
        rng: np.random.Generator,
        threads: int | None = None,
        modulation: bool = False,
        initial_state: NDArray[np.complex128] | None = None,
    ) -> NDArray[np.uint64]:
        """Measure all atoms at the end; see `machines.analog.AnalogMachine`."""
        emulator = self._load(program.timeline.n_atoms)
        n_runs = 1 if noise is None else max(1, min(self.n_trajectories, n_shots))
        options = {"num_shots": -(-n_shots // n_runs), "evaluation_times": [1.0]}
        noisy: dict[str, object] = {}
        if noise is not None:
            noisy = {"noise_model": noise, "n_trajectories": n_runs}
            noisy |= self._solver(emulator)
        with _seeded(rng, threads):
            results = self._run(
                emulator,
                program,
                observables=[emulator.BitStrings(**options)],
                with_modulation=modulation,
                initial_state=self._state(emulator, initial_state),
                **noisy,
            )
        counts = results.bitstrings[-1]
        rows = np.array([[int(bit) for bit in word] for word in counts], dtype=np.uint8)
        shots = np.repeat(rows, list(counts.values()), axis=0)
        return Shots.from_bits(rng.permutation(shots)[:n_shots]).packed

    def evolve_analog(
        self,
        program: AnalogProgram,
        *,
        save_at_ns: Sequence[float],
        measure: Callable[[int, NDArray[np.complex128]], Measured],
        threads: int | None = None,
        modulation: bool = False,
        initial_state: NDArray[np.complex128] | None = None,
    ) -> list[Measured]:
        """Follow the state; see `machines.analog.AnalogMachine`."""
        n_atoms = program.timeline.n_atoms
        emulator = self._load(n_atoms)
        require_bytes(state_bytes(n_atoms, copies=len(save_at_ns) + 1.0), n_atoms)
        length_ns = (program.modulated if modulation else program.timeline).duration_ns
        times = [min(1.0, time_ns / length_ns) for time_ns in save_at_ns]
        with _seeded(np.random.default_rng(0), threads):
            results = self._run(
                emulator,
                program,
                observables=[emulator.StateResult(evaluation_times=times)],
                with_modulation=modulation,
                initial_state=self._state(emulator, initial_state),
            )
        return [
            measure(number, self._amplitudes(state)) for number, state in enumerate(results.state)
        ]

    def _solver(self, emulator: Any) -> dict[str, object]:  # noqa: ANN401, ARG002
        """Return what a run with noise says about its solver."""
        return {}

    @abstractmethod
    def needed_bytes(self, n_atoms: int) -> int:
        """Predict the memory that a program without noise takes (bytes)."""

    @abstractmethod
    def _state(self, emulator: Any, state: NDArray[np.complex128] | None) -> Any:  # noqa: ANN401
        """Return an initial state of the emulator's own kind."""

    @abstractmethod
    def _amplitudes(self, state: Any) -> NDArray[np.complex128]:  # noqa: ANN401
        """Return the amplitudes of a state, atom 0 most significant."""

    def _load(self, n_atoms: int) -> ModuleType:
        try:
            emulator = import_module(self.package)
        except ImportError as error:
            raise OptionError(
                option=f"machine {self.name!r}",
                reason=f"{self.name} is not installed",
                remedy="Run: pip install 'cudaq-target[emu-torch]'",
            ) from error
        require_bytes(self.needed_bytes(n_atoms), n_atoms)
        return emulator

    def _run(self, emulator: Any, program: AnalogProgram, **options: Any) -> Any:  # noqa: ANN401
        torch = import_module("torch")
        config = getattr(emulator, self.config)(
            dt=self.dt_ns,
            gpu=bool(self.gpu and torch.cuda.is_available()),
            log_level=logging.CRITICAL,  # it logs to standard output
            **options,
        )
        backend = getattr(emulator, self.backend)(program.sequence, config=config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return backend.run()


class EmuSvMachine(_EmuMachine):
    """State vectors on a CPU or a GPU."""

    __slots__ = ()
    name = "emu-sv"
    package = "emu_sv"
    backend = "SVBackend"
    config = "SVConfig"

    def needed_bytes(self, n_atoms: int) -> int:
        """Predict the memory that a program without noise takes (bytes)."""
        return state_bytes(n_atoms, copies=_KRYLOV_COPIES)

    def _solver(self, emulator: Any) -> dict[str, object]:  # noqa: ANN401
        # By itself it takes density matrices, 4^n numbers, where the noise is no shot noise.
        return {"solver": emulator.Solver.MONTECARLO}

    def _state(self, emulator: Any, state: NDArray[np.complex128] | None) -> Any:  # noqa: ANN401
        if state is None:
            return None
        torch = import_module("torch")
        gpu = bool(self.gpu and torch.cuda.is_available())
        return emulator.StateVector(torch.from_numpy(state.copy()), gpu=gpu)

    def _amplitudes(self, state: Any) -> NDArray[np.complex128]:  # noqa: ANN401
        return np.asarray(state.data.cpu().numpy(), dtype=np.complex128)


class EmuMpsMachine(_EmuMachine):
    """Matrix product states, for registers beyond any state vector."""

    __slots__ = ()
    name = "emu-mps"
    package = "emu_mps"
    backend = "MPSBackend"
    config = "MPSConfig"

    def needed_bytes(self, n_atoms: int) -> int:
        """Predict the memory that a program without noise takes (bytes).

        The largest bond that `n_atoms` atoms can have, or that emu-mps allows; it needs less where
        the atoms are less entangled.
        """
        bond = min(_LARGEST_BOND, 1 << (n_atoms // 2))
        baths = n_atoms * bond * bond * (n_atoms // 2 + 2)
        return _BYTES_PER_AMPLITUDE * (baths + _KRYLOV_COPIES * 4 * bond * bond)

    def _state(self, emulator: Any, state: NDArray[np.complex128] | None) -> Any:  # noqa: ANN401, ARG002
        if state is None:
            return None
        raise OptionError(
            "initial_state",
            "emu-mps starts from all atoms in g here",
            "Leave it out, or give machine='local' or 'emu-sv'",
        )

    def _amplitudes(self, state: Any) -> NDArray[np.complex128]:  # noqa: ANN401
        amplitudes = np.ones((1, 1), dtype=np.complex128)
        for factor in state.factors:
            tensor = np.asarray(factor.cpu().numpy())
            amplitudes = np.tensordot(amplitudes, tensor, axes=(1, 0)).reshape(-1, tensor.shape[2])
        return amplitudes.reshape(-1)


@contextmanager
def _seeded(rng: np.random.Generator, threads: int | None) -> Iterator[None]:
    """Seed the global generators that the emulators draw from, and cap torch's threads."""
    torch = import_module("torch")
    before, n_before = random.getstate(), torch.get_num_threads()
    seeds = [int(seed) for seed in rng.integers(2**32, size=3)]
    if threads is not None:
        torch.set_num_threads(threads)
    with torch.random.fork_rng(), seeded_numpy(seeds[0]):
        torch.manual_seed(seeds[1])
        random.seed(seeds[2])
        try:
            yield
        finally:
            random.setstate(before)
            torch.set_num_threads(n_before)
