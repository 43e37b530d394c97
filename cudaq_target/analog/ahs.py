"""Analog programs in the AHS schema, which CUDA-Q sends to neutral-atom machines, read and written.

The schema uses SI units and decimal strings. Its drive is Ω/2 (e^{iφ}|g><r| + e^{-iφ}|r><g|): the
phase counts the other way than in Pulser and in `analog.model`, so its sign changes here. Detuning
and interaction have the same signs. Amplitude and detuning are straight lines between their points,
a phase holds until its next point. (Schema: Amazon Braket, `braket.ir.ahs.program_v1`.)
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation, Overflow
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.errors import OptionError, WaveformError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cudaq_target.analog.model import Kind

# φ of the model over φ of the schema.
PHASE_SIGN = -1.0
# What CUDA-Q 0.16 writes: times in steps of 10 ns, positions in steps of 10 nm.
CUDAQ_DECIMALS = 8

_REMEDY = "Give an AHS program as CUDA-Q writes it (setup.ahs_register, hamiltonian.drivingFields)"
# Powers of ten from SI: s to ns, m to µm, rad/s to rad/µs.
_TIME, _LENGTH, _RATE, _ANGLE = 9, 6, -6, 0

_Object = dict[str, Any]


def spec_from_si(
    sites_m: ArrayLike,
    times_s: ArrayLike,
    amplitude_rad_per_s: ArrayLike,
    detuning_rad_per_s: ArrayLike,
    phase_rad: ArrayLike,
    *,
    filling: ArrayLike | None = None,
    phase_kind: Kind = "step",
    name: str = "evolve",
) -> AnalogSpec:
    """Make a specification from values in SI units on common times, with the schema's phase sign.

    Args:
        sites_m: Positions (m), shape (n_sites, 2).
        times_s: Times (s), shape (k,).
        amplitude_rad_per_s: Rabi frequency at each time (rad/s), shape (k,).
        detuning_rad_per_s: Global detuning at each time (rad/s), shape (k,).
        phase_rad: Phase at each time (rad), shape (k,).
        filling: Which sites hold an atom, shape (n_sites,); None for all.
        phase_kind: "step", as in the schema, or "linear" for a phase that varies smoothly.
        name: What to call the program.

    Returns:
        The specification.

    Raises:
        RegisterError: The positions are no register.
        WaveformError: The values are no functions of time.
    """
    times_ns = _scaled(times_s, 10.0**_TIME, "times")
    rate = 10.0**_RATE
    phase = _scaled(phase_rad, PHASE_SIGN, "phase")
    return AnalogSpec.of(
        np.asarray(sites_m, dtype=np.float64) * 10.0**_LENGTH,
        Waveform(times_ns, _scaled(amplitude_rad_per_s, rate, "amplitude"), name="amplitude"),
        Waveform(times_ns, _scaled(detuning_rad_per_s, rate, "detuning"), name="detuning"),
        Waveform(times_ns, phase, phase_kind, name="phase"),
        filling=filling,
        name=name,
    )


def loads(text: str, name: str = "ahs") -> AnalogSpec:
    """Read an AHS program.

    Args:
        text: JSON; numbers may be strings of any precision.
        name: What to call the program.

    Returns:
        The specification, exact to the last digit that was written.

    Raises:
        OptionError: The text is no AHS program, or one with several drives or drives per atom.
        RegisterError: The positions are no register.
        WaveformError: A time series is no function of time.
    """
    try:
        # Decimal digits as they were written: a float in between would round times in seconds.
        content: _Object = json.loads(text, parse_float=str)
        register = content["setup"]["ahs_register"]
        hamiltonian = content["hamiltonian"]
        sites = [[_number(x, _LENGTH, "site") for x in site] for site in register["sites"]]
        filling = register.get("filling") or [1] * len(sites)
        drive = _only(hamiltonian["drivingFields"], "driving field")
        amplitude = _series(drive["amplitude"], _RATE, "amplitude")
        duration_ns = amplitude.duration_ns
        phase = drive.get("phase")
        detuning = drive.get("detuning")
        shifts = hamiltonian.get("localDetuning") or []
        return AnalogSpec.of(
            sites,
            amplitude,
            0.0 if detuning is None else _series(detuning, _RATE, "detuning"),
            Waveform.constant(duration_ns, 0.0, "phase") if phase is None else _phase(phase),
            filling=filling,
            local=_local(_only(shifts, "local detuning"), filling) if shifts else None,
            name=name,
        )
    except (KeyError, TypeError, IndexError, AttributeError, json.JSONDecodeError) as error:
        raise OptionError(
            "AHS program", f"not readable ({type(error).__name__}: {error})", _REMEDY
        ) from error


def dumps(spec: AnalogSpec, *, decimals: int | None = None, ramp_ns: float | None = None) -> str:
    """Write an AHS program.

    Args:
        spec: The specification.
        decimals: Digits after the point, in SI units: None for all of them, `CUDAQ_DECIMALS` for
            what CUDA-Q writes.
        ramp_ns: Write a step of the amplitude or of a detuning, which the schema does not know, as
            a straight line of this length (ns) around it; None refuses steps.

    Returns:
        JSON with the keys that CUDA-Q writes.

    Raises:
        OptionError: The schema cannot hold the program, or times fall together when rounded.
    """
    if spec.phase.kind == "linear" and not spec.phase.is_constant:
        raise OptionError(
            "AHS program",
            "the phase varies smoothly, and phases of the schema are piecewise constant",
            'Give a phase of kind "step", or put -dφ/dt into the detuning',
        )
    drive = {
        "amplitude": _field("amplitude", spec.amplitude, _RATE, decimals, ramp_ns),
        "detuning": _field("detuning", spec.detuning, _RATE, decimals, ramp_ns),
        "phase": _field(
            "phase", spec.phase.scaled(PHASE_SIGN), _ANGLE, decimals, ramp_ns, holds=True
        ),
    }
    shifts: list[_Object] = []
    if spec.local is not None:
        weights = np.zeros(len(spec.filling))
        weights[spec.filling] = spec.local.weights
        field = _field("local detuning", spec.local.waveform, _RATE, decimals, ramp_ns)
        field["pattern"] = [_text(float(weight), 0, decimals) for weight in weights]
        shifts.append({"magnitude": field})
    return json.dumps(
        {
            "hamiltonian": {"drivingFields": [drive], "localDetuning": shifts},
            "setup": {
                "ahs_register": {
                    "filling": [int(filled) for filled in spec.filling],
                    "sites": [
                        [_text(float(x), _LENGTH, decimals) for x in site] for site in spec.sites_um
                    ],
                }
            },
        }
    )


def _phase(field: _Object) -> Waveform:
    phase = _series(field, _ANGLE, "phase", kind="step")
    return phase.scaled(PHASE_SIGN)


def _series(field: _Object, power: int, name: str, kind: Kind = "linear") -> Waveform:
    if field.get("pattern", "uniform") != "uniform":
        raise OptionError(
            "AHS program",
            f"the {name} has a pattern over the atoms",
            "Drives are the same for all atoms; use a local detuning",
        )
    return _points(field["time_series"], power, name, kind)


def _points(series: _Object, power: int, name: str, kind: Kind = "linear") -> Waveform:
    times = [_number(time, _TIME, f"time of the {name}") for time in series["times"]]
    return Waveform(times, [_number(v, power, name) for v in series["values"]], kind, name)


def _local(shift: _Object, filling: list[int]) -> LocalDetuning:
    magnitude = shift["magnitude"]
    pattern = magnitude.get("pattern", "uniform")
    weights = [1.0] * len(filling)
    if pattern != "uniform":
        weights = [_number(weight, 0, "local detuning") for weight in pattern]
    if len(weights) != len(filling):
        raise OptionError(
            "AHS program",
            f"the local detuning has {len(weights)} weights for {len(filling)} sites",
            "Give one weight per site, empty ones included",
        )
    kept = [weight for weight, filled in zip(weights, filling, strict=True) if filled]
    return LocalDetuning(_points(magnitude["time_series"], _RATE, "local detuning"), np.array(kept))


def _only(entries: list[_Object], what: str) -> _Object:
    if len(entries) != 1:
        raise OptionError(
            "AHS program", f"it has {len(entries)} {what}s", f"Give one {what}, the sum of all"
        )
    return entries[0]


def _number(value: object, power: int, name: str) -> float:
    """Read a decimal number and shift its point, without rounding in between."""
    try:
        return float(Decimal(str(value)).scaleb(power))
    except (InvalidOperation, Overflow) as error:
        raise OptionError("AHS program", f"{name}: {value!r} is no number", _REMEDY) from error


def _field(
    name: str,
    waveform: Waveform,
    power: int,
    decimals: int | None,
    ramp_ns: float | None,
    *,
    holds: bool = False,
) -> _Object:
    if waveform.kind == "step" and not holds:
        waveform = _ramped(name, waveform, ramp_ns)
    times = [_text(float(time), _TIME, decimals) for time in waveform.times_ns]
    for before, after, time_ns in zip(times, times[1:], waveform.times_ns[1:], strict=False):
        if before == after:
            raise OptionError(
                f"AHS program with {decimals} decimals",
                f"two times of the {name} at {time_ns:g} ns fall together",
                "Write more decimals, or keep points further apart",
            )
    values = [_text(float(value), power, decimals) for value in waveform.values]
    return {"pattern": "uniform", "time_series": {"times": times, "values": values}}


def _ramped(name: str, waveform: Waveform, ramp_ns: float | None) -> Waveform:
    """Replace steps by straight lines with the same area."""
    if waveform.is_constant:
        return Waveform.constant(waveform.duration_ns, float(waveform.values[0]), waveform.name)
    if ramp_ns is None:
        raise OptionError(
            "AHS program",
            f"the {name} has steps, and the schema knows straight lines only",
            "Say how long a step may take: dumps(spec, ramp_ns=1.0)",
        )
    inner, held = waveform.times_ns[1:-1], waveform.values[:-1]
    times = [0.0, *np.ravel([inner - 0.5 * ramp_ns, inner + 0.5 * ramp_ns], "F")]
    values = [held[0], *np.ravel([held[:-1], held[1:]], "F"), held[-1]]
    return Waveform([*times, waveform.duration_ns], values, "linear", waveform.name)


def _text(value: float, power: int, decimals: int | None) -> str:
    """Write a number of ours in SI units."""
    number = Decimal(repr(value)).scaleb(-power)
    return format(number, "f") if decimals is None else f"{number:.{decimals}f}"


def _scaled(values: ArrayLike, factor: float, name: str) -> ArrayLike:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise WaveformError(name, "values that are no real numbers", "Give real numbers")
    return array * factor
