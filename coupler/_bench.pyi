"""
Round trips and streams between two processes with both ends native; see `native/bench.hpp`. Cores below 0 are the system's choice.
"""

from typing import Annotated

import numpy
from numpy.typing import NDArray


def ping_pong(n_rounds: int, n_bytes: int, *, client_core: int = -1, server_core: int = -1) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,), device='cpu')], int]:
    """
    Round trips over two flags and two buffers: the floor of shared memory.

    Args:
        n_rounds: Measured rounds; a tenth more warms up.
        n_bytes: Payload each way (bytes).
        client_core: Of the timing side.
        server_core: Of the answering side.

    Returns:
        Times (ns), shape (n_rounds,), and the number of wrong answers.
    """

def rpc(n_rounds: int, n_bytes: int, *, n_slots: int = 8, wait: str = 'adaptive', client_core: int = -1, server_core: int = -1) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,), device='cpu')], int]:
    """
    Round trips of `echo` over the slot ring and the dispatcher.

    Args:
        n_rounds: Measured rounds; a tenth more warms up.
        n_bytes: Payload each way, without the header (bytes).
        n_slots: Of the ring.
        wait: As for `Client`.
        client_core: Of the timing side.
        server_core: Of the answering side.

    Returns:
        Times (ns), shape (n_rounds,), and the number of wrong answers.
    """

def minimal_stream(n_frames: int, n_bytes: int, *, n_slots: int = 1024, client_core: int = -1, server_core: int = -1) -> tuple[int, int]:
    """
    Frames one way through a minimal queue: the floor of `ring_stream`.

    Returns:
        Time (ns), and the number of wrong frames.
    """

def ring_stream(n_frames: int, n_bytes: int, *, n_slots: int = 1024, client_core: int = -1, server_core: int = -1) -> tuple[int, int]:
    """
    Frames one way through the frame ring.

    Returns:
        Time (ns), and the number of wrong frames.
    """
