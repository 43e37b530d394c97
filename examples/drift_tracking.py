"""A machine drifts; its Rabi frequency stays known, and a program on it stays right.

Run it: `python examples/drift_tracking.py [shots] [picture.png]`. The emulated machine drifts by
1 % per minute at 5 shots per second. The program returns four atoms to their ground state after
eight half turns, so that a wrong Rabi frequency shows at once. It runs twice: with pulses that
follow the drift, which costs a probe shot now and then, and with those of the first minute.
"""

from __future__ import annotations

import sys
from math import pi
from pathlib import Path

import numpy as np

from cudaq_target.analog.ansatz import AnalogAnsatz, Shape, analog_ansatz
from cudaq_target.controller.drifting import DriftingMachine, DriftLaw
from cudaq_target.loops.drift import DriftResult, DriftSettings, track_drift

LAW = DriftLaw(rabi_per_min=0.01, detuning_per_min=0.03)
SITES = [(20, 20), (-20, 20), (20, -20), (-20, -20)]  # µm: far apart
DURATION_NS = 2140
AMPLITUDE = 8 * pi / (1e-3 * DURATION_NS)  # rad/µs


def returning() -> AnalogAnsatz:
    """Four times 2 pi, with amplitude and detuning as parameters."""
    level = Shape(2, "linear")
    return analog_ansatz(SITES, DURATION_NS, level, level, name="return")


def followed(n_shots: int) -> tuple[DriftResult, float]:
    """Run the program with what is known of the drift; the track, and the share of wrong atoms."""
    excited: list[float] = []

    def correct(rabi_scale: float, detuning: float) -> tuple[float, ...]:
        amplitude = AMPLITUDE / rabi_scale
        return amplitude, amplitude, -detuning, -detuning

    result = track_drift(
        returning(),
        emulated=DriftingMachine(LAW, seed=1),
        n_shots=n_shots,
        settings=DriftSettings(detuning_per_min=0.03),
        correct=correct,
        on_payload=lambda rows: excited.extend(np.bitwise_count(rows[:, 0]) / len(SITES)),
    )
    return result, float(np.mean(excited))


def left_alone(n_shots: int) -> float:
    """Run the program as it was written; the share of wrong atoms."""
    machine = DriftingMachine(LAW, seed=2)
    parameters = np.array([AMPLITUDE, AMPLITUDE, 0.0, 0.0])
    run = machine.begin(machine.load(returning().to_json()), parameters, n_shots, 1)
    n_ones = 0
    while machine.n_measured < n_shots:
        n_ones += int(np.bitwise_count(run.measure(n_shots - machine.n_measured)).sum())
    return n_ones / (n_shots * len(SITES))


def draw(result: DriftResult, path: Path) -> None:
    """Draw what was known, with its error, and what was true."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - needs the extra `draw`

    track = result.track
    start_s = result.calibration.n_shots / (result.shots_per_s or 5.0)
    truth = LAW.at(track.times_s + start_s)
    figure, axes = plt.subplots(2, sharex=True, figsize=(7, 5), layout="constrained")
    known = (100 * (result.rabi_scale - 1), result.detuning)
    spread = 2 * track.standard_deviations * [100 / result.nominal_rabi, 1.0]
    labels = ("Rabi frequency off nominal (%)", "detuning (rad/µs)")
    exact = (100 * (truth[0] - 1), truth[1])
    for k, axis in enumerate(axes):
        minutes = track.times_s / 60
        low, high = known[k] - spread[:, k], known[k] + spread[:, k]
        axis.fill_between(minutes, low, high, alpha=0.3, label="known, ± 2 standard deviations")
        axis.plot(minutes, exact[k], "k--", linewidth=1, label="true")
        axis.set_ylabel(labels[k])
        axis.grid(alpha=0.3)
    axes[0].legend(loc="upper left")
    axes[1].set_xlabel("time at 5 shots per second (min)")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(n_shots: int = 1500, picture: Path | None = None) -> tuple[float, float, float]:
    """Print what following costs and brings; error of the Rabi frequency, wrong atoms of both."""
    result, with_feedback = followed(n_shots)
    without = left_alone(n_shots)
    error = float(np.sqrt(np.mean(result.errors_against(LAW)[0] ** 2)))
    print(result.text())
    print(f"the Rabi frequency was known to {error:.2%} (rms)")
    print(f"wrong atoms: {with_feedback:.1%} with the drift followed, {without:.1%} without")
    if picture is not None:
        draw(result, picture)
    return error, with_feedback, without


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *map(Path, sys.argv[2:3]))
