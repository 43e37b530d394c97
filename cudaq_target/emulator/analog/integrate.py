"""Splitting integrators for `RydbergProblem`: steps that end at kinks, an error that is checked."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np

from cudaq_target.emulator.analog.stages import BM4, SCHEMES, Known, Pace, Scheme, stages
from cudaq_target.emulator.memory import (
    require_bytes,
    require_device_bytes,
    state_bytes,
    usable_threads,
)
from cudaq_target.errors import OptionError
from cudaq_target.kernels import splitting
from cudaq_target.kernels.backends import arrays_of, choose_backend, is_on_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cudaq_target.emulator.analog.problem import RydbergProblem
    from cudaq_target.kernels.backends import Backend

    Reals = NDArray[np.float64]
    State = NDArray[np.complexfloating]

Measured = TypeVar("Measured")

LONGEST_STEP_NS = 20.0
FASTEST_STEP_RAD = 1.0
"""Step times the fastest interaction or amplitude; the error estimate fails from about 2 on."""

DEFAULT_TOLERANCE = 1e-6

_ERROR_OF_LONGEST_STEP = 5e-7
"""Per atom, on square patches of 6 µm."""

_FIRST_RATIO, _FIRST_RATIO_OF_LONG_STEPS = 2.0, 1.5
"""How much longer the steps of the first pass are. Where the steps are long, twice as long ones no
longer follow the order, and the difference would overestimate the error by a factor of ten; the
estimate then counts on one order less."""

_SAFETY = 0.7
_MOST_PASSES = 8
_SMALLEST_STEP_NS = 1e-3
_JOINED_ATOMS = 14
"""Up to here a program is one call of the kernel; tables of its many waits stay small."""
_SAME_MOMENT_NS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class RydbergResult(Generic[Measured]):
    """What an evolution gives.

    Attributes:
        state: The state at the end, shape (2^n_atoms,); atom 0 is the most significant bit.
        times_ns: The moments of `saved` (ns).
        saved: The states at those moments, or what `measure` made of them.
        error_estimate: Estimated distance of the final state from the exact one (2-norm, up to a
            global phase), which bounds the error of every probability; None for a fixed step.
        step_ns: Longest step of the last pass (ns).
        n_steps: Steps of the last pass.
        n_passes: How often the program was run to meet the tolerance.
    """

    state: State
    times_ns: tuple[float, ...]
    saved: tuple[Measured, ...]
    error_estimate: float | None
    step_ns: float
    n_steps: int
    n_passes: int


def evolve_rydberg(
    problem: RydbergProblem,
    *,
    order: int = 4,
    tolerance: float = DEFAULT_TOLERANCE,
    step_ns: float | None = None,
    save_at_ns: Sequence[float] = (),
    measure: Callable[[State], Measured] | None = None,
    initial_state: State | None = None,
    dtype: type[np.complexfloating] = np.complex128,
    threads: int | None = None,
    backend: Backend = "auto",
) -> RydbergResult[Measured]:
    """Solve the Schrödinger equation of driven atoms.

    Without `step_ns` the program runs at a longer and at a shorter step, and their difference
    estimates the error of the shorter one; the step shrinks until `tolerance` is met.

    Args:
        problem: The atoms and their drive.
        order: 2 (Strang) or 4 (Blanes and Moan).
        tolerance: Largest allowed distance of the final state from the exact one (2-norm).
        step_ns: Longest step (ns); fixes it and makes one pass without an estimate.
        save_at_ns: Moments at which to keep the state (ns), ascending; steps end there.
        measure: What to keep of these states instead of a copy.
        initial_state: Amplitudes, shape (2^n_atoms,); all atoms in g when left out.
        dtype: complex128, or complex64 for half the memory and about 1e-6 of accuracy.
        threads: Most threads to use; None takes all CPUs the process may use.
        backend: Where to compute; see `kernels.splitting`. With "gpu", and for an initial state
            that lies on one, all states lie there: the final one, those that are saved, and what
            `measure` gets.

    Returns:
        The final state, what was saved, and how exact they are.

    Raises:
        OptionError: An argument is out of range, or the tolerance cannot be met.
        MemoryLimitError: The state would not fit into memory.
        BackendUnavailableError: The back end does not run here.
    """
    _check(problem, order, tolerance, step_ns, save_at_ns, initial_state)
    # Two states, and the tables of the waits; while a pass is verified, the state of the last one.
    n_copies = 2.4 + (step_ns is None) + (len(save_at_ns) if measure is None else 0)
    itemsize = np.dtype(dtype).itemsize
    if choose_backend(backend, initial_state) == "gpu":
        # CuPy's sums of products need arrays for these, and tables of probabilities three.
        n_copies += (step_ns is None) + 1.5 * (measure is not None)
        needed = state_bytes(problem.n_atoms, itemsize=itemsize, copies=n_copies)
        require_device_bytes(needed, problem.n_atoms)
    else:
        needed = state_bytes(problem.n_atoms, itemsize=itemsize, copies=n_copies)
        require_bytes(needed, problem.n_atoms)
    keep = cast("Callable[[State], Measured]", _kept) if measure is None else measure
    run = _Run(
        problem, SCHEMES[order], tuple(save_at_ns), keep, initial_state, dtype, threads, backend
    )
    if step_ns is not None:
        state, saved, n_steps = run.at(Pace(step_ns))
        return RydbergResult(state, run.save_at_ns, saved, None, step_ns, n_steps, 1)
    return _verified(run, tolerance)


def _kept(state: State) -> State:
    return state


def longest_step_ns(problem: RydbergProblem, scale: float = 1.0) -> float:
    """Return the step to begin with (ns).

    Args:
        problem: The atoms and their drive.
        scale: How much longer it may be than what gives an error of 1e-5; above 1 it is no longer
            than that at which the error follows the order of the scheme.
    """
    fastest_ns = 1e3 * FASTEST_STEP_RAD / max(problem.fastest_rad_per_us(), 1e-9)
    return min(scale * min(LONGEST_STEP_NS, fastest_ns), fastest_ns)


@dataclass(frozen=True, slots=True, eq=False)
class _Run(Generic[Measured]):
    """All that passes at different steps share."""

    problem: RydbergProblem
    scheme: Scheme
    save_at_ns: tuple[float, ...]
    keep: Callable[[State], Measured]
    initial_state: State | None
    dtype: type[np.complexfloating]
    threads: int | None
    backend: Backend

    def at(self, pace: Pace, *, save: bool = True) -> tuple[State, tuple[Measured, ...], int]:
        """Run once: the final state, what was kept, and the number of steps."""
        evolution = Evolution(
            self.problem,
            self.scheme,
            self.initial_state,
            dtype=self.dtype,
            threads=self.threads,
            backend=self.backend,
        )
        saved = []
        for moment in self.save_at_ns if save else ():
            evolution.advance(moment, pace)
            saved.append(self.keep(evolution.state()))
        evolution.advance(self.problem.duration_ns, pace)
        return evolution.state(), tuple(saved), evolution.n_steps


def _verified(run: _Run[Measured], tolerance: float) -> RydbergResult[Measured]:
    order = run.scheme.order
    share = tolerance / (_ERROR_OF_LONGEST_STEP * run.problem.n_atoms)
    # Errors of longer steps grow faster than their order says.
    scale = share ** (1.0 / (order if share <= 1.0 else order + 4))
    finer, seen_order = _FIRST_RATIO, order
    if share > 1.0:
        finer, seen_order = _FIRST_RATIO_OF_LONG_STEPS, order - 1
    step = longest_step_ns(run.problem, scale)
    pace = Pace(finer * step)
    reference = run.at(pace, save=False)[0]
    for n_passes in range(2, _MOST_PASSES + 1):
        pace = pace.refined(finer)
        state, saved, n_steps = run.at(pace)
        error = distance(reference, state) / (finer**seen_order - 1.0)
        if error <= tolerance:
            return RydbergResult(state, run.save_at_ns, saved, error, step, n_steps, n_passes)
        reference = state
        finer = max(1.25, (error / (_SAFETY * tolerance)) ** (1.0 / order))
        if step / finer < _SMALLEST_STEP_NS:
            break
        step /= finer
    finer_type = "" if np.dtype(run.dtype) == np.complex128 else ", or for dtype=complex128"
    raise OptionError(
        f"tolerance={tolerance:g}",
        f"was not met: at steps of {step:.3g} ns an error of {error:.1e} is left",
        f"Ask for {2.0 * error:.1e}{finer_type}",
    )


def distance(a: State, b: State) -> float:
    """Return the 2-norm of a - b, up to a global phase."""
    overlap = complex(dot(a.conj(), b))
    phase = overlap / abs(overlap) if overlap else 1.0
    difference = (a * phase).astype(b.dtype, copy=False)
    difference -= b
    return math.sqrt(norm_squared(difference))


def norm_squared(state: State) -> float:
    """Return the squared 2-norm."""
    return float(dot(state.real, state.real) + dot(state.imag, state.imag))


def dot(a: NDArray[Any], b: NDArray[Any]) -> Any:  # noqa: ANN401 - a number of their type
    """Sum the products without BLAS, whose threads would stay awake beside those of the kernels."""
    dtype = np.result_type(a.dtype, np.float64)
    if is_on_device(a):
        return (a * b).sum(dtype=dtype)
    return np.einsum("i,i->", a, b, dtype=dtype)


class Evolution:
    """A state on its way through a program, on a GPU where the back end works there.

    Args:
        problem: The atoms and their drive.
        scheme: The splitting.
        initial_state: Amplitudes, shape (2^n_atoms,); all atoms in g when left out.
        dtype: complex64 or complex128.
        threads: Most threads to use; None takes all CPUs the process may use.
        backend: Where to compute.
        start_ns: Where in the program the state stands (ns).
        known: Drives of problems with the same curves, to be shared; see `stages`.
    """

    def __init__(
        self,
        problem: RydbergProblem,
        scheme: Scheme = BM4,
        initial_state: State | None = None,
        *,
        dtype: type[np.complexfloating] = np.complex128,
        threads: int | None = None,
        backend: Backend = "auto",
        start_ns: float = 0.0,
        known: Known | None = None,
    ) -> None:
        self._problem = problem
        self._scheme = scheme
        self._dtype = dtype
        self._threads = usable_threads() if threads is None else threads
        self._backend = backend
        self._known = known
        self._kinks = problem.kinks_ns
        self._frame = np.zeros((1, problem.n_atoms))
        self.now_ns = start_ns
        self.n_steps = 0
        self._xp = arrays_of(backend, initial_state)
        real = np.dtype(dtype).type(0).real.dtype
        if initial_state is None:
            self._real, self._imag = self._xp.zeros((2, 1 << problem.n_atoms), dtype=real)
            self._real[0] = 1.0
        else:
            self._real = self._xp.array(initial_state.real, dtype=real, order="C")
            self._imag = self._xp.array(initial_state.imag, dtype=real, order="C")

    def state(self) -> State:
        """Return a copy of the state, in the frame of the program."""
        state: State = self._xp.empty(self._real.shape, dtype=self._dtype)
        state.real, state.imag = self._real, self._imag
        if self._frame.any():
            splitting.multiply_phases(state, self._frame[0])
        return state

    def copy(self) -> Evolution:
        """Return an independent copy."""
        twin = Evolution.__new__(Evolution)
        twin.__dict__.update(self.__dict__)
        twin._real, twin._imag = self._real.copy(), self._imag.copy()
        return twin

    def apply(self, matrix: NDArray[np.complex128], atom: int) -> None:
        """Let a 2x2 matrix, in the frame of the program, act on one atom at once.

        Args:
            matrix: Shape (2, 2), over (g, r).
            atom: The atom.
        """
        frame = np.array([1.0, np.exp(1j * self._frame[0, atom])])
        framed = self._xp.asarray((frame.conj()[:, None] * matrix * frame).astype(self._dtype))
        pairs = self._xp.empty(self._real.shape, dtype=self._dtype)
        pairs.real, pairs.imag = self._real, self._imag
        acted = self._xp.matmul(framed, pairs.reshape(1 << atom, 2, -1)).reshape(-1)
        self._real[:], self._imag[:] = acted.real, acted.imag

    def scale(self, factor: float) -> None:
        """Multiply the state by a number."""
        self._real *= factor
        self._imag *= factor

    def norm_squared(self) -> float:
        """Return the squared norm; below 1 where r decays."""
        return float(dot(self._real, self._real) + dot(self._imag, self._imag))

    def advance(self, end_ns: float, pace: Pace) -> None:
        """Evolve up to a moment, in steps that end at kinks."""
        start = self.now_ns
        inner = [kink for kink in self._kinks if start < kink < end_ns]
        edges = [start]
        for moment in (*inner, end_ns):
            if moment - edges[-1] > _SAME_MOMENT_NS:
                edges.append(moment)
        counts = [pace.n_steps(right - left) for left, right in itertools.pairwise(edges)]
        if self._problem.n_atoms <= _JOINED_ATOMS and counts:
            self._advance_smoothly(edges, counts)
        else:
            for k, count in enumerate(counts):
                self._advance_smoothly(edges[k : k + 2], [count])
        self.now_ns = end_ns

    def _advance_smoothly(self, edges_ns: Sequence[float], n_steps: Sequence[int]) -> None:
        waits, shifts, angles, self._frame = stages(
            self._problem, self._scheme, edges_ns, n_steps, self._frame, self._known
        )
        splitting.advance(
            self._real,
            self._imag,
            self._problem.interactions_rad_per_us,
            waits,
            shifts,
            angles,
            decay_per_us=self._problem.decay_per_us,
            backend=self._backend,
            threads=self._threads,
        )
        self.n_steps += sum(n_steps)


def _check(
    problem: RydbergProblem,
    order: int,
    tolerance: float,
    step_ns: float | None,
    save_at_ns: Sequence[float],
    initial_state: State | None,
) -> None:
    if order not in SCHEMES:
        raise OptionError(f"order={order}", "is not implemented", "Use 2 or 4")
    if step_ns is not None and not 0.0 < step_ns < math.inf:
        raise OptionError(f"step_ns={step_ns}", "is no step", "Give a positive time in ns")
    if not 0.0 < tolerance < math.inf:
        raise OptionError(f"tolerance={tolerance}", "cannot be met", "Give a positive number")
    moments = [0.0, *save_at_ns, problem.duration_ns]
    if any(b < a for a, b in itertools.pairwise(moments)) or not np.isfinite(moments).all():
        raise OptionError(
            "save_at_ns",
            "does not ascend from 0 to the end of the program",
            f"Give ascending times from 0 to {problem.duration_ns:g} ns",
        )
    if initial_state is not None and initial_state.shape != (1 << problem.n_atoms,):
        raise OptionError(
            "initial_state",
            f"has shape {initial_state.shape}",
            f"{problem.n_atoms} atoms have {1 << problem.n_atoms} amplitudes",
        )
