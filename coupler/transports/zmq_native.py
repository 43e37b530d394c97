"""The libzmq that pyzmq has loaded, for loops that run without the interpreter.

Nothing links libzmq at build time: pyzmq brings its own, and a socket belongs to the library that
made it. The compiled half finds the functions in that very library, at run time.
"""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

import zmq

from cudaq_target.coupler.link_errors import EndpointError

if TYPE_CHECKING:
    from cudaq_target.coupler._zmq import Library
    from cudaq_target.coupler.transports.interface import TransportOptions

_LOG = logging.getLogger(__name__)
# What pyzmq is compiled to: with Cython on CPython, with cffi on PyPy. Each links libzmq.
_BACKENDS: Final = ("zmq.backend.cython._zmq", "zmq.backend.cffi._cffi")
Loop = Literal["native", "python"]


@cache
def find_library() -> Library | str:
    """Functions of libzmq, or why they cannot be had."""
    try:
        from cudaq_target.coupler._zmq import Library  # noqa: PLC0415 - compiled
    except ImportError as error:
        return f"the compiled module is missing ({error})"
    reasons = []
    for name in _BACKENDS:
        try:
            path = importlib.import_module(name).__file__
            library = Library(path or "")
        except (ImportError, ValueError) as error:
            reasons.append(f"{name}: {error}")
            continue
        if library.version == zmq.zmq_version_info():
            return library
        reasons.append(f"{name}: it shows libzmq {library.version}, not {zmq.zmq_version_info()}")
    return "; ".join(reasons)


@cache
def _say(reason: str) -> None:
    _LOG.warning("ZeroMQ runs in Python, which is slower: %s", reason)


def library_for(options: TransportOptions) -> Library | None:
    """Functions of libzmq where `options` wants the native loop and they are there.

    Raises:
        EndpointError: `options.zeromq` is neither "native" nor "python".
    """
    if options.zeromq not in {"native", "python"}:
        reason = f"{options.zeromq!r} is no way to run ZeroMQ"
        raise EndpointError("zeromq", reason, "Use 'native' or 'python'")
    if options.zeromq == "python":
        return None
    found = find_library()
    if isinstance(found, str):
        _say(found)
        return None
    return found
