"""What a controller says of itself when it is asked again and again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.coupler.control_client import ControlClient
from cudaq_target.watch.words import Fact

if TYPE_CHECKING:
    from cudaq_target.coupler.link import Link

_CALL_S: Final = 2.0
_ENDS: Final = ("done", "stopped", "deadline", "failed", "refused")
_TROUBLES: Final = {
    "failed": "runs failed",
    "busy_runs": "no place for",
    "expired": "runs left alone",
    "missed_ticks": "late ticks",
    "refused_programs": "programs refused",
}


@dataclass(frozen=True, slots=True)
class ControllerState:
    """One answer of a controller.

    Attributes:
        specs: What it says: machine, queue, counters.
        shots_per_s: Measured since the answer before; None for the first.
        asked_s: When it was asked, on any clock (s).
    """

    specs: dict[str, Any]
    shots_per_s: float | None
    asked_s: float

    @property
    def counters(self) -> dict[str, int]:
        """By name."""
        found: dict[str, int] = self.specs.get("counters") or {}
        return found

    @property
    def n_measured(self) -> int:
        """Shots since the controller was started."""
        return int(self.counters.get("measured_shots", 0))


def ask_controller(link: Link, now_s: float, before: ControllerState | None) -> ControllerState:
    """Ask once.

    Args:
        link: To the controller, used by nobody else meanwhile.
        now_s: The time (s).
        before: The answer before, for the rate.

    Raises:
        LinkError: There is no answer.
        RemoteCallError: The server is no controller.
    """
    specs = json.loads(ControlClient(link.caller(_CALL_S), slot_bytes=link.slot_bytes).specs())
    state = ControllerState(specs if isinstance(specs, dict) else {}, None, now_s)
    if before is None or now_s <= before.asked_s or state.n_measured < before.n_measured:
        return state
    rate = (state.n_measured - before.n_measured) / (now_s - before.asked_s)
    return ControllerState(state.specs, rate, now_s)


def controller_facts(state: ControllerState) -> list[Fact]:
    """Say what is known of a controller, the most important first."""
    specs, count = state.specs, state.counters
    queue = specs.get("queue") or {}
    pace = specs.get("cadence_hz")
    rate = "" if state.shots_per_s is None else f"{state.shots_per_s:,.0f} shots/s now, "
    limit = "as fast as it can" if pace is None else f"cadence {pace:g} shots/s"
    ended = ", ".join(f"{count[name]:,} {name}" for name in _ENDS if count.get(name))
    found = [
        Fact("machine", _machine(specs)),
        Fact(
            "queue",
            f"{queue.get('n_runs', 0)} of {queue.get('most_runs', '?')} runs, "
            f"{queue.get('n_clients', 0)} of {queue.get('most_clients', '?')} clients",
        ),
        Fact("shots", f"{state.n_measured:,} measured"),
        Fact("pace", f"{rate}{limit}"),
        Fact("runs", f"{count.get('runs', 0):,}{f' ({ended})' if ended else ''}"),
        Fact("programs", f"{count.get('programs', 0):,} loaded"),
    ]
    bad = [name for name in _TROUBLES if count.get(name)]
    return found + [Fact(_TROUBLES[name], f"{count[name]:,}", is_bad=True) for name in bad]


def _machine(specs: dict[str, Any]) -> str:
    device = specs.get("device")
    device = device.get("name") if isinstance(device, dict) else device
    parts = [specs.get("name"), specs.get("kind"), device]
    parts.append(f"streams per {specs['granularity']}" if specs.get("granularity") else None)
    return ", ".join(str(part) for part in parts if part and len(str(part)) < 80) or "unknown"
