"""What runs an analog program, by name, and the rule of `machine="auto-emulator"`.

The rule, from measured cost (`docs/analog.md` has the table): the embedded emulator is the fastest
at every size that fits into memory, so it is taken

1. where its state fits and it knows the noise; else
2. `qutip`, for noise that only Pulser's own emulator knows, up to `MOST_QUTIP_ATOMS` atoms; else
3. `emu-sv`, for such noise on more atoms, where it is installed and its state fits; else
4. `emu-mps`, where it is installed, for states that fit nowhere else.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, TypeVar

from cudaq_target.emulator.memory import available_bytes, require_bytes
from cudaq_target.errors import OptionError
from cudaq_target.options import MACHINES, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.analog.program import AnalogProgram

_LOG = logging.getLogger(__name__)
MOST_QUTIP_ATOMS = 12
AUTOMATIC = "auto-emulator"

Measured = TypeVar("Measured")


class AnalogMachine(Protocol):
    """What every machine does with analog programs. Atom 0 comes first everywhere."""

    def sample_analog(
        self,
        program: AnalogProgram,
        n_shots: int,
        *,
        noise: NoiseModel | None,
        rng: np.random.Generator,
        threads: int | None,
        modulation: bool,
        initial_state: NDArray[np.complex128] | None,
    ) -> NDArray[np.uint64]:
        """Run a program and measure all atoms at the end.

        Args:
            program: The program.
            n_shots: Number of shots, at least 1.
            noise: Noise to emulate, or None.
            rng: The only source of randomness, so that equal seeds give equal shots.
            threads: Most threads to use, or None to let the machine choose.
            modulation: Emulate the device's finite bandwidth.
            initial_state: Amplitudes, shape (2^n_atoms,), atom 0 most significant; None for g.

        Returns:
            Packed shots, shape (n_shots, ceil(n_atoms / 64)); bit k is atom k, 1 for r.

        Raises:
            MemoryLimitError: The emulation would not fit into memory.
            OptionError: The machine is not installed, or cannot do one of these.
        """
        ...

    def evolve_analog(
        self,
        program: AnalogProgram,
        *,
        save_at_ns: Sequence[float],
        measure: Callable[[int, NDArray[np.complex128]], Measured],
        threads: int | None,
        modulation: bool,
        initial_state: NDArray[np.complex128] | None,
    ) -> list[Measured]:
        """Follow the state through a program without noise.

        Args:
            program: The program.
            save_at_ns: Moments to look at (ns), ascending.
            measure: Called with the number of a moment and the state then, of norm 1 up to the
                error of the machine; a CuPy array where the machine keeps it on a GPU.
            threads: Most threads to use, or None to let the machine choose.
            modulation: Emulate the device's finite bandwidth.
            initial_state: Amplitudes, shape (2^n_atoms,), atom 0 most significant; None for g.

        Returns:
            What `measure` returned for each moment.

        Raises:
            MemoryLimitError: The emulation would not fit into memory.
            OptionError: The machine is not installed, or cannot do one of these.
        """
        ...

    def needed_bytes(self, n_atoms: int) -> int:
        """Predict the memory that a program without noise takes (bytes)."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """A machine for one program.

    Attributes:
        name: Its name.
        machine: The machine.
        reason: Why it was chosen, or None where the user named it.
    """

    name: str
    machine: AnalogMachine
    reason: str | None = None

    def annotations(self) -> dict[str, object]:
        """Return what results say about the machine."""
        known: dict[str, object] = {"machine": self.name}
        return known if self.reason is None else known | {"machine_chosen_because": self.reason}


_PLACES = {
    "local": ("local_analog", "LocalAnalogMachine"),
    "qutip": ("qutip_analog", "QutipAnalogMachine"),
    "emu-sv": ("emu", "EmuSvMachine"),
    "emu-mps": ("emu", "EmuMpsMachine"),
}
_PACKAGES = {"qutip": "pulser_simulation", "emu-sv": "emu_sv", "emu-mps": "emu_mps"}


def for_analog(name: str, program: AnalogProgram, noise: NoiseModel | None = None) -> Choice:
    """Return the machine for a program.

    Args:
        name: One of `cudaq_target.options.MACHINES`.
        program: The program.
        noise: Noise to emulate, or None.

    Raises:
        OptionError: No such machine in this version, or none that is installed knows the noise.
        MemoryLimitError: `auto-emulator`, and the program fits on no machine that is installed.
    """
    if name == AUTOMATIC:
        chosen, reason = _chosen(program.timeline.n_atoms, noise)
        _LOG.info("%s for %d atoms: %s", chosen, program.timeline.n_atoms, reason)
        return Choice(chosen, _machine(chosen), reason)
    if name not in _PLACES:
        raise OptionError(
            f"machine {name!r}", "no such machine in this version", nearest(name, MACHINES)
        )
    return Choice(name, _machine(name))


def _chosen(n_atoms: int, noise: NoiseModel | None) -> tuple[str, str]:
    unknown = None if noise is None else _unknown_to_local(noise)
    local = _machine("local").needed_bytes(n_atoms)
    if unknown is None:
        if local <= available_bytes():
            return "local", "fastest at every size that fits into memory"
        if noise is None and _is_there("emu-mps"):
            return "emu-mps", f"a state of {n_atoms} atoms does not fit into memory"
        require_bytes(local, n_atoms)
    if n_atoms <= MOST_QUTIP_ATOMS and _is_there("qutip"):
        return "qutip", f"the embedded emulator does not know the noise ({unknown})"
    if _is_there("emu-sv"):
        return "emu-sv", f"neither local nor qutip do this noise for {n_atoms} atoms ({unknown})"
    raise OptionError(
        "noise",
        f"no machine that is installed emulates it for {n_atoms} atoms ({unknown})",
        "Run: pip install 'cudaq-target[emu,emu-torch]'",
    )


def _unknown_to_local(noise: NoiseModel) -> str | None:
    from cudaq_target.emulator.analog.noise import AnalogNoise  # noqa: PLC0415

    try:
        AnalogNoise.of(noise)
    except OptionError as error:
        return error.option
    return None


def _machine(name: str) -> AnalogMachine:
    module, class_name = _PLACES[name]
    machine: AnalogMachine = getattr(import_module(f"cudaq_target.machines.{module}"), class_name)()
    return machine


def _is_there(name: str) -> bool:
    return find_spec(_PACKAGES[name]) is not None
