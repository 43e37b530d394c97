"""What answers orders: the embedded emulator, or zeros at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cudaq_target.fakes.orders import ExecutionError

if TYPE_CHECKING:
    import numpy as np

    from cudaq_target.fakes.orders import Execute, Order


def local() -> Execute:
    """Load the embedded emulator.

    Returns:
        What runs an order and returns `{"counter": …}` as text.
    """
    from cudaq_target.fakes.emulate import counts  # noqa: PLC0415 - Pulser and Numba

    def execute(order: Order, rng: np.random.Generator) -> str:
        return json.dumps({"counter": counts(order, rng)})

    return execute


def zeros(order: Order, rng: np.random.Generator) -> str:  # noqa: ARG001
    """Answer that no atom was excited, whatever the program does.

    Raises:
        ExecutionError: The number of atoms cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(order.text)
        if order.is_ahs:
            register = content["setup"]["ahs_register"]
            n_atoms = sum(map(int, register.get("filling") or [1] * len(register["sites"])))
        else:
            qubits = (order.variables or {}).get("qubits")
            n_atoms = len(content["register"] if qubits is None else qubits)
    except (ValueError, KeyError, TypeError) as error:
        raise ExecutionError(f"the register cannot be read ({error!r})") from error
    return json.dumps({"counter": {"0" * n_atoms: order.n_shots}})
