"""Checks of samples against the limits of a device; each error gives the nearest valid value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import AnalogLimitError
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.analog.rules import AnalogRules, LocalRules
    from cudaq_target.analog.timeline import LocalSamples, PulseSpan

# Values come from rad/s, and limits from MHz times 2π: both round.
_ROUNDING = 1e-9


def played_duration_ns(rules: AnalogRules, wanted_ns: float) -> int:
    """Round a duration up to what the device plays.

    Raises:
        AnalogLimitError: The sequence is longer than the device allows.
    """
    clock_ns = rules.clock_ns
    shortest_ns = max(
        rules.drive.min_duration_ns, rules.local.min_duration_ns if rules.local else 1
    )
    # Times come from seconds as floats, which must not cost a clock period.
    wanted = max(round(wanted_ns, 6), float(shortest_ns))
    duration_ns = math.ceil(wanted / clock_ns) * clock_ns
    limits = [rules.max_sequence_ns, rules.drive.max_duration_ns]
    longest_ns = min((limit for limit in limits if limit is not None), default=None)
    if longest_ns is not None and duration_ns > longest_ns:
        nearest_ns = longest_ns // clock_ns * clock_ns
        raise AnalogLimitError(
            subject=f"waveforms of {wanted_ns:g} ns",
            limit=f"sequences of at most {longest_ns} ns",
            device=rules.name,
            remedy=f"Use {nearest_ns} ns or less",
            time_ns=float(longest_ns),
            value=wanted_ns,
            nearest=float(nearest_ns),
        )
    return duration_ns


def checked_amplitude(rules: AnalogRules, samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return amplitude samples within the limits, rounding of the last digits taken off.

    Raises:
        AnalogLimitError: A sample is above the largest amplitude.
    """
    limit = rules.drive.max_amplitude_rad_per_us
    _check_above(rules, samples, limit, "amplitude")
    return np.asarray(np.minimum(samples, limit))


def checked_detuning(
    rules: AnalogRules, samples: NDArray[np.float64], hint: str = ""
) -> NDArray[np.float64]:
    """Return detuning samples within the limits, rounding of the last digits taken off.

    Raises:
        AnalogLimitError: The absolute value of a sample is above the largest detuning.
    """
    limit = rules.drive.max_detuning_rad_per_us
    _check_above(rules, np.abs(samples), limit, "absolute detuning", hint)
    return np.asarray(np.clip(samples, -limit, limit))


def check_average(
    rules: AnalogRules, amplitude: NDArray[np.float64], spans: tuple[PulseSpan, ...]
) -> None:
    """Refuse a pulse whose mean amplitude is too small to be controlled.

    Raises:
        AnalogLimitError: The mean of a pulse is neither zero nor large enough.
    """
    lowest = rules.drive.min_average_amplitude_rad_per_us
    for span in spans:
        if span.phase_rad is None:
            continue
        average = float(np.average(amplitude[span.start_ns : span.end_ns]))
        if 0.0 < average < lowest:
            raise AnalogLimitError(
                subject=(
                    f"pulse from {span.start_ns} to {span.end_ns} ns with a mean amplitude of "
                    f"{_rate(average)}"
                ),
                limit=f"pulses with a mean of 0, or of at least {_rate(lowest)}",
                device=rules.name,
                remedy=(
                    f"Multiply the amplitude by {_rounded_up(lowest / average):g} or more, or "
                    "shorten the time without drive"
                ),
                time_ns=float(span.start_ns),
                value=average,
                nearest=lowest,
            )


def check_local(rules: AnalogRules, limits: LocalRules, local: LocalSamples) -> None:
    """Refuse a local detuning that the modulator cannot make.

    Raises:
        AnalogLimitError: It is too low on one atom or in total, or too weak in the mean.
    """
    time_ns = int(np.argmin(local.samples))
    deepest = float(local.samples[time_ns])
    atom = int(np.argmax(local.weights))
    for value, bottom, factor, subject in (
        (
            deepest * local.weights[atom], limits.bottom_rad_per_us, local.weights[atom],
            f"local detuning of atom {atom}",
        ),
        (
            deepest * local.weights.sum(), limits.total_bottom_rad_per_us, local.weights.sum(),
            "local detuning summed over all atoms",
        ),
    ):  # fmt: skip
        if value < bottom * (1.0 + _ROUNDING):
            raise AnalogLimitError(
                subject=f"{subject} at {time_ns} ns, {_rate(float(value))}",
                limit=f"at least {_rate(bottom)}",
                device=rules.name,
                remedy=f"Keep the waveform at {_rate(float(bottom / factor))} or above",
                time_ns=float(time_ns),
                atoms=(atom,),
                value=float(value),
                nearest=float(bottom),
            )
    weighted = local.weights[local.weights > 0.0]
    mean = float(np.average(np.abs(local.samples))) * float(weighted.min(initial=1.0))
    if weighted.size and 0.0 < mean < limits.min_average_rad_per_us:
        raise AnalogLimitError(
            subject=f"local detuning with a mean of {_rate(mean)} on the atom of least weight",
            limit=f"means of 0, or of at least {_rate(limits.min_average_rad_per_us)}",
            device=rules.name,
            remedy=f"Multiply it by {_rounded_up(limits.min_average_rad_per_us / mean):g} or more",
            atoms=(int(np.argmin(np.where(local.weights > 0.0, local.weights, np.inf))),),
            value=mean,
            nearest=limits.min_average_rad_per_us,
        )


def _check_above(
    rules: AnalogRules, samples: NDArray[np.float64], limit: float, what: str, hint: str = ""
) -> None:
    time_ns = int(np.argmax(samples))
    value = float(samples[time_ns])
    if value <= limit * (1.0 + _ROUNDING):
        return
    since_ns = int(np.argmax(samples > limit * (1.0 + _ROUNDING)))
    raise AnalogLimitError(
        subject=f"{what} of {_rate(value)} at {time_ns} ns (too large from {since_ns} ns on){hint}",
        limit=f"at most {_rate(limit)}",
        device=rules.name,
        remedy=f"Nearest valid value: {limit:.9g} rad/µs",
        time_ns=float(time_ns),
        value=value,
        nearest=limit,
    )


def _rate(rad_per_us: float) -> str:
    return f"{rad_per_us:.6g} rad/µs ({rad_per_us / TWO_PI:.4g} MHz)"


def _rounded_up(factor: float) -> float:
    """Round up to four digits, so that what the message says is enough."""
    scale = 10.0 ** (3 - math.floor(math.log10(factor)))
    return math.ceil(factor * scale) / scale
