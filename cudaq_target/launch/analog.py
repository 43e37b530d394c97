"""Analog programs in a session: specifications lowered for its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cudaq_target import telemetry
from cudaq_target.analog.program import build
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE, analog_rules
from cudaq_target.launch.remote import device_of

if TYPE_CHECKING:
    from cudaq_target.analog.model import AnalogSpec
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.analog.rules import AnalogRules
    from cudaq_target.target import Session


def lowered(session: Session, spec: AnalogSpec) -> AnalogProgram:
    """Lower a specification for the session's device, `AnalogDevice` by default.

    Raises:
        TargetError: Of the kind that names the broken limit.
    """
    layout, rules = session.options.layout, rules_of(session)
    with telemetry.phase("compile"):
        return build(
            spec,
            rules,
            traps=None if layout is None else layout.traps,
            eom=session.options.eom,
        )


def rules_of(session: Session) -> AnalogRules:
    """Return what the session's device allows to analog programs, read once."""
    rules = session.kept.analog_rules
    if rules is None:
        device = device_of(session, "analog")
        rules = analog_rules(DEFAULT_ANALOG_DEVICE if device is None else device)
        session.kept.analog_rules = rules
    return rules
