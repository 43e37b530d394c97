"""The machine behind a controller: it keeps programs, binds parameters, and draws shots lazily."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from cudaq_target import machines
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE, analog_rules
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.controller import texts
from cudaq_target.controller.draws import Draws, draws_of
from cudaq_target.coupler.control_messages import program_id_of
from cudaq_target.coupler.errors import ProgramRefusedError
from cudaq_target.device import DEFAULT_DEVICE, resolve
from cudaq_target.errors import OptionError, Source, TargetError, UnsuitableDeviceError
from cudaq_target.options import check, remote_form
from cudaq_target.shots import words_per_shot
from cudaq_target.template import CircuitTemplate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.coupler.machine import LazyMachine
    from cudaq_target.device import PulserDevice
    from cudaq_target.program import Program

    Reals = NDArray[np.float64]
    Words = NDArray[np.uint64]

# States of programs that were run last, each with its parameters.
_MAX_KEPT: Final = 16
_MAX_KEPT_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """What a controller emulates, and how.

    Attributes:
        machine: One of `options.MACHINES`, or the name of a machine elsewhere.
        device: The only device whose programs run, or None for any.
        noise: Noise that does something, or None.
        seed: Of runs without one, and part of that of the others; None for a fresh one each.
        threads: Most threads of the emulator, or None.
        modulation: Emulate the finite bandwidth of the device in analog programs.
        cache_dir: Directory of the pulse cache, "off", or None for the default.
    """

    machine: str = "local"
    device: PulserDevice | None = None
    noise: NoiseModel | None = None
    seed: int | None = None
    threads: int | None = None
    modulation: bool = False
    cache_dir: str | None = None

    @staticmethod
    def of(**given: object) -> Settings:
        """Check settings as a user gives them; None counts as not given.

        Raises:
            OptionError: A value is not allowed.
        """
        checked = check(given)
        noise = checked.get("noise")
        if noise is not None and not noise.noise_types:
            del checked["noise"]
        return Settings(**checked)


def machine_of(settings: Settings, cadence_hz: float | None) -> LazyMachine:
    """Make the machine that the settings name.

    Args:
        settings: What to emulate, or which machine elsewhere to use.
        cadence_hz: Shots per second of all runs together; None for no limit.

    Raises:
        OptionError: The cadence is not allowed, or the machine has none of its own.
    """
    if cadence_hz is not None and not 1e-6 <= cadence_hz <= 1e9:
        raise OptionError(
            f"cadence_hz {cadence_hz}",
            "no number of shots per second",
            "Give a positive number, 1e-6 to 1e9",
        )
    if remote_form(settings.machine) is None:
        return EmulatedMachine(settings, cadence_hz)
    from cudaq_target.controller.jobs import JobMachine  # noqa: PLC0415

    if cadence_hz is not None:
        raise OptionError(
            f"cadence_hz {cadence_hz}",
            f"machine {settings.machine!r} measures whole jobs at its own pace",
            "Leave it out, or give an emulator, for example machine='local'",
        )
    return JobMachine(settings)


@dataclass(slots=True, eq=False)
class Loaded:
    """A text that was loaded, and the states of its programs that were run last.

    Attributes:
        family: What the text says.
        program_id: Its number.
        kept: States by parameters, the last one used last.
        n_unseeded: Runs of it that came without a seed.
    """

    family: texts.Family
    program_id: int
    kept: OrderedDict[bytes, Draws] = field(default_factory=OrderedDict)
    n_unseeded: int = 0

    def bind(self, values: Reals) -> Program | AnalogProgram | None:
        """The program of some values; None where it is emulated already.

        Raises:
            TargetError: The device refuses it.
        """
        return None if values.tobytes() in self.kept else self.family.bind(values)

    def draws(
        self, values: Reals, program: Program | AnalogProgram | None, settings: Settings
    ) -> Draws:
        """The emulated program of some values; used by one thread at a time.

        Args:
            values: Of its parameters.
            program: From `bind`.
            settings: What to emulate.

        Raises:
            TargetError: It does not fit into memory, or the machine does not run it.
        """
        key = values.tobytes()
        found = self.kept.pop(key, None)
        if found is None:
            found = draws_of(self.family.bind(values) if program is None else program, settings)
        self.kept[key] = found
        while len(self.kept) > 1 and (
            len(self.kept) > _MAX_KEPT
            or sum(one.state_bytes for one in self.kept.values()) > _MAX_KEPT_BYTES
        ):
            self.kept.popitem(last=False)
        return found


class EmulatedMachine:
    """Emulators of this package as a machine for controllers; see `coupler.machine.LazyMachine`."""

    granularity: Literal["shot", "job"] = "shot"

    def __init__(self, settings: Settings, cadence_hz: float | None = None) -> None:
        """Emulate nothing yet.

        Args:
            settings: What to emulate.
            cadence_hz: Shots per second of all runs together; None for no limit.

        Raises:
            OptionError: The device runs neither gate kernels nor analog programs here.
        """
        self.cadence_hz = cadence_hz
        self._settings = settings
        self._gate_device = gate_device(settings)
        self._analog_device = analog_device(settings)
        if self._gate_device is None and self._analog_device is None:
            raise OptionError(
                f"machine {settings.machine!r}",
                "no program runs there with this device",
                "Give another device, or machine='local'",
            )
        self._specs = json.dumps(
            {
                "name": settings.machine,
                "kind": "emulator",
                "is_emulator": True,
                "device": abstract(self._gate_device),
                "analog_device": abstract(self._analog_device),
                "noise": settings.noise is not None,
                "modulation": settings.modulation,
                "max_shots": None,
            }
        )

    def specs(self) -> str:
        """Describe the machine, as a JSON object."""
        return self._specs

    def load(self, program: str) -> Loaded:
        """Read a text; see `texts.read`.

        Raises:
            ProgramRefusedError: It is of no known kind, damaged, or breaks a limit.
        """
        with refused():
            family = texts.read(
                program,
                gate_device=self._gate_device,
                analog_device=self._analog_device,
                cache_dir=self._settings.cache_dir,
            )
            self._check_kind(family)
            check_device(family, self._settings)
        return Loaded(family, program_id_of(program))

    def begin(
        self,
        program: object,
        parameters: Reals,
        n_shots: int,  # noqa: ARG002 - shots are drawn when they are wanted
        seed: int,
    ) -> EmulatedRun:
        """Take on a run; see `coupler.machine.LazyMachine.begin`."""
        assert isinstance(program, Loaded)
        check_count(program.family, parameters)
        return EmulatedRun(program, parameters, self._settings, self._entropy(program, seed))

    def warm_up(self) -> None:
        """Load what the first run would otherwise wait for: a small program of each kind.

        Other emulators than the embedded one load theirs with their first run.
        """
        if self._settings.machine not in ("local", "auto-emulator"):
            return
        if self._gate_device is not None:
            here = Source("warm_up")
            pair = (Gate("ry", (0,), here, params=(1.0,)), Gate("x", (1,), here, controls=(0,)))
            template, angles = CircuitTemplate.of(Circuit("warm_up", 2, pair))
            loaded = self.load(template.to_json())
            for seed in (1, 2):  # the second one re-uses the plans of the first
                self.begin(loaded, seed * angles, 1, seed).measure(1)
        if self._analog_device is not None:
            drive = Waveform([0.0, 100.0, 300.0, 400.0], [0.0, 5.0, 5.0, 0.0])
            chain = AnalogSpec.of([(0.0, 0.0), (0.0, 8.0)], drive, name="warm_up")
            family = texts.Fixed(build(chain, self._analog_device))
            self.begin(Loaded(family, 0), np.zeros(0), 1, 1).measure(1)

    def _check_kind(self, family: texts.Family) -> None:
        """Refuse programs of a kind that the machine, or its device, does not run."""
        if family.kind == "gate" and self._gate_device is None:
            machines.get(self._settings.machine)
            resolve(self._settings.device or DEFAULT_DEVICE)
        if family.kind == "analog" and self._analog_device is None:
            analog_rules(self._settings.device or DEFAULT_ANALOG_DEVICE)

    def _entropy(self, program: Loaded, seed: int) -> list[int]:
        """What the shots depend on besides program and parameters."""
        own = self._settings.seed
        if seed:
            return [0 if own is None else own, seed]
        if own is None:
            return [secrets.randbits(128)]
        program.n_unseeded += 1
        # A number that no client's seed can be, so that the two never meet.
        return [own, (1 << 64) + program.n_unseeded]


class EmulatedRun:
    """Shots of one program; see `coupler.machine.LazyRun`."""

    is_computed: Final = True

    def __init__(
        self, program: Loaded, values: Reals, settings: Settings, entropy: list[int]
    ) -> None:
        """Emulate nothing yet.

        Args:
            program: What was loaded.
            values: Of its parameters, shape (n_parameters,).
            settings: What to emulate.
            entropy: Seeds the shots, with program and values.
        """
        self.n_qubits = program.family.n_bits
        self._program, self._values, self._settings = program, values, settings
        self._entropy = [*entropy, program.program_id, program_id_of(values.tobytes().hex())]
        self._bound: Program | AnalogProgram | None = None
        self._draws: Draws | None = None
        self._n_blocks = 0
        self._left: Words = np.zeros((0, words_per_shot(self.n_qubits)), dtype=np.uint64)

    def prepare(self) -> None:
        """Lower the program.

        Raises:
            ProgramRefusedError: The device refuses it.
        """
        with refused():
            self._bound = self._program.bind(self._values)

    def measure(self, n_shots: int) -> Words:
        """Measure up to `n_shots` shots; the first ones emulate the program.

        Raises:
            ProgramRefusedError: It does not fit into memory, or the machine does not run it.
        """
        with refused():
            if self._draws is None:
                self._draws = self._program.draws(self._values, self._bound, self._settings)
                self._bound = None
            parts = [self._left[:n_shots]]
            n_found = len(parts[0])
            # Blocks that take an emulation each come one by one, so that a stop is seen in between.
            while n_found < n_shots and (n_found == 0 or self._draws.state_bytes):
                seeds = np.random.SeedSequence(self._entropy, spawn_key=(self._n_blocks,))
                self._left = self._draws.block(np.random.default_rng(seeds))
                self._n_blocks += 1
                parts.append(self._left[: n_shots - n_found])
                n_found += len(parts[-1])
        self._left = self._left[len(parts[-1]) :]
        return np.concatenate(parts)

    def close(self) -> None:
        """Forget the state, unless another run still has it."""
        self._draws = None


@contextmanager
def refused() -> Iterator[None]:
    """Turn what breaks a limit into a refusal in the same words."""
    try:
        yield
    except TargetError as error:
        raise ProgramRefusedError(str(error)) from error


def check_count(family: texts.Family, values: Reals) -> None:
    """Refuse another number of parameters.

    Raises:
        ProgramRefusedError: It says how many the program takes.
    """
    if len(values) != family.n_parameters:
        reason = f"{family.name} takes {family.n_parameters} parameters, {len(values)} were given"
        raise ProgramRefusedError(reason)


def check_device(family: texts.Family, settings: Settings) -> None:
    """Refuse programs for another device than that of the machine.

    Raises:
        OptionError: They differ.
    """
    own, given = settings.device, family.device
    if own is None or given is None or given == own or abstract(given) == abstract(own):
        return
    other = "another device of that name" if given.name == own.name else own.name
    raise OptionError(
        f"program {family.name!r}",
        f"it is for {given.name}, this machine has {other}",
        "Lower it for the device that `specs` reports",
    )


def gate_device(settings: Settings) -> PulserDevice | None:
    """The device for gate kernels; None where none run."""
    try:
        machines.get(settings.machine)
        return resolve(settings.device or DEFAULT_DEVICE).pulser_device
    except (OptionError, UnsuitableDeviceError):
        return None


def analog_device(settings: Settings) -> PulserDevice | None:
    """The device for analog programs; None where none run."""
    try:
        return analog_rules(settings.device or DEFAULT_ANALOG_DEVICE).pulser_device
    except UnsuitableDeviceError:
        return None


def abstract(device: PulserDevice | None) -> object:
    """A device in Pulser's abstract representation, as an object for JSON."""
    return None if device is None else json.loads(device.to_abstract_repr())
