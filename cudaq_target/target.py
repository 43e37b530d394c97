"""The target as an object: what the user chose, and whether it is in force.

CUDA-Q's choice of target is one per process, so this module holds one too. CUDA-Q tells `plugin`
of every change, which ends here in `on_change`.
"""

from __future__ import annotations

import difflib
import os
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target import host
from cudaq_target.errors import OptionError
from cudaq_target.locks import ForkSafeLock
from cudaq_target.options import Options, check, remote_form, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike
    from pulser import NoiseModel
    from pulser.devices import Device, VirtualDevice
    from pulser.register.base_register import BaseRegister
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.analog.rules import AnalogRules
    from cudaq_target.compiler import Plans
    from cudaq_target.device import DeviceRules
    from cudaq_target.interpret.form import KernelForm
    from cudaq_target.launch.kernels import BoundKernel

NAME = "pasqal"


@dataclass(frozen=True, kw_only=True)
class Pasqal:
    """The target with its settings; None means "not given here".

    Hand it to `cudaq.set_target`, or use it as a context manager, which restores the previous
    target at the end. What is not given here comes from the environment (`CUDAQ_TARGET_<NAME>`),
    then from a TOML file (see `cudaq_target.options`), then from the default.

    Attributes:
        machine: `local`, the embedded emulator (default), or `qutip`, pulser-simulation; for
            analog programs also `emu-sv`, `emu-mps`, or `auto-emulator`, which chooses; or the
            endpoint of a controller (`cudaq-target serve`): `shm://name`, `ipc://path`,
            `tcp://host:port`, `udp://host:port`; or a device of Pasqal Cloud (`EMU_FREE`, ...); or
            `qrmi`, `qrmi:NAME`, a QPU that a scheduler gave to this job. Without any source that
            names a machine, such a QPU is used where there is one.
        device: Name of a Pulser device, a `pulser` device object, or the path of a device file;
            by default `DigitalAnalogDevice` for gate kernels, `AnalogDevice` for analog programs.
            A remote machine has a device of its own, which this must not contradict.
        noise: Noise of the emulator: a `pulser.NoiseModel`, or the path of a JSON file with its
            abstract representation; none by default.
        seed: Makes counts reproducible; without it `cudaq.set_random_seed` does.
        layout: Sites of the atoms (µm), shape (n_sites, 2): coordinates, a Pulser register or
            register layout, or the path of a JSON file. With one site per qubit, row k is qubit k.
        route: `swap` moves distant qubits together where that is cheaper (default), `direct`
            never does.
        shots: Shots where a call names none.
        threads: Most threads of the emulator.
        cache_dir: Directory of the pulse cache, or `off`.
        modulation: Emulate the finite bandwidth of the device in analog programs; by default they
            are played as they are written, which is what Pulser's emulators do, too.
        eom: Play analog programs of square pulses with the device's electro-optic modulator.
        machine_secret: Secret key file of this end, for controllers that ask for keys.
        machine_server_key: Public key file of such a controller.
        machine_timeout_s: How long a remote machine may be silent before a launch fails (s).
        machine_poll_s: Time between looks at a job of a service (s); by default 20 ms or less at
            first, growing to 2 s.

    >>> Pasqal(machine="local", seed=7)
    Pasqal(machine='local', seed=7)
    """

    machine: str | None = None
    device: str | Path | Device | VirtualDevice | None = None
    noise: NoiseModel | str | Path | None = None
    seed: int | None = None
    layout: ArrayLike | BaseRegister | RegisterLayout | str | Path | None = None
    route: str | None = None
    shots: int | None = None
    threads: int | None = None
    cache_dir: str | Path | None = None
    modulation: bool | None = None
    eom: bool | None = None
    machine_secret: str | Path | None = None
    machine_server_key: str | Path | None = None
    machine_timeout_s: float | None = None
    machine_poll_s: float | None = None

    if not TYPE_CHECKING:  # type checkers say it better than an error at run time

        def __new__(cls, *unnamed: object, **given: object) -> Pasqal:
            """Refuse unknown options by name."""
            if unnamed:
                raise OptionError(
                    f"Pasqal({unnamed[0]!r})",
                    "options are given by name",
                    f"Write Pasqal(NAME=...). Known: {', '.join(cls.__dataclass_fields__)}",
                )
            check(dict.fromkeys(given))  # the names; values are checked once they have defaults
            return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, value in check(self.given()).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Pasqal({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"

    def given(self) -> dict[str, object]:
        """Return the settings given here, by name."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}

    def resolve(self) -> Options:
        """Merge these settings with environment, TOML files and defaults.

        Raises:
            OptionError: An unknown name or a value that is not allowed, in any source.
        """
        return resolve(self.given())

    def __enter__(self) -> Pasqal:
        host.require()
        import cudaq  # noqa: PLC0415

        choice = _current_choice()
        cudaq.set_target(self)
        _entered.append(choice)
        return self

    def __exit__(self, *_: object) -> None:
        _entered.pop()()


@dataclass(slots=True)
class Kept:
    """What launches keep for later ones of the same session.

    Attributes:
        kernels: Kernels with their arguments, least recently used first.
        plans: Plans of each kernel by the number of its form, which is kept so that the number
            stays its own; least recently used first.
        rules: Rules of the session's device for gate kernels, once they are read.
        analog_rules: Those for analog programs.
    """

    kernels: OrderedDict[Hashable, BoundKernel] = field(default_factory=OrderedDict)
    plans: OrderedDict[int, tuple[KernelForm, Plans]] = field(default_factory=OrderedDict)
    rules: DeviceRules | None = None
    analog_rules: AnalogRules | None = None


class Session:
    """A target in force: its settings and its source of randomness.

    Attributes:
        target: The target as the user chose it.
        options: Its settings, every source merged.
        kept: What the launch functions keep for as long as the target is in force.
        lock: To be held while reading or changing `kept`.
    """

    def __init__(self, target: Pasqal) -> None:
        self.target = target
        self.options = target.resolve()
        self.kept = Kept()
        self._is_elsewhere = remote_form(self.options.machine) is not None
        self.lock = ForkSafeLock()
        seed = self.options.seed
        self._random = np.random.default_rng(_random_seed if seed is None else seed)
        _sessions.add(self)

    def generator(self) -> np.random.Generator:
        """Return a generator for one call, independent of those of all other calls.

        The k-th call after selecting the target gets the same generator in every run with the
        same seed, whichever thread uses it. Without a seed a remote machine is sent none either:
        nobody draws, and all calls share one.
        """
        if self._is_elsewhere and not self.is_seeded:
            return self._random
        with self.lock:
            return self._random.spawn(1)[0]

    @property
    def is_seeded(self) -> bool:
        """Whether results are to be reproducible: the target or CUDA-Q has a seed."""
        return self.options.seed is not None or _random_seed is not None

    def reseed(self, seed: int) -> None:
        """Follow `cudaq.set_random_seed`, unless the target has a seed of its own."""
        if self.options.seed is None:
            with self.lock:
                self._random = np.random.default_rng(seed)

    def part_from_parent(self) -> None:
        """In the child of a fork: draw other numbers than the parent, unless there is a seed."""
        if self.options.seed is None and _random_seed is None:
            self._random = np.random.default_rng()


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_session: Session | None = None
_pending: Session | None = None
_random_seed: int | None = None
_last_choice: tuple[object, dict[str, Any]] | None = None
_entered: list[Callable[[], None]] = []


def active() -> Session | None:
    """Return the session if this target is the one in force, else None."""
    return _session


def select(
    original: Callable[..., Any],
    target: object,
    extra: dict[str, Any],
) -> object:
    """Do what `cudaq.set_target` promises, for this target and for all others.

    Args:
        original: CUDA-Q's own `set_target`.
        target: A target's name, a `cudaq.Target`, a CUDA-Q `CustomTarget`, or a `Pasqal`.
        extra: Keyword arguments of the call.

    Returns:
        What CUDA-Q's function returns; the object itself for a `Pasqal`.

    Raises:
        OptionError: An unknown keyword or a value that is not allowed. The target stays as it was.
        HostError: CUDA-Q has a version outside the supported range.
    """
    if isinstance(target, Pasqal):
        if extra:
            raise OptionError(
                f"option {next(iter(extra))!r}",
                "Pasqal(...) takes its options itself",
                "Write cudaq.set_target(Pasqal(...)), with every option inside the parentheses",
            )
        _start(Session(target))
        return target
    if target is Pasqal:
        raise OptionError("target Pasqal", "this is a class", "Write cudaq.set_target(Pasqal())")
    if getattr(target, "name", target) == NAME:
        check(extra)
        _start(Session(Pasqal(**extra)))
        return None
    try:
        result = original(target, **extra)
    except RuntimeError as error:
        if isinstance(target, str) and difflib.get_close_matches(target.lower(), [NAME]):
            raise OptionError(
                f"target {target!r}", "no such target", f"Did you mean {NAME!r}?"
            ) from error
        raise
    _leave()
    _remember(target, extra)
    return result


def on_change(name: str) -> bool:
    """Follow a change of CUDA-Q's target.

    Args:
        name: Name of the target now in force. Ours may have been chosen past `cudaq.set_target`
            (command line `--target pasqal`), which leaves all settings to their other sources.

    Returns:
        Whether this target is now the one in force.
    """
    global _session, _pending
    if name != NAME:
        _leave()
        _remember(name, {})
        return False
    host.require()
    _leave()
    _session, _pending = _pending or Session(Pasqal()), None
    return True


def remember_seed(seed: int) -> None:
    """Follow `cudaq.set_random_seed`."""
    global _random_seed  # noqa: PLW0603 - CUDA-Q's seed is one per process
    _random_seed = seed
    if _session is not None:
        _session.reseed(seed)


@contextmanager
def suspended() -> Iterator[None]:
    """Put CUDA-Q's CPU simulator in our place for a while, for tools that need no machine."""
    session = _session
    _runtime().set_target("qpp-cpu")
    try:
        yield
    finally:
        if session is not None:
            _start(session)


def _start(session: Session) -> None:
    global _pending  # noqa: PLW0603 - handed to `on_change`, which CUDA-Q calls
    host.require()
    _pending = session
    try:
        _runtime().set_target(NAME)
    finally:
        _pending = None


def _leave() -> None:
    global _session  # noqa: PLW0603 - CUDA-Q's target is one per process
    if _session is not None and remote_form(_session.options.machine) is not None:
        from cudaq_target.machines.remote import close_all  # noqa: PLC0415

        close_all()
    _session = None


def _remember(target: object, extra: dict[str, Any]) -> None:
    global _last_choice  # noqa: PLW0603 - CUDA-Q does not expose the options of its target
    _last_choice = (target, dict(extra))


def _current_choice() -> Callable[[], None]:
    """Return a function that restores the target in force now."""
    import cudaq  # noqa: PLC0415

    session = _session
    if session is not None:
        return lambda: _start(session)
    name = cudaq.get_target().name
    target, extra = _last_choice or (name, {})
    return lambda: cudaq.set_target(target, **extra)


def _after_fork() -> None:
    for session in list(_sessions):
        session.part_from_parent()


os.register_at_fork(after_in_child=_after_fork)


def _runtime() -> Any:  # noqa: ANN401 - an extension module of CUDA-Q
    from cudaq.mlir._mlir_libs._quakeDialects import cudaq_runtime  # noqa: PLC0415

    return cudaq_runtime
