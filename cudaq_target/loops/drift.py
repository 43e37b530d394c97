"""Drift tracking: Rabi frequency and detuning stay known while another program runs.

On one controller two kinds of runs take turns: blocks of the *payload*, which somebody wants done,
and *probes*, single shots of pulses on atoms far apart. The loop first calibrates (from a tenth off
to a third of a per cent), then measures a probe only when what is known has grown too old; which
one is chosen by what it is expected to tell. The payload may take its parameters from what is
known, so that the drift does not reach its results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target import telemetry
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE
from cudaq_target.coupler.control_client import ControlClient
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.calibration import (
    DETUNING,
    RABI,
    BitShare,
    Calibrate,
    CalibrationResult,
    Drift,
    FollowDrift,
    Track,
    Tracker,
)
from cudaq_target.coupler.loops.errors import LoopRecordError
from cudaq_target.coupler.loops.loop import FeedbackLoop, replay_loop
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.record import LoopRecord
from cudaq_target.coupler.server import serve
from cudaq_target.errors import OptionError
from cudaq_target.kernels.estimation import NO_ERRORS, OutcomeErrors
from cudaq_target.kernels.grid import GridPosterior
from cudaq_target.loops.probes import ProbeSet, probe_set
from cudaq_target.loops.run_folder import run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cudaq_target.analog.ansatz import AnalogAnsatz
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.controller.drifting import DriftingMachine, DriftLaw
    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.loops.events import Sink
    from cudaq_target.coupler.loops.interface import LoopResult, Point

    Reals = NDArray[np.float64]

_CONNECT_S: Final = 10.0
_CALL_S: Final = 5.0
_SECONDS_PER_MIN: Final = 60.0

Correct = Callable[[float, float], "Point"]
"""Factor of the Rabi frequency and detuning (rad/µs) in, parameters of the payload out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """What is expected of the machine, and how well it is to be known.

    Attributes:
        rabi_error: Relative standard deviation that the Rabi frequency is kept within.
        detuning_error: Standard deviation that the detuning is kept within (rad/µs).
        rabi_per_min: Usual relative drift of the Rabi frequency per minute.
        detuning_per_min: Usual drift of the detuning per minute (rad/µs); 0 where it is known and
            stays.
        memory_s: How long a rate of drift lasts, see `coupler.loops.calibration.Drift` (s).
        rabi_range: Relative distance within which the Rabi frequency is at the start.
        detuning_range: Distance from 0 within which the detuning is at the start (rad/µs).
        errors: Of preparation and read-out.
        payload_block: Longest block of the payload (shots).
        calibration_shots: At most.
    """

    rabi_error: float = 0.0027
    detuning_error: float = 0.03
    rabi_per_min: float = 0.01
    detuning_per_min: float = 0.05
    memory_s: float = 120.0
    rabi_range: float = 0.1
    detuning_range: float = 0.3
    errors: OutcomeErrors = NO_ERRORS
    payload_block: int = 50
    calibration_shots: int = 400

    def __post_init__(self) -> None:
        for name in ("rabi_error", "detuning_error"):
            error = getattr(self, name)
            if not error > 0.0:
                raise OptionError(f"{name} {error:g}", "no error to keep", "Give one above 0")
        for name in ("rabi_per_min", "detuning_per_min"):
            rate = getattr(self, name)
            if not 0.0 <= rate < inf:
                raise OptionError(f"{name} {rate:g}", "no usual drift", "Give one of at least 0")

    def drift(self, rabi: float) -> Drift:
        """Return the model, for a Rabi frequency (rad/µs)."""
        return Drift(
            rabi * self.rabi_per_min / _SECONDS_PER_MIN,
            self.detuning_per_min / _SECONDS_PER_MIN,
            self.memory_s,
        )


@dataclass(frozen=True, slots=True, eq=False)
class DriftResult:
    """How Rabi frequency and detuning were followed.

    Attributes:
        track: What was known when; its times begin after the calibration.
        calibration: What was known at the start.
        nominal_rabi: Rabi frequency that the probes ask for (rad/µs).
        shots_per_s: Of the clock that times are counted by; None where it was that of the machine.
        loop: How the tracking went, faults, round trips and all.
        machine: What the controller says it is.
    """

    track: Track
    calibration: CalibrationResult
    nominal_rabi: float
    shots_per_s: float | None
    loop: LoopResult
    machine: dict[str, Any] = field(default_factory=dict)

    @property
    def rabi_scale(self) -> Reals:
        """Rabi frequency over that which was asked for, after each outcome, shape (n,)."""
        return np.asarray(self.track.means[:, RABI] / self.nominal_rabi)

    @property
    def detuning(self) -> Reals:
        """Detuning after each outcome (rad/µs), shape (n,)."""
        return np.asarray(self.track.means[:, DETUNING])

    def errors_against(self, law: DriftLaw) -> tuple[Reals, Reals]:
        """Compare what was known when each shot was measured with a drift that is known.

        Args:
            law: Of the machine, whose clock began with the calibration.

        Returns:
            Relative errors of the Rabi frequency and errors of the detuning (rad/µs), one per shot
            of the tracking.
        """
        if self.shots_per_s is None:
            raise OptionError("errors_against", "time was not counted in shots", "Set a cadence")
        n_shots = int(self.track.n_shots.sum())
        times = np.arange(n_shots) / self.shots_per_s
        scale, shift = law.at(times + self.calibration.n_shots / self.shots_per_s)
        found = self.track.at(times)
        return found[:, RABI] / (self.nominal_rabi * scale) - 1.0, found[:, DETUNING] - shift

    def as_data(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        track = self.track
        minutes = track.times_s[-1] / _SECONDS_PER_MIN
        return {
            "status": self.loop.status,
            "minutes": float(minutes),
            "rabi_scale": float(self.rabi_scale[-1]),
            "rabi_relative_std": float(track.standard_deviations[-1, RABI] / track.means[-1, RABI]),
            "rabi_per_min": float(_SECONDS_PER_MIN * track.means[-1, 2] / track.means[-1, RABI]),
            "detuning_rad_per_us": float(self.detuning[-1]),
            "detuning_std": float(track.standard_deviations[-1, DETUNING]),
            "n_calibration_shots": self.calibration.n_shots,
            "is_calibrated": self.calibration.is_known,
            "n_probe_shots": track.n_probe_shots,
            "n_payload_shots": track.n_payload_shots,
            "probe_shots_per_min": float(track.n_probe_shots / minutes) if minutes else None,
            "n_relocks": track.n_relocks,
            "n_lost": self.loop.n_lost,
            "machine": self.machine.get("name"),
        }

    def text(self) -> str:
        """Describe the result in a few lines."""
        data = self.as_data()
        share = data["n_probe_shots"] / max(1, data["n_probe_shots"] + data["n_payload_shots"])
        return (
            f"calibrated with {data['n_calibration_shots']} shots, then {data['minutes']:.1f} min "
            f"of shots\n"
            f"Rabi frequency {data['rabi_scale']:.4f} of nominal, "
            f"± {100 * data['rabi_relative_std']:.2f} %, "
            f"drift {100 * data['rabi_per_min']:+.2f} %/min\n"
            f"detuning {data['detuning_rad_per_us']:+.3f} ± {data['detuning_std']:.3f} rad/µs\n"
            f"{data['n_probe_shots']} probe shots beside {data['n_payload_shots']} of the payload "
            f"({share:.0%} of the time), {data['n_relocks']} jumps found"
        )


def track_drift(
    payload: AnalogProgram | AnalogAnsatz | None = None,
    *,
    endpoint: str | Link | None = None,
    emulated: DriftingMachine | None = None,
    n_shots: int = 1500,
    settings: DriftSettings | None = None,
    probes: ProbeSet | None = None,
    device: object = DEFAULT_ANALOG_DEVICE,
    correct: Correct | None = None,
    on_payload: Callable[[NDArray[np.uint64]], object] | None = None,
    seed: int = 1,
    events: Path | str | Sink | None = None,
    record: Path | str | None = None,
) -> DriftResult:
    """Follow the drift of a machine while it runs a payload.

    Args:
        payload: What else runs, with as many atoms as the probes; None spends every shot on probes.
        endpoint: A controller, or a link to one; None serves `emulated` for as long as it takes.
        emulated: A machine that drifts; by default by 1 % and 0.05 rad/µs per minute.
        n_shots: Shots of the tracking, payload and probes together.
        settings: What is expected and wanted.
        probes: From `probes.probe_set`; by default for the payload's number of atoms, else 4.
        device: What the default probes are for.
        correct: Parameters of an ansatz that make up for the drift; needed for one alone.
        on_payload: Given packed shots of the payload, shape (n_shots, n_words), during the call.
        seed: Of emulated shots.
        events: Where the tracking reports, see `coupler.loops.events`.
        record: A new file for its shots and decisions.

    Returns:
        The track, and what it cost.

    Raises:
        OptionError: The arguments do not fit together.
        CouplerError: Link or machine failed for good.
    """
    chosen = settings or DriftSettings()
    probes = _probes_beside(payload, probes, device, chosen, has_correction=correct is not None)
    program = _program(payload, probes)
    with ExitStack() as stack:
        link = _link(stack, endpoint, emulated, seed)
        specs = _specs(link)
        shots_per_s = specs.get("shots_per_s") or specs.get("cadence_hz")
        start = _calibrated(link, program, probes, chosen, shots_per_s, seed)
        policy = _policy(start, probes, chosen, shots_per_s, n_shots)
        if payload is not None:
            policy.payload_point = _point(correct, probes)
        estimator = BitShare(program.n_settings, probes.n_atoms, payload=on_payload)
        notes = {
            "calibration": asdict(start),
            "shots_per_s": shots_per_s,
            "machine": {"name": specs.get("name")},
        }
        done = _followed(link, program, estimator, policy, seed + 1, events, record, notes)
    assert isinstance(done.result, Track)
    return DriftResult(done.result, start, probes.rabi_rad_per_us, shots_per_s, done, specs)


def _followed(
    link: Link,
    program: LoopProgram,
    estimator: BitShare,
    policy: FollowDrift,
    seed: int,
    events: Path | str | Sink | None,
    record: Path | str | None,
    notes: dict[str, object],
) -> LoopResult:
    loop = FeedbackLoop(
        link,
        program,
        estimator,
        policy,
        seed=seed,
        events=events,
        record=record,
        notes=notes,
        name="drift",
        unit="share of ones",
    )
    done = loop.run()
    telemetry.round_trips(str(link.endpoint), done.rtt_ns)
    return done


def _program(payload: AnalogProgram | AnalogAnsatz | None, probes: ProbeSet) -> LoopProgram:
    # Setting 0 is the payload's; without one no shot of it is asked for.
    first = probes.texts[0] if payload is None else payload.to_json()
    names = ("rabi_rad_per_us", "detuning_rad_per_us")
    return LoopProgram((first, *probes.texts), probes.n_atoms, names=names)


def _probes_beside(
    payload: AnalogProgram | AnalogAnsatz | None,
    probes: ProbeSet | None,
    device: object,
    settings: DriftSettings,
    *,
    has_correction: bool,
) -> ProbeSet:
    """Give the probes that run beside a payload, or refuse those that cannot.

    Raises:
        OptionError: They have another number of atoms, or the correction belongs to no ansatz.
    """
    from cudaq_target.analog.ansatz import AnalogAnsatz  # noqa: PLC0415 - scipy

    if isinstance(payload, AnalogAnsatz) != has_correction:
        raise OptionError(
            "correct", "goes with an ansatz, and an ansatz with it", "Give both, or neither"
        )
    timeline = None
    if payload is not None:
        timeline = payload.base if isinstance(payload, AnalogAnsatz) else payload.timeline
    if probes is None:
        n_atoms = 4 if timeline is None else timeline.n_atoms
        return probe_set(n_atoms, device, with_detuning=settings.detuning_per_min > 0.0)
    if timeline is not None and timeline.n_atoms != probes.n_atoms:
        raise OptionError(
            f"a payload of {timeline.n_atoms} atoms",
            f"the probes have {probes.n_atoms}",
            f"Give probe_set({timeline.n_atoms}, ...)",
        )
    return probes


def read_payload(path: Path) -> AnalogProgram:
    """Read an analog program from a file of any kind that a controller loads.

    Raises:
        OptionError: The file cannot be read, or holds no program, one of gates, or parameters.
        TargetError: The program breaks a limit of the device.
    """
    from cudaq_target.analog.program import AnalogProgram  # noqa: PLC0415
    from cudaq_target.controller import texts  # noqa: PLC0415 - reads gate programs, too

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"payload {str(path)!r}", f"the file cannot be read ({error})", "Give a program file"
        ) from error
    family = texts.read(text, gate_device=None, analog_device=None)
    program = family.bind(np.zeros(0)) if family.n_parameters == 0 else None
    if not isinstance(program, AnalogProgram):
        raise OptionError(
            f"payload {str(path)!r}", "no analog program without parameters", "Give one"
        )
    return program


def replay_drift(
    record: Path | str,
    payload: AnalogProgram | AnalogAnsatz | None = None,
    *,
    n_shots: int = 1500,
    settings: DriftSettings | None = None,
    probes: ProbeSet | None = None,
    device: object = DEFAULT_ANALOG_DEVICE,
    correct: Correct | None = None,
) -> DriftResult:
    """Repeat a recorded tracking without a machine; the same shots lead to the same decisions.

    Args:
        record: Written by `track_drift`; it holds the calibration as well.
        payload: As for `track_drift`, as is all that follows; it does not run.
        n_shots: As for `track_drift`.
        settings: As for `track_drift`.
        probes: As for `track_drift`.
        device: As for `track_drift`.
        correct: As for `track_drift`.

    Raises:
        OptionError: The arguments do not fit together.
        CouplerError: The record is damaged, or the loop decides otherwise than recorded.
    """
    chosen = settings or DriftSettings()
    probes = _probes_beside(payload, probes, device, chosen, has_correction=correct is not None)
    notes = LoopRecord(record).notes
    try:
        start = CalibrationResult(**notes["calibration"])
        shots_per_s, machine = notes["shots_per_s"], dict(notes["machine"])
    except (KeyError, TypeError) as error:
        raise LoopRecordError(str(record), "it holds no calibration of `loop drift`") from error
    policy = _policy(start, probes, chosen, shots_per_s, n_shots)
    if payload is not None:
        policy.payload_point = _point(correct, probes)
    done = replay_loop(record, BitShare(len(probes.texts) + 1, probes.n_atoms), policy)
    assert isinstance(done.result, Track)
    return DriftResult(done.result, start, probes.rabi_rad_per_us, shots_per_s, done, machine)


def _link(
    stack: ExitStack, endpoint: str | Link | None, emulated: DriftingMachine | None, seed: int
) -> Link:
    if endpoint is not None:
        if emulated is not None:
            raise OptionError("emulated", "there is an endpoint", "Give one of the two")
        if isinstance(endpoint, str):
            return stack.enter_context(connect(endpoint, timeout_s=_CONNECT_S))
        return endpoint
    if emulated is None:
        from cudaq_target.controller.drifting import DriftingMachine, DriftLaw  # noqa: PLC0415

        emulated = DriftingMachine(DriftLaw(0.01, 0.05), seed=seed)
    folder = stack.enter_context(run_folder())
    server = stack.enter_context(serve(emulated, f"ipc://{folder}/controller"))
    return stack.enter_context(connect(server.endpoint, timeout_s=_CONNECT_S))


def _specs(link: Link) -> dict[str, Any]:
    content = json.loads(ControlClient(link.caller(_CALL_S), slot_bytes=link.slot_bytes).specs())
    return content if isinstance(content, dict) else {}


def _calibrated(
    link: Link,
    program: LoopProgram,
    probes: ProbeSet,
    settings: DriftSettings,
    shots_per_s: float | None,
    seed: int,
) -> CalibrationResult:
    """Find both parameters from anywhere within their ranges."""
    nominal = probes.rabi_rad_per_us
    rabi = nominal * (1.0 + settings.rabi_range * np.linspace(-1.0, 1.0, 161))
    follows_detuning = settings.detuning_per_min > 0.0
    detuning = settings.detuning_range * np.linspace(-1.0, 1.0, 41) if follows_detuning else [0.0]
    policy = Calibrate(
        GridPosterior.uniform(rabi=rabi, detuning=detuning),
        probes.experiments,
        probes.n_atoms,
        rabi_error=1.1 * settings.rabi_error,
        detuning_error=1.1 * settings.detuning_error,
        max_shots=settings.calibration_shots,
        errors=settings.errors,
        cadence_hz=shots_per_s or 1.0,
        first_setting=1,
    )
    estimator = BitShare(program.n_settings, probes.n_atoms)
    done = FeedbackLoop(link, program, estimator, policy, seed=seed, name="calibration").run()
    assert isinstance(done.result, CalibrationResult)
    return done.result


def _policy(
    start: CalibrationResult,
    probes: ProbeSet,
    settings: DriftSettings,
    shots_per_s: float | None,
    n_shots: int,
) -> FollowDrift:
    tracker = Tracker.start(
        (start.rabi_rad_per_us, start.rabi_std),
        (start.detuning_rad_per_us, start.detuning_std),
        settings.drift(probes.rabi_rad_per_us),
        settings.errors,
    )
    return FollowDrift(
        tracker,
        probes.experiments,
        probes.n_atoms,
        n_shots,
        settings.rabi_error,
        settings.detuning_error,
        cadence_hz=shots_per_s,
        payload_block=settings.payload_block,
        relock_rabi=2.0 * settings.rabi_range,
        relock_detuning=2.0 * settings.detuning_range,
    )


def _point(correct: Correct | None, probes: ProbeSet) -> Point | Callable[[float, float], Point]:
    if correct is None:
        return ()
    nominal = probes.rabi_rad_per_us

    def corrected(rabi: float, detuning: float) -> Point:
        return tuple(map(float, correct(rabi / nominal, detuning)))

    return corrected
