"""Machines of this package behind a controller, for `coupler.serve` and `cudaq-target serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pulser import NoiseModel

    from cudaq_target.coupler.machine import LazyMachine
    from cudaq_target.device import PulserDevice


def controller(
    machine: str = "local",
    *,
    device: str | Path | PulserDevice | None = None,
    noise: NoiseModel | str | Path | None = None,
    seed: int | None = None,
    cadence_hz: float | None = None,
    threads: int | None = None,
    modulation: bool = False,
    cache_dir: str | None = None,
) -> LazyMachine:
    """Make a machine that a controller can serve.

    What is not given here has its default: unlike `set_target`, a controller looks neither at the
    environment nor at settings files, which are those of its clients.

    Args:
        machine: `local`, `qutip`, `emu-sv`, `emu-mps` or `auto-emulator`, which measure shot by
            shot; or a machine elsewhere, which runs whole jobs and says so.
        device: The only device whose programs run here; None runs programs of any device, and
            lowers for `DigitalAnalogDevice` and `AnalogDevice` what comes without one.
        noise: Noise of the emulator; none by default.
        seed: Makes unseeded runs reproducible, too, in the order in which each program gets them.
        cadence_hz: Shots per second of all runs together; None for as fast as possible.
        threads: Most threads of the emulator.
        modulation: Emulate the finite bandwidth of the device in analog programs.
        cache_dir: Directory of the pulse cache, or `off`.

    Returns:
        The machine.

    Raises:
        OptionError: An option is not allowed, or nothing of the kind is installed.

    >>> from cudaq_target.coupler import ControlClient, connect, serve
    >>> with serve(controller(seed=1), "tcp://127.0.0.1:0") as server:
    ...     with connect(server.endpoint) as link:
    ...         specs = ControlClient(link.caller()).specs()
    >>> '"name": "local"' in specs
    True
    """
    from cudaq_target.controller.machine import Settings, machine_of  # noqa: PLC0415 - NumPy

    settings = Settings.of(
        machine=machine,
        device=device,
        noise=noise,
        seed=seed,
        threads=threads,
        modulation=modulation or None,
        cache_dir=cache_dir,
    )
    return machine_of(settings, cadence_hz)
