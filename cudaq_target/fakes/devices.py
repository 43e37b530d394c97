"""The devices that the stand-ins report, as Pulser's abstract representation."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import TYPE_CHECKING, Final

from cudaq_target.fakes.service import Refusal

if TYPE_CHECKING:
    from cudaq_target.device import PulserDevice

QPUS: Final = ("FRESNEL", "FRESNEL_CAN1")
# Emulators that know the Rydberg levels alone, as emu-mps and emu-sv do.
RYDBERG_ONLY: Final = ("EMU_MPS", "EMU_SV", "EMU_TN")
DEVICE_TYPES: Final = ("EMU_FREE", "EMU_FRESNEL", *RYDBERG_ONLY, *QPUS)


@cache
def device(device_type: str) -> PulserDevice:
    """Return the device of a type, which bears the name of the type.

    QPUs and EMU_FRESNEL have the limits of Pulser's AnalogDevice: one global Rydberg channel. The
    other emulators have those of MockDevice, which are none; EMU_FREE with all its channels.

    Args:
        device_type: One of `DEVICE_TYPES`, or any other name for a QPU.
    """
    from pulser.devices import AnalogDevice, MockDevice  # noqa: PLC0415 - slow

    if device_type not in ("EMU_FREE", *RYDBERG_ONLY):
        return dataclasses.replace(AnalogDevice, name=device_type)
    mock = MockDevice
    kept = [
        (name, channel)
        for name, channel in zip(mock.channel_ids, mock.channel_objects, strict=True)
        if device_type == "EMU_FREE" or channel.basis != "digital"
    ]
    return dataclasses.replace(
        mock,
        name=device_type,
        channel_ids=tuple(name for name, _ in kept),
        channel_objects=tuple(channel for _, channel in kept),
    )


@cache
def specs(device_type: str) -> str:
    """Return the device of a type in Pulser's abstract representation."""
    text: str = device(device_type).to_abstract_repr()
    return text


def found(given: str | PulserDevice) -> PulserDevice:
    """Return a device by type, by Pulser's name, or as it is.

    Raises:
        OptionError: No such device.
    """
    if isinstance(given, str) and given in DEVICE_TYPES:
        return device(given)
    from cudaq_target.device import pulser_device  # noqa: PLC0415 - Pulser

    return pulser_device(given)


def name_in(text: str) -> str | None:
    """Return the name of the device of a sequence in abstract representation, if it has one."""
    try:
        return str(json.loads(text)["device"]["name"])
    except (ValueError, KeyError, TypeError):
        return None


def check_sequence(text: str, qpu: PulserDevice | None) -> None:
    """Refuse what is no sequence at all, and what is for another QPU.

    What Pulser says about the rest is the error of the job.

    Args:
        text: A sequence in abstract representation.
        qpu: The QPU, or None for an emulator.

    Raises:
        Refusal: 400.
    """
    try:
        keys = json.loads(text).keys()
    except (ValueError, AttributeError):
        raise Refusal(400, "the sequence is no serialized sequence") from None
    missing = {"version", "device", "register", "channels", "operations"} - keys
    if missing:
        raise Refusal(400, f"the sequence has no {', '.join(sorted(missing))}")
    if qpu is not None and name_in(text) != qpu.name:
        raise Refusal(400, f"the sequence is for device {name_in(text)}, not for {qpu.name}")


def check_runs(n_runs: int, qpu: PulserDevice | None) -> None:
    """Refuse more runs than a QPU allows.

    Raises:
        Refusal: 400.
    """
    most = None if qpu is None else qpu.max_runs
    if most is not None and n_runs > most:
        raise Refusal(400, f"{n_runs} runs, {qpu.name if qpu else ''} allows {most}")
