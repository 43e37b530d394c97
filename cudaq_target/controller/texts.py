"""Texts that a controller loads: programs, and families of programs with parameters."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cudaq_target.analog.ansatz_json import FORMAT as ANSATZ_FORMAT
from cudaq_target.analog.program import AnalogProgram, build, from_abstract_repr
from cudaq_target.analog.program_json import FORMAT as ANALOG_FORMAT
from cudaq_target.compiler import Plans
from cudaq_target.errors import OptionError
from cudaq_target.program import Program
from cudaq_target.program_json import FORMAT as PROGRAM_FORMAT
from cudaq_target.template import FORMAT as TEMPLATE_FORMAT
from cudaq_target.template import CircuitTemplate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.analog.ansatz import AnalogAnsatz
    from cudaq_target.device import PulserDevice

    Reals = NDArray[np.float64]

_READS = (
    "Send what Program.to_json(), AnalogProgram.to_json(), CircuitTemplate.to_json() or "
    "AnalogAnsatz.to_json() wrote, a sequence in Pulser's abstract representation, or an AHS "
    "program as CUDA-Q writes it"
)


class Family(Protocol):
    """What a text says: programs, by the values of their parameters."""

    @property
    def kind(self) -> Literal["gate", "analog"]:
        """Whether it is made of gates."""

    @property
    def name(self) -> str:
        """What its user calls it."""

    @property
    def n_parameters(self) -> int:
        """Values that a run gives."""

    @property
    def n_bits(self) -> int:
        """Bits of a shot: qubits of a kernel, or atoms."""

    @property
    def device(self) -> PulserDevice | None:
        """The device that it is for; None where the machine's own is meant."""

    def bind(self, values: Reals) -> Program | AnalogProgram:
        """Make the program of some values.

        Args:
            values: Shape (n_parameters,), finite.

        Raises:
            TargetError: The device refuses the program.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A program without parameters."""

    program: Program | AnalogProgram

    n_parameters = 0

    @property
    def kind(self) -> Literal["gate", "analog"]:
        """See `Family.kind`."""
        return "analog" if isinstance(self.program, AnalogProgram) else "gate"

    @property
    def name(self) -> str:
        """See `Family.name`."""
        return self.program.kernel

    @property
    def n_bits(self) -> int:
        """See `Family.n_bits`."""
        if isinstance(self.program, AnalogProgram):
            return self.program.timeline.n_atoms
        return self.program.circuit.n_qubits

    @property
    def device(self) -> PulserDevice:
        """See `Family.device`."""
        return self.program.rules.pulser_device

    def bind(self, values: Reals) -> Program | AnalogProgram:  # noqa: ARG002 - there are none
        """See `Family.bind`."""
        return self.program


@dataclass(frozen=True, slots=True, eq=False)
class OfTemplate:
    """Gate kernels of one structure, lowered with the plans of the first."""

    template: CircuitTemplate
    own_device: PulserDevice | None
    cache_dir: str | None
    plans: Plans = field(default_factory=Plans)

    @property
    def kind(self) -> Literal["gate", "analog"]:
        """See `Family.kind`."""
        return "gate"

    @property
    def name(self) -> str:
        """See `Family.name`."""
        return self.template.structure.kernel

    @property
    def n_parameters(self) -> int:
        """See `Family.n_parameters`."""
        return self.template.n_parameters

    @property
    def n_bits(self) -> int:
        """See `Family.n_bits`."""
        return self.template.n_qubits

    @property
    def device(self) -> PulserDevice | None:
        """See `Family.device`."""
        rules = self.template.device
        return None if rules is None else rules.pulser_device

    def bind(self, values: Reals) -> Program:
        """See `Family.bind`."""
        return self.template.program(
            values, plans=self.plans, device=self.own_device, cache_dir=self.cache_dir
        )


@dataclass(frozen=True, slots=True, eq=False)
class OfAnsatz:
    """Analog programs with free points."""

    ansatz: AnalogAnsatz

    @property
    def kind(self) -> Literal["gate", "analog"]:
        """See `Family.kind`."""
        return "analog"

    @property
    def name(self) -> str:
        """See `Family.name`."""
        return self.ansatz.base.spec.name

    @property
    def n_parameters(self) -> int:
        """See `Family.n_parameters`."""
        return self.ansatz.n_parameters

    @property
    def n_bits(self) -> int:
        """See `Family.n_bits`."""
        return self.ansatz.base.n_atoms

    @property
    def device(self) -> PulserDevice:
        """See `Family.device`."""
        return self.ansatz.base.device.pulser_device

    def bind(self, values: Reals) -> AnalogProgram:
        """See `Family.bind`."""
        return self.ansatz.bind(values)


def read(
    text: str,
    *,
    gate_device: PulserDevice | None,
    analog_device: PulserDevice | None,
    cache_dir: str | None = None,
) -> Family:
    """Read a text of any kind that a controller loads.

    Args:
        text: JSON.
        gate_device: What templates without a device are lowered for; None for the default.
        analog_device: What AHS programs are lowered for; None for the default.
        cache_dir: Directory of the pulse cache, "off", or None for the default.

    Raises:
        OptionError: It is none of them, or damaged.
        TargetError: Of the kind that names the broken limit of the device.
    """
    content = _object(text)
    kind = content.get("format")
    if kind == PROGRAM_FORMAT.name:
        return Fixed(Program.from_json(text))
    if kind == ANALOG_FORMAT.name:
        return Fixed(AnalogProgram.from_json(text))
    if kind == TEMPLATE_FORMAT.name:
        return OfTemplate(CircuitTemplate.from_json(text), gate_device, cache_dir)
    if kind == ANSATZ_FORMAT.name:
        from cudaq_target.analog.ansatz import AnalogAnsatz  # noqa: PLC0415 - scipy

        return OfAnsatz(AnalogAnsatz.from_json(text))
    if "setup" in content and "hamiltonian" in content:
        from cudaq_target.analog import ahs  # noqa: PLC0415

        spec = ahs.loads(text)
        return Fixed(build(spec) if analog_device is None else build(spec, analog_device))
    if "operations" in content and "channels" in content:
        return Fixed(from_abstract_repr(text))
    said = "no kind of program" if kind is None else f"programs of format {kind!r}"
    raise OptionError("program", f"{said} that a controller knows", _READS)


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError("program", f"no JSON ({error})", _READS) from error
    if not isinstance(content, dict):
        raise OptionError("program", f"JSON of a {type(content).__name__}", _READS)
    return content
