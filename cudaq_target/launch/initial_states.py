"""What `cudaq.evolve` starts from, as amplitudes in our order of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cudaq
import numpy as np

from cudaq_target.emulator.memory import require_bytes, state_bytes
from cudaq_target.errors import OptionError
from cudaq_target.launch.state import qubit_0_least_significant

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the squared norm; amplitudes may come from single precision.
_NORM_TOLERANCE = 1e-5
_KINDS = (
    "Give a cudaq.State, a cudaq.InitialStateType or an array as cudaq.State.from_data takes it"
)


def are_several(given: object) -> bool:
    """Whether this is a list of states, as CUDA-Q understands it."""
    return isinstance(given, list | tuple)


def read_state(given: Any, n_atoms: int) -> NDArray[np.complex128] | None:  # noqa: ANN401
    """Read an initial state.

    Args:
        given: None, a `cudaq.InitialStateType`, a `cudaq.State`, or amplitudes in CUDA-Q's order
            (atom 0 least significant), shape (2^n_atoms,).
        n_atoms: Atoms of the program.

    Returns:
        Amplitudes with atom 0 most significant, of norm 1; None for all atoms in g.

    Raises:
        OptionError: It is no state of that many atoms.
        MemoryLimitError: It would not fit into memory.
    """
    kind = given if isinstance(given, cudaq.InitialStateType) else None
    if given is None or kind == cudaq.InitialStateType.ZERO:
        return None
    require_bytes(state_bytes(n_atoms, copies=2.0), n_atoms)
    size = 1 << n_atoms
    if kind == cudaq.InitialStateType.UNIFORM:
        return np.full(size, size**-0.5, dtype=np.complex128)
    amplitudes = _amplitudes(given)
    if amplitudes.shape != (size,):
        raise OptionError(
            "initial_state",
            f"it has shape {amplitudes.shape}, {n_atoms} atoms have {size} amplitudes",
            "Give one amplitude per basis state of the atoms, empty sites left out",
        )
    norm_squared = float(np.vdot(amplitudes, amplitudes).real)
    if not abs(norm_squared - 1.0) < _NORM_TOLERANCE:
        raise OptionError(
            "initial_state",
            f"its squared norm is {norm_squared:.6g}, not 1",
            "Divide the amplitudes by their norm",
        )
    return qubit_0_least_significant(amplitudes / np.sqrt(norm_squared))


def _amplitudes(given: Any) -> NDArray[np.complex128]:  # noqa: ANN401
    if not isinstance(given, cudaq.State | np.ndarray):
        raise OptionError(
            "initial_state", f"{type(given).__name__} is no state of the atoms", _KINDS
        )
    try:
        return np.asarray(np.array(given), dtype=np.complex128)
    except (RuntimeError, TypeError, ValueError) as error:
        raise OptionError("initial_state", f"it cannot be read ({error})", _KINDS) from error
