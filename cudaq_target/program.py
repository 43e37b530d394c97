"""A compiled program: every stage kept, nothing run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from cudaq_target import pulse_cache
from cudaq_target.admission import CYCLE_S, Admission, admission
from cudaq_target.compiler import Plans, lower
from cudaq_target.device import resolve
from cudaq_target.errors import OptionError
from cudaq_target.native_ops import CCZ, CPhase
from cudaq_target.sites import read_sites

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pulser
    from matplotlib.figure import Figure

    from cudaq_target.circuit import Circuit
    from cudaq_target.compiler import Lowered
    from cudaq_target.device import DeviceRules
    from cudaq_target.sites import Sites
    from cudaq_target.timeline import PulseProgram


@dataclass(frozen=True, slots=True)
class Stats:
    """Key figures of a program.

    Attributes:
        n_qubits: Qubits of the kernel.
        n_atoms: Atoms of the register.
        n_entangling: Entangling pulse blocks (CPhase or CCZ), those of SWAPs included.
        n_swaps: SWAPs that routing inserted.
        n_raman_pulses: One-qubit pulses.
        duration_ns: Length of the sequence, padding included (ns).
        predicted_infidelity: 1 - (product of the entangling gates' process fidelities) for 10 %
            spread of the pair interaction and 1 % spread of the Rabi frequency; without spread the
            gates are exact.
    """

    n_qubits: int
    n_atoms: int
    n_entangling: int
    n_swaps: int
    n_raman_pulses: int
    duration_ns: int
    predicted_infidelity: float


@dataclass(frozen=True, eq=False)
class Program:
    """A kernel lowered to pulses for one device.

    Attributes:
        circuit: What the user wrote, flat.
        lowered: The stages behind the pulses, or None for a program read from JSON.
        timeline: The pulse program.
        stats: Key figures.
        layout: Sites given by the user, or None.
        route: "swap" or "direct".
        cache_dir: Where solved pulses are kept, or None for the default place.
        plans: What `bind` re-uses.
        trace: Applies new arguments to the kernel, or None where there is no kernel.
    """

    circuit: Circuit
    timeline: PulseProgram
    stats: Stats
    lowered: Lowered | None = None
    layout: Sites | None = None
    route: str = "swap"
    cache_dir: str | None = None
    plans: Plans = field(default_factory=Plans, repr=False)
    trace: Callable[..., Circuit] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        stats = self.stats
        return (
            f"<Program: {self.kernel} on {self.rules.name}, {stats.n_qubits} qubits, "
            f"{stats.n_entangling} entangling gates, {stats.duration_ns / 1e3:.3f} µs>"
        )

    @property
    def kernel(self) -> str:
        """Name of the kernel."""
        return self.circuit.kernel

    @property
    def rules(self) -> DeviceRules:
        """The device this program is for."""
        return self.timeline.device

    @cached_property
    def sequence(self) -> pulser.Sequence:
        """The program as a `pulser.Sequence`, built on first use."""
        from cudaq_target.sequence import to_sequence  # noqa: PLC0415

        return to_sequence(self.timeline)

    def bind(self, *args: object) -> Program:
        """Apply new arguments to the kernel, keeping sites, SWAPs and order of pulses.

        Where the new arguments change the structure of the circuit (another number of gates), or
        would make a much longer or more sensitive program than these sites were chosen for, the
        program is lowered anew.

        Args:
            *args: Arguments of the kernel.

        Returns:
            A new program.

        Raises:
            OptionError: This program was read from a file and has no kernel.
        """
        if self.trace is None:
            raise OptionError(
                "Program.bind",
                "this program was read from JSON, which holds pulses and not the kernel",
                "Compile the kernel again: cudaq_target.compile(kernel, *args).",
            )
        fresh = compile_circuit(
            self.trace(*args),
            self.rules,
            layout=self.layout,
            route=self.route,
            cache_dir=self.cache_dir,
            plans=self.plans,
        )
        return replace(fresh, trace=self.trace)

    def draw(self, path: str | Path | None = None) -> Figure:
        """Draw register and pulse timeline.

        Args:
            path: File to write as well (png, pdf, svg), or None.

        Returns:
            The matplotlib figure.
        """
        from cudaq_target.draw import draw_program  # noqa: PLC0415

        return draw_program(self, path)

    def report(self) -> str:
        """Describe the program in a few lines of text."""
        from cudaq_target.report import program_report  # noqa: PLC0415

        return program_report(self)

    def estimate(self, n_shots: int, cycle_s: float = CYCLE_S) -> Admission:
        """Say what the program needs of a machine, for whoever admits it.

        Args:
            n_shots: Number of shots.
            cycle_s: Time of one shot beside its pulses (s): loading, sorting and imaging atoms.
        """
        stats = self.stats
        return admission(stats.n_qubits, stats.n_atoms, n_shots, stats.duration_ns, cycle_s)

    def to_json(self) -> str:
        """Serialise, with Pulser's abstract representation of the sequence inside."""
        from cudaq_target.program_json import dumps  # noqa: PLC0415

        return dumps(self)

    @staticmethod
    def from_json(text: str) -> Program:
        """Read what `to_json` wrote.

        Raises:
            OptionError: The text is not such a program, or of an unknown version.
        """
        from cudaq_target.program_json import loads  # noqa: PLC0415

        return loads(text)


def compile_circuit(
    circuit: Circuit,
    rules: DeviceRules | None = None,
    *,
    layout: object = None,
    route: str = "swap",
    cache_dir: str | None = None,
    plans: Plans | None = None,
) -> Program:
    """Lower a circuit for a device.

    Args:
        circuit: Gates and terminal measurements.
        rules: The device; `DigitalAnalogDevice` when None.
        layout: Sites in any form that `sites.read_sites` reads, or None to choose them.
        route: "swap" or "direct".
        cache_dir: Where solved pulses are kept; None for the default place, "off" for none.
        plans: Plans to re-use and to add to, all made with these same settings.

    Returns:
        The program.

    Raises:
        TargetError: Of the kind that names the broken limit.
    """
    plans = plans or Plans()
    sites = None if layout is None else read_sites(layout)
    with pulse_cache.located(cache_dir):
        lowered = lower(circuit, rules or resolve(), sites, route, plans)
    return Program(
        circuit=circuit,
        timeline=lowered.timeline,
        stats=_stats(circuit, lowered),
        lowered=lowered,
        layout=sites,
        route=route,
        cache_dir=cache_dir,
        plans=plans,
    )


def _stats(circuit: Circuit, lowered: Lowered) -> Stats:
    return Stats(
        n_qubits=circuit.n_qubits,
        n_atoms=len(lowered.timeline.coordinates_um),
        n_entangling=sum(isinstance(op, CPhase | CCZ) for op in lowered.native.ops),
        n_swaps=len(lowered.plan.swaps),
        n_raman_pulses=sum(slot.beam == "raman" for slot in lowered.timeline.slots),
        duration_ns=lowered.timeline.duration_ns,
        predicted_infidelity=lowered.predicted_infidelity,
    )
