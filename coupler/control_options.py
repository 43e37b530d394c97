"""What a controller allows its clients, what it counts, and how it introduces itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cudaq_target.coupler.control_messages import RunState


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """What a controller allows its clients.

    Attributes:
        max_held: Shots per run that wait for the client; a full store makes the machine wait.
        max_runs: Runs under way and waiting at most; further ones are BUSY.
        max_clients: Clients with runs at most; runs of further ones are BUSY.
        retry_ns: Silence after which a message of a stream counts as lost (ns).
        lease_ns: A client that does not ask for shots for so long loses its run (ns).
    """

    max_held: int = 65536
    max_runs: int = 32
    max_clients: int = 16
    retry_ns: int = 100_000_000
    lease_ns: int = 30_000_000_000


@dataclass(slots=True)
class ControlCounters:
    """What a controller did; each run that has ended is in one of the states.

    Attributes:
        runs: Runs that were taken on.
        busy_runs: Runs that had no place.
        done: Runs that measured all shots.
        stopped: Runs that were stopped.
        expired: Of these, runs whose clients were silent for too long.
        deadline: Runs that were stopped by their deadline.
        failed: Runs that broke off.
        refused: Runs that never began.
        programs: Programs that were loaded.
        refused_programs: Programs that the machine refused.
    """

    runs: int = 0
    busy_runs: int = 0
    done: int = 0
    stopped: int = 0
    expired: int = 0
    deadline: int = 0
    failed: int = 0
    refused: int = 0
    programs: int = 0
    refused_programs: int = 0

    def count(self, state: RunState) -> None:
        """A run ended like this."""
        name = state.name.lower()
        setattr(self, name, getattr(self, name) + 1)

    def as_dict(self) -> dict[str, int]:
        """All counters by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def describe(machine: str, controller: Mapping[str, object]) -> str:
    """What a machine says of itself, and what there is to say of its controller.

    Args:
        machine: Its own description; a JSON object, or any other text.
        controller: Further entries.

    Returns:
        One JSON object.

    >>> describe('{"name": "dice"}', {"cadence_hz": 5.0})
    '{"name": "dice", "cadence_hz": 5.0}'
    """
    try:
        content = json.loads(machine)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {"description": machine}
    return json.dumps({**content, **controller}, ensure_ascii=False)
