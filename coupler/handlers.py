"""Handlers written in Python that run as machine code, without the interpreter lock.

Numba compiles them; import this module where handlers are made, as Numba takes a while to load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numba import carray, cfunc, njit
from numba.extending import is_jitted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cudaq_target.coupler._native import Dispatcher

    Bytes = NDArray[np.uint8]
    Plain = Callable[[Bytes, Bytes], int]
    Stateful = Callable[[Bytes, Bytes, Bytes], int]

_Pointer: TypeAlias = Any  # Numba's pointers have no type in Python
INTERNAL_ERROR = 3  # `frame.Status`; a literal, as compiled code knows no enumerations
_BYTES = "CPointer(uint8)"
_ARGUMENTS = f"{_BYTES}, {_BYTES}, uint32, uint32, CPointer(uint32)"
_DEVICE_CALL = f"int32({_ARGUMENTS})"
_STATEFUL_CALL = f"int32({_ARGUMENTS}, {_BYTES})"


@dataclass(frozen=True, slots=True)
class Handler:
    """A compiled handler.

    Attributes:
        address: Of a function with CUDA-Q Realtime's DEVICE_CALL signature.
        state_bytes: Length of its state (bytes); 0 where it has none.
        owner: Keeps the machine code alive.
    """

    address: int
    state_bytes: int
    owner: object

    def add_to(
        self,
        dispatcher: Dispatcher,
        name: str,
        *,
        state: Bytes | None = None,
        min_arg_bytes: int = 0,
        max_arg_bytes: int = 0xFFFF_FFFF,
        deadline_ns: int = 0,
        float64_result: bool = False,
    ) -> None:
        """Register the handler.

        Args:
            dispatcher: Where; it must have `session_bytes` of at least `state_bytes` where
                `state` is None.
            name: Its id is the hash of its name.
            state: Memory of the handler, shape (state_bytes,); None for the session's.
            min_arg_bytes: Shorter arguments are answered BAD_REQUEST (bytes).
            max_arg_bytes: Longer ones, too (bytes).
            deadline_ns: A later result is answered DEADLINE (ns); 0 for none.
            float64_result: Whether a result that is not finite is answered INTERNAL_ERROR.

        Raises:
            ValueError: The name is taken, or the state has another length.
        """
        n_bytes = dispatcher.session_bytes if state is None else state.nbytes
        if n_bytes < self.state_bytes:
            message = f"handler {name!r} needs {self.state_bytes} bytes of state; it gets {n_bytes}"
            raise ValueError(message)
        dispatcher.add_address(
            name,
            self.address,
            stateful=self.state_bytes > 0,
            state=state,
            min_arg_bytes=min_arg_bytes,
            max_arg_bytes=max_arg_bytes,
            deadline_ns=deadline_ns,
            float64_result=float64_result,
            keep_alive=self,
        )


def handler(function: Plain) -> Handler:
    """Compile a function of the arguments into a handler.

    Args:
        function: Takes the argument bytes, shape (arg_len,), and the room for the result, shape
            (max_result_len,); returns the number of result bytes, or minus a `Status` above 0 to
            refuse. An exception is answered INTERNAL_ERROR. Views (`arguments.view(np.uint64)`)
            are how it reads numbers. Only what Numba compiles.

    Returns:
        The handler; register it with `Handler.add_to`.

    Raises:
        numba.core.errors.NumbaError: Numba cannot compile the function.
    """
    body = njit(nogil=True)(function)

    def call(
        source: _Pointer, target: _Pointer, arg_len: int, max_len: int, result_len: _Pointer
    ) -> int:
        try:
            n_bytes = body(carray(source, (arg_len,)), carray(target, (max_len,)))
        except Exception:  # noqa: BLE001 - the boundary: the client gets a status
            return INTERNAL_ERROR
        result_len[0] = max(n_bytes, 0)
        return max(-n_bytes, 0)

    compiled = cfunc(_DEVICE_CALL)(call)
    return Handler(compiled.address, 0, compiled)


def stateful_handler(function: Stateful, state_bytes: int) -> Handler:
    """Compile a function that remembers something from call to call into a handler.

    Args:
        function: As for `handler`, with its memory, shape (state_bytes,), as third argument.
        state_bytes: Length of that memory (bytes); zeros at first.

    Returns:
        The handler.

    Raises:
        ValueError: `state_bytes` is below 1.
        numba.core.errors.NumbaError: Numba cannot compile the function.
    """
    if state_bytes < 1:
        message = f"state_bytes is {state_bytes}; a stateful handler needs at least 1"
        raise ValueError(message)
    # What is compiled already, and kept on disk, starts sooner.
    body = function if is_jitted(function) else njit(nogil=True)(function)

    def call(
        source: _Pointer,
        target: _Pointer,
        arg_len: int,
        max_len: int,
        result_len: _Pointer,
        state: _Pointer,
    ) -> int:
        memory = carray(state, (state_bytes,))
        try:
            n_bytes = body(carray(source, (arg_len,)), carray(target, (max_len,)), memory)
        except Exception:  # noqa: BLE001 - the boundary: the client gets a status
            return INTERNAL_ERROR
        result_len[0] = max(n_bytes, 0)
        return max(-n_bytes, 0)

    compiled = cfunc(_STATEFUL_CALL)(call)
    return Handler(compiled.address, state_bytes, compiled)
