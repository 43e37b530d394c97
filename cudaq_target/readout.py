"""Which qubits form the bit strings of a sample, in CUDA-Q's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cudaq_target.circuit import Circuit

GLOBAL_REGISTER: Final = "__global__"
"""CUDA-Q's name for the bits that `str(result)` shows."""


def readout_order(circuit: Circuit, *, explicit: bool = False) -> dict[str, tuple[int, ...]]:
    """Say which qubit each character of a register's bit strings is.

    The rules are those of CUDA-Q 0.16, found on `qpp-cpu` with kernels whose bits all differ:

    - A kernel without measurements: all qubits in the order of their numbers, including those
      that called kernels allocate for themselves.
    - A kernel with measurements: the global register holds every measured qubit once, in the
      order of the qubits' numbers, whatever the order of the measurements. A named register
      (`r = mz(...)` or `register_name=`) does the same for the qubits measured under that name,
      in as many measurements as there are.
    - `explicit_measurements=True`: the global register holds one character for each measurement
      in the order of execution, qubits measured twice included; there are no named registers.

    Args:
        circuit: The circuit.
        explicit: The user asked for `explicit_measurements`.

    Returns:
        Qubits of the global register and of each named one, leftmost character first.

    >>> from cudaq_target.circuit import Circuit, Measurement
    >>> from cudaq_target.errors import Source
    >>> here = Source("demo")
    >>> events = Measurement(2, "r", here), Measurement(0, "", here), Measurement(1, "r", here)
    >>> readout_order(Circuit("demo", 4, (), events))
    {'__global__': (0, 1, 2), 'r': (1, 2)}
    >>> readout_order(Circuit("demo", 4, (), events), explicit=True)
    {'__global__': (2, 0, 1)}
    """
    measured = circuit.measurements
    if not measured:
        return {GLOBAL_REGISTER: tuple(range(circuit.n_qubits))}
    if explicit:
        return {GLOBAL_REGISTER: tuple(event.qubit for event in measured)}
    order = {GLOBAL_REGISTER: tuple(sorted({event.qubit for event in measured}))}
    for name in dict.fromkeys(event.register for event in measured if event.register):
        order[name] = tuple(sorted({event.qubit for event in measured if event.register == name}))
    return order
