"""Loopback stand-ins for Pasqal Cloud, a QPU and Warden, which run programs on our emulator.

They speak HTTP on 127.0.0.1 and nowhere else, take what the services take (and refuse what those
refuse, fields they do not know included), execute programs, keep a log of requests, and fail on
demand. They serve tests, demonstrations and the jobs of a scheduler without a QPU:

>>> from cudaq_target.fakes import FakeCloud
>>> with FakeCloud(engine="zeros") as cloud:
...     cloud.url.startswith("http://127.0.0.1:")
True

In tests, pytest knows the fixtures `fake_cloud`, `fake_qpu` and `fake_warden`
(`cudaq_target.fakes.plugin`); by hand, `python -m cudaq_target.fakes cloud --port 8105` serves
until it is told to end. Names load their module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.fakes.cloud import FakeCloud
    from cudaq_target.fakes.faults import Fault, Planned
    from cudaq_target.fakes.qpu import FakeQpu
    from cudaq_target.fakes.service import Exchange
    from cudaq_target.fakes.warden import FakeWarden

__all__ = ["Exchange", "FakeCloud", "FakeQpu", "FakeWarden", "Fault", "Planned"]

_MODULES = {
    "Exchange": "service",
    "FakeCloud": "cloud",
    "FakeQpu": "qpu",
    "FakeWarden": "warden",
    "Fault": "faults",
    "Planned": "faults",
}


if not TYPE_CHECKING:  # or type checkers would take any name for an `object`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
