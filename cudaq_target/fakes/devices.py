"""The devices that the stand-ins report, as Pulser's abstract representation."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pulser.devices import Device, VirtualDevice

QPUS: Final = ("FRESNEL", "FRESNEL_CAN1")
# Emulators that know the Rydberg levels alone, as emu-mps and emu-sv do.
RYDBERG_ONLY: Final = ("EMU_MPS", "EMU_SV", "EMU_TN")
DEVICE_TYPES: Final = ("EMU_FREE", "EMU_FRESNEL", *RYDBERG_ONLY, *QPUS)


@cache
def device(device_type: str) -> Device | VirtualDevice:
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
    """Return the device of a type as text."""
    text: str = device(device_type).to_abstract_repr()
    return text
