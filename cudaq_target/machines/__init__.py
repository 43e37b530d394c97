"""What runs the pulses of a gate kernel, by name; `machines.analog` has the analog ones.

Each machine's module is imported when the machine is first asked for, because each brings
libraries of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from cudaq_target.errors import OptionError
from cudaq_target.options import MACHINES, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.timeline import PulseProgram


class Machine(Protocol):
    """What every machine does."""

    def sample(
        self,
        program: PulseProgram,
        n_shots: int,
        *,
        noise: NoiseModel | None,
        rng: np.random.Generator,
        threads: int | None,
    ) -> NDArray[np.uint8]:
        """Run a program and measure all atoms at the end.

        Args:
            program: A compiled gate kernel.
            n_shots: Number of shots.
            noise: Noise to emulate; machines that are real refuse it.
            rng: The only source of randomness, so that equal seeds give equal shots.
            threads: Most threads to use, or None to let the machine choose.

        Returns:
            0 or 1, shape (n_shots, n_qubits); column k is kernel qubit k.

        Raises:
            MemoryLimitError: The emulation would not fit into memory.
        """
        ...

    def state(self, program: PulseProgram, *, threads: int | None) -> NDArray[np.complex128]:
        """Return the state at the end of a noiseless program, in the kernel's frame.

        Args:
            program: A compiled gate kernel.
            threads: Most threads to use, or None to let the machine choose.

        Returns:
            Amplitudes, complex, shape (2^n_qubits,), qubit 0 most significant.

        Raises:
            MemoryLimitError: The emulation would not fit into memory.
        """
        ...


_CLASSES = {"local": "LocalMachine", "qutip": "QutipMachine"}
# Gate kernels run fastest on the embedded emulator, whatever their size.
_AUTOMATIC = "local"


def get(name: str) -> Machine:
    """Return a machine for gate kernels by name.

    Args:
        name: One of `cudaq_target.options.MACHINES`.

    Raises:
        OptionError: No such machine in this version, or one that runs analog programs only.
    """
    if name not in MACHINES:
        raise OptionError(
            f"machine {name!r}", "no such machine in this version", nearest(name, MACHINES)
        )
    if name == "auto-emulator":
        name = _AUTOMATIC
    if name not in _CLASSES:
        raise OptionError(
            f"machine {name!r}",
            "it emulates the Rydberg levels alone, gate kernels need the qubit levels as well",
            "Give machine='local' for gate kernels, or use cudaq.evolve",
        )
    module = import_module(f"cudaq_target.machines.{name}")
    machine: Machine = getattr(module, _CLASSES[name])()
    return machine
