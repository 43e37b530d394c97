"""From a CUDA-Q kernel and a spin operator to the programs of a loop, one per measurement basis.

A controller loads each circuit once, as a template; afterwards a point costs one trace of the
kernel here and its angles on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.errors import OptionError, Source, UnsupportedKernelError
from cudaq_target.kernels.pauli_groups import group_pauli_terms
from cudaq_target.launch import kernels
from cudaq_target.launch.observe import canonical_operators
from cudaq_target.launch.operators import Setting, basis_change, read_operator
from cudaq_target.target import Pasqal, Session, active
from cudaq_target.template import CircuitTemplate, angles_of, structure_key

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from cudaq_target.circuit import Circuit
    from cudaq_target.coupler.loops.interface import Point
    from cudaq_target.kernels.pauli_groups import PauliGroup

    Arguments = Callable[[Point], tuple[object, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """A kernel observed in the bases that an operator needs.

    Attributes:
        program: One text per group of terms.
        constant: Weight of the identity.
        groups: Terms that the shots of one setting measure, in the order of the texts.
        circuit: Gates of the kernel at a point, without any change of basis.
    """

    program: LoopProgram
    constant: float
    groups: tuple[PauliGroup, ...]
    circuit: Callable[[Point], Circuit]


def observed(
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    operator: Any,  # noqa: ANN401 - a spin operator, or Pauli words with weights
    start: Sequence[float],
    *,
    names: Sequence[str] = (),
    arguments: Arguments = tuple,
    device: object = None,
    layout: object = None,
    route: str | None = None,
) -> Observed:
    """Prepare a kernel for a loop over its parameters.

    Args:
        kernel: Must not measure.
        operator: A Hermitian `cudaq.SpinOperator`, or a mapping from Pauli words (leftmost letter
            is qubit 0) to weights.
        start: A point, to trace the kernel at; its structure must be that of all others.
        names: Of the parameters; `p0`, `p1`, … by default.
        arguments: Makes the kernel's arguments of a point; by default one number each.
        device: As for `Pasqal`; None leaves the choice to the machine.
        layout: As for `Pasqal`.
        route: As for `Pasqal`.

    Returns:
        Programs, and what their shots mean.

    Raises:
        UnsupportedKernelError: The kernel measures, or does something that this target cannot do.
        OptionError: The operator is not Hermitian, does not fit, or is a multiple of the identity.
    """
    given = {"device": device, "layout": layout, "route": route}
    session = _session({name: value for name, value in given.items() if value is not None})

    def circuit(point: Point) -> Circuit:
        return kernels.bind(session, kernel, arguments(point)).circuit

    first = circuit(tuple(map(float, start)))
    if first.measurements:
        raise UnsupportedKernelError(
            first.measurements[0].source,
            "a measurement in a kernel for a loop over an operator",
            "the operator says what is measured",
            "Remove the measurements",
        )
    constant, groups = group_pauli_terms(_words(operator, first))
    if not groups:
        raise OptionError(
            "operator", "a multiple of the identity has nothing to measure", "Add Pauli terms"
        )
    texts, parameters = _templates(first, circuit, groups, session)
    program = LoopProgram(
        texts,
        first.n_qubits,
        parameters,
        tuple(names) or tuple(f"p{k}" for k in range(len(start))),
    )
    return Observed(program, constant, groups, circuit)


def _session(given: dict[str, Any]) -> Session:
    session = active()
    if session is None:
        return Session(Pasqal(**given))
    return Session(replace(session.target, **given)) if given else session


def _words(operator: Any, circuit: Circuit) -> Mapping[str, float]:  # noqa: ANN401
    """Pauli words as long as the kernel has qubits, with their weights."""
    if isinstance(operator, Mapping):
        wrong = [word for word in operator if len(word) != circuit.n_qubits]
        if wrong:
            raise OptionError(
                f"Pauli word {wrong[0]!r}",
                f"{len(wrong[0])} letters, kernel {circuit.kernel} has {circuit.n_qubits} qubits",
                f"Give {circuit.n_qubits} letters, I where nothing is measured",
            )
        return operator
    (canonical,) = canonical_operators(operator)
    total = read_operator(canonical, circuit.kernel, circuit.n_qubits)
    words: dict[str, float] = {}
    for weight, string in zip(total.coefficients, total.strings, strict=True):
        letters = dict(zip(string.qubits, string.letters, strict=True))
        word = "".join(letters.get(qubit, "I") for qubit in range(circuit.n_qubits))
        words[word] = words.get(word, 0.0) + weight
    return words


def _templates(
    first: Circuit,
    circuit: Callable[[Point], Circuit],
    groups: Sequence[PauliGroup],
    session: Session,
) -> tuple[tuple[str, ...], Callable[[int, Point], Sequence[float]]]:
    """One text per group, and the angles that a point means."""
    options = session.options
    source = Source(first.kernel)
    texts = []
    for group in groups:
        bases = {qubit: letter for qubit, letter in enumerate(group.basis) if letter != "I"}
        turned = (*first.gates, *basis_change(Setting(bases, ()), source))
        template, _ = CircuitTemplate.of(
            replace(first, gates=turned),
            device=options.device,
            layout=_sites(options.layout),
            route=options.route,
        )
        texts.append(template.to_json())
    structure = structure_key(first)

    def parameters(setting: int, point: Point) -> Sequence[float]:  # noqa: ARG001 - as the loop asks
        traced = circuit(point)
        _require_same(traced, structure, point)
        values: list[float] = angles_of(traced).tolist()
        return values

    return tuple(texts), parameters


def _require_same(circuit: Circuit, structure: Hashable, point: Point) -> None:
    if structure_key(circuit) != structure:
        raise OptionError(
            f"kernel {circuit.kernel} at {point}",
            "its gates differ from those at the start, which the machine has loaded",
            "Write gates that do not depend on the parameters, only their angles",
        )


def _sites(layout: object) -> Any:  # noqa: ANN401 - `Sites` or None
    from cudaq_target.sites import read_sites  # noqa: PLC0415

    return None if layout is None else read_sites(layout)
