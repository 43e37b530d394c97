"""An analog program for one device: every stage kept, nothing run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.admission import CYCLE_S, Admission, admission
from cudaq_target.analog.layout import LAYOUT_TOLERANCE_UM
from cudaq_target.analog.lower import lower
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE, analog_rules
from cudaq_target.analog.sequence import from_sequence, modulated, to_sequence
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pulser
    from matplotlib.figure import Figure
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.analog.model import AnalogSpec
    from cudaq_target.analog.rules import AnalogRules
    from cudaq_target.analog.timeline import AnalogTimeline


@dataclass(frozen=True, slots=True)
class AnalogStats:
    """Key figures of an analog program.

    Attributes:
        n_atoms: Atoms of the register.
        n_traps: Traps of the layout, or None without one.
        duration_ns: Length of the sequence (ns).
        n_pulses: Pulses on the global channel.
        max_amplitude_rad_per_us: Largest Rabi frequency (rad/µs).
        min_detuning_rad_per_us: Lowest global detuning (rad/µs).
        max_detuning_rad_per_us: Highest global detuning (rad/µs).
        nearest_um: Smallest distance of two atoms (µm); inf for one atom.
        max_interaction_rad_per_us: Interaction of the nearest pair (rad/µs); 0 for one atom.
        blockade_radius_um: At the largest Rabi frequency (µm); inf without drive.
    """

    n_atoms: int
    n_traps: int | None
    duration_ns: int
    n_pulses: int
    max_amplitude_rad_per_us: float
    min_detuning_rad_per_us: float
    max_detuning_rad_per_us: float
    nearest_um: float
    max_interaction_rad_per_us: float
    blockade_radius_um: float


@dataclass(frozen=True, eq=False)
class AnalogProgram:
    """Waveforms and sites lowered to pulses for one device, with the interface of `Program`.

    Attributes:
        timeline: What the device plays.
        binder: Makes the program for new arguments, or None where it has none.
        given: The Pulser sequence that this program was read from, or None.
    """

    timeline: AnalogTimeline
    binder: Callable[..., AnalogProgram] | None = field(default=None, repr=False)
    given: pulser.Sequence | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return (
            f"<AnalogProgram: {self.kernel} on {self.rules.name}, {self.timeline.n_atoms} atoms, "
            f"{self.timeline.duration_ns / 1e3:.3f} µs>"
        )

    @property
    def kernel(self) -> str:
        """Name of the program."""
        return self.spec.name

    @property
    def spec(self) -> AnalogSpec:
        """What was asked for."""
        return self.timeline.spec

    @property
    def rules(self) -> AnalogRules:
        """The device this program is for."""
        return self.timeline.device

    @cached_property
    def sequence(self) -> pulser.Sequence:
        """The program as a `pulser.Sequence`, built on first use."""
        return to_sequence(self.timeline) if self.given is None else self.given

    @cached_property
    def modulated(self) -> AnalogTimeline:
        """What the atoms see; the timeline itself on a device without modulation."""
        return modulated(self.timeline, self.given)

    @cached_property
    def stats(self) -> AnalogStats:
        """Key figures."""
        return _stats(self.timeline)

    def bind(self, *args: object) -> AnalogProgram:
        """Apply new arguments: those of the ansatz, or of the function that made the program.

        Args:
            args: One array of the ansatz's free points (rad/µs), or the arguments of `compile`.

        Returns:
            Another program; this one stays as it is.

        Raises:
            OptionError: The program has no parameters.
        """
        if self.binder is None:
            raise OptionError(
                "AnalogProgram.bind",
                "this program has no parameters",
                "Make a parametrised one: cudaq_target.analog.ansatz.AnalogAnsatz",
            )
        return self.binder(*args)

    def draw(self, path: str | Path | None = None) -> Figure:
        """Draw the register with its blockade radius, and the pulses over time.

        Args:
            path: File to write as well (png, pdf, svg), or None.

        Returns:
            The matplotlib figure.
        """
        from cudaq_target.analog.draw import draw_analog  # noqa: PLC0415

        return draw_analog(self.timeline, path, modulated=self.modulated)

    def report(self) -> str:
        """Describe the program in a few lines of text."""
        from cudaq_target.analog.report import analog_report  # noqa: PLC0415

        return analog_report(self)

    def estimate(self, n_shots: int, cycle_s: float = CYCLE_S) -> Admission:
        """Say what the program needs of a machine, for whoever admits it.

        Args:
            n_shots: Number of shots.
            cycle_s: Time of one shot beside its pulses (s): loading, sorting and imaging atoms.
        """
        stats = self.stats
        return admission(stats.n_atoms, stats.n_atoms, n_shots, stats.duration_ns, cycle_s)

    def to_json(self) -> str:
        """Serialise, with Pulser's abstract representation of the sequence inside."""
        from cudaq_target.analog.program_json import dumps  # noqa: PLC0415

        return dumps(self)

    @staticmethod
    def from_json(text: str) -> AnalogProgram:
        """Read what `to_json` wrote.

        Raises:
            OptionError: The text is not such a program, or of an unknown version.
        """
        from cudaq_target.analog.program_json import loads  # noqa: PLC0415

        return loads(text)


def build(
    spec: AnalogSpec,
    device: object = DEFAULT_ANALOG_DEVICE,
    *,
    traps: RegisterLayout | None = None,
    layout_tolerance_um: float = LAYOUT_TOLERANCE_UM,
    eom: bool = False,
) -> AnalogProgram:
    """Lower an analog program for a device.

    Args:
        spec: What is asked for.
        device: Name of a bundled Pulser device, path of a device file, a `pulser` device object,
            or rules that were read before.
        traps: A `pulser` layout to place the atoms on, or None to choose where one is needed.
        layout_tolerance_um: How far a trap may be from the place of an atom (µm).
        eom: Play square pulses in the mode of the electro-optic modulator.

    Returns:
        The program.

    Raises:
        TargetError: Of the kind that names the broken limit.

    >>> from cudaq_target.analog.model import AnalogSpec, Waveform
    >>> ramp = Waveform([0, 250, 750, 1000], [0, 9, 9, 0])
    >>> build(AnalogSpec.of([(0, 0), (7, 0)], ramp, name="blockade"))
    <AnalogProgram: blockade on AnalogDevice, 2 atoms, 1.000 µs>
    """
    rules = analog_rules(device)
    return AnalogProgram(
        lower(spec, rules, traps=traps, layout_tolerance_um=layout_tolerance_um, eom=eom)
    )


def read_sequence(sequence: pulser.Sequence, name: str = "sequence") -> AnalogProgram:
    """Make a program of a sequence of Pulser's, which stays the program's sequence.

    Raises:
        OptionError: The sequence has parameters, or other channels than analog programs.
    """
    return AnalogProgram(from_sequence(sequence, name), given=sequence)


def from_abstract_repr(text: str, name: str = "sequence") -> AnalogProgram:
    """Read a sequence in Pulser's abstract representation.

    Args:
        text: JSON, as `pulser.Sequence.to_abstract_repr` writes it.
        name: What to call the program.

    Raises:
        OptionError: Pulser cannot read it, or it is no analog program without parameters.
    """
    import pulser  # noqa: PLC0415

    try:
        sequence = pulser.Sequence.from_abstract_repr(text)
    except Exception as error:  # whatever Pulser's schema and constructors raise
        raise OptionError(
            f"program {name!r}",
            f"Pulser cannot read it ({type(error).__name__})",
            "Give a text written by Sequence.to_abstract_repr()",
        ) from error
    return read_sequence(sequence, name)


def _stats(timeline: AnalogTimeline) -> AnalogStats:
    from scipy.spatial import cKDTree  # noqa: PLC0415

    rules, atoms = timeline.device, timeline.atoms_um
    nearest_um = math.inf
    if len(atoms) > 1:
        nearest_um = float(cKDTree(atoms).query(atoms, k=2)[0][:, 1].min())
    peak = float(timeline.amplitude.max())
    return AnalogStats(
        n_atoms=len(atoms),
        n_traps=None if timeline.traps is None else int(timeline.traps.number_of_traps),
        duration_ns=timeline.duration_ns,
        n_pulses=sum(span.phase_rad is not None for span in timeline.spans),
        max_amplitude_rad_per_us=peak,
        min_detuning_rad_per_us=float(np.min(timeline.detuning)),
        max_detuning_rad_per_us=float(np.max(timeline.detuning)),
        nearest_um=nearest_um,
        max_interaction_rad_per_us=rules.c6_rad_per_us_um6 / nearest_um**6,
        blockade_radius_um=rules.blockade_radius_um(peak) if peak > 0.0 else math.inf,
    )
