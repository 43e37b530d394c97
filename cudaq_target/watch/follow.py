"""Follows what goes on: a file of events that grows, or a controller that is asked again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.errors import RemoteCallError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import LinkError
from cudaq_target.errors import OptionError
from cudaq_target.watch.controller_view import ask_controller
from cudaq_target.watch.reader import EventReader, read_file
from cudaq_target.watch.state import LoopState, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cudaq_target.coupler.security import ClientSecurity
    from cudaq_target.watch.controller_view import ControllerState

_CONNECT_S: Final = 5.0
_PATIENCE_S: Final = 10.0


def follow_file(path: Path, interval_s: float, *, is_once: bool = False) -> Iterator[LoopState]:
    """Watch a loop by its file of events, until its end is in it.

    A file that is not there yet is waited for, where its directory is there.

    Args:
        path: The file.
        interval_s: How often to look (s).
        is_once: Look once; the file must be there.

    Yields:
        What is known; one object, which changes.

    Raises:
        EventFileError: The file holds something else.
    """
    if is_once or not path.parent.is_dir():
        yield state_of(read_file(path))
        return
    reader, state = EventReader(path), LoopState()
    while True:
        if path.exists():
            for event in reader.read():
                state.take(event)
        yield state
        if state.has_ended:
            return
        time.sleep(interval_s)


def follow_controller(
    endpoint: str,
    interval_s: float,
    *,
    is_once: bool = False,
    security: ClientSecurity | None = None,
) -> Iterator[ControllerState]:
    """Watch a controller; it is asked until the iteration is ended.

    A controller that does not answer is asked again for ten seconds.

    Args:
        endpoint: Of the controller. Shared memory has room for one client, so watch at ipc or tcp.
        interval_s: How often to ask (s).
        is_once: Ask once.
        security: Keys, where it wants them.

    Yields:
        What it says.

    Raises:
        LinkError: It is not there, or went away.
        OptionError: What is there is no controller.
    """
    with connect(endpoint, timeout_s=_CONNECT_S, security=security) as link:
        state: ControllerState | None = None
        answered_s = time.monotonic()
        while True:
            try:
                state = ask_controller(link, time.monotonic(), state)
            except RemoteCallError as error:
                if error.status == Status.UNKNOWN_FUNCTION:
                    raise _no_controller(endpoint) from error
                raise
            except LinkError:
                if state is None or is_once or time.monotonic() - answered_s > _PATIENCE_S:
                    raise
            else:
                answered_s = time.monotonic()
                yield state
            if is_once:
                return
            time.sleep(interval_s)


def _no_controller(endpoint: str) -> OptionError:
    return OptionError(
        f"endpoint {endpoint!r}",
        "the server there is no controller",
        "Give the endpoint of `cudaq-target serve`",
    )
