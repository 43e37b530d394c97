"""Quantum operations of the quake dialect: qubits, gates, states and measurements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.interpret.code import getter
from cudaq_target.interpret.values import UNKNOWN, Amplitudes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cudaq_target.interpret.code import Frame, FunctionCompiler, Step
    from cudaq_target.interpret.form import Operation
    from cudaq_target.interpret.machine import Machine

_DECIDED_BY_MEASUREMENT: Final = "the machine measures all atoms at once, at the end of a shot"
_MEASURE_LAST: Final = "Measure at the end of the kernel, or decide in Python between two kernels."
_TOLERANCE: Final = 1e-3  # what users round away when they write matrices and amplitudes by hand
_ROUNDING: Final = 1e-12
_ONE_QUBIT: Final = ("h", "x", "y", "z", "s", "t", "r1", "rx", "ry", "rz", "u2", "u3", "phased_rx")


def qubits_of(value: Any, source: Source) -> tuple[int, ...]:
    """Return the qubits of a qubit or register.

    Args:
        value: A qubit or a register.
        source: Where it is used.

    Raises:
        UnsupportedKernelError: Which qubit it is depends on a measurement.
    """
    if value is UNKNOWN:
        raise UnsupportedKernelError(
            source,
            "a qubit whose index depends on a measurement",
            _DECIDED_BY_MEASUREMENT,
            _MEASURE_LAST,
        )
    return value if isinstance(value, tuple) else (value,)


def _alloca(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), kind = operation.results, operation.result_types[0]
    source, place = compiler.source(operation), (compiler.function.symbol, result)
    if kind.kind == "ref":

        def one(frame: Frame) -> None:
            (frame[result],) = frame[0].allocate(1, place)

        return one
    if kind.kind == "struq":
        raise compiler.unsupported(
            operation, "an allocated struct of qubits", "Allocate its parts."
        )
    size_slot = operation.operands[0] if operation.operands else None

    def many(frame: Frame) -> None:
        size = kind.length if size_slot is None else frame[size_slot]
        if size is UNKNOWN:
            raise UnsupportedKernelError(
                source,
                "a number of qubits that depends on a measurement",
                _DECIDED_BY_MEASUREMENT,
                _MEASURE_LAST,
            )
        if size is None or size < 0:
            raise UnsupportedKernelError(
                source,
                f"a register of {size} qubits",
                "a register cannot have a negative size",
                "Check the arguments of the kernel.",
            )
        frame[result] = frame[0].allocate(size, place)

    return many


def _index_error(what: str, size: int, source: Source) -> UnsupportedKernelError:
    return UnsupportedKernelError(
        source, what, f"the register has {size} qubits", "Check the indices and the arguments."
    )


def _extract_ref(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), register = operation.results, operation.operands[0]
    index_slot = operation.operands[1] if len(operation.operands) > 1 else None
    fixed = operation.attributes["rawIndex"]
    source = compiler.source(operation)

    def extract(frame: Frame) -> None:
        index = fixed if index_slot is None else frame[index_slot]
        qubits = frame[register]
        if index is UNKNOWN or qubits is UNKNOWN:
            frame[result] = UNKNOWN
        elif 0 <= index < len(qubits):
            frame[result] = qubits[index]
        else:
            raise _index_error(f"qubit {index} of a register", len(qubits), source)

    return extract


def _subveq(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,) = operation.results
    (register,), lower_slots, upper_slots = operation.operand_groups()
    raw_lower, raw_upper = operation.attributes["rawLower"], operation.attributes["rawUpper"]
    source = compiler.source(operation)

    def cut(frame: Frame) -> None:
        lower = frame[lower_slots[0]] if lower_slots else raw_lower
        upper = frame[upper_slots[0]] if upper_slots else raw_upper
        qubits = frame[register]
        if UNKNOWN.is_in((lower, upper, qubits)):
            frame[result] = UNKNOWN
        elif lower > upper:
            frame[result] = ()
        elif lower >= 0 and upper < len(qubits):
            frame[result] = qubits[lower : upper + 1]
        else:
            raise _index_error(f"qubits {lower} to {upper} of a register", len(qubits), source)

    return cut


def _concat(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), read = operation.results, getter(operation.operands)
    source = compiler.source(operation)

    def join(frame: Frame) -> None:
        frame[result] = tuple(qubit for part in read(frame) for qubit in qubits_of(part, source))

    return join


def _veq_size(compiler: FunctionCompiler, operation: Operation) -> Step:
    return compiler.function_step(
        operation, lambda qubits: UNKNOWN if qubits is UNKNOWN else len(qubits)
    )


def _same(compiler: FunctionCompiler, operation: Operation) -> Step:
    return compiler.function_step(operation, lambda value: value)


def _make_struq(compiler: FunctionCompiler, operation: Operation) -> Step:
    del compiler
    (result,), read = operation.results, getter(operation.operands)

    def make(frame: Frame) -> None:
        frame[result] = read(frame)

    return make


def _get_member(compiler: FunctionCompiler, operation: Operation) -> Step:
    index = operation.attributes["index"]
    return compiler.function_step(operation, lambda members: members[index])


class _Operands:
    """Reads the operands that all gates have."""

    def __init__(self, compiler: FunctionCompiler, operation: Operation) -> None:
        params, controls, targets = operation.operand_groups()[:3]
        self.params = getter(params)
        self.controls = getter(controls)
        self.targets = getter(targets)
        self.negated: tuple[bool, ...] = operation.attributes.get("negated_qubit_controls", ())
        self.adjoint = bool(operation.attributes.get("is_adj"))
        self.source = compiler.source(operation)
        # Most gates have no controls and one qubit: skip flattening for them.
        kinds = operation.operand_types[len(params) :]
        self.plain = all(kind.kind == "ref" for kind in kinds) and not any(self.negated)

    def qubits(self, values: tuple[Any, ...]) -> tuple[int, ...]:
        """Flatten qubits and registers."""
        return tuple(qubit for value in values for qubit in qubits_of(value, self.source))

    def inverted(self, controls: tuple[Any, ...]) -> list[int]:
        """Return the controls that must be 0."""
        pairs = zip(controls, self.negated, strict=False)
        return [
            qubit for value, negated in pairs if negated for qubit in qubits_of(value, self.source)
        ]


def _run_gate(
    operands: _Operands,
    frame: Frame,
    emit: Callable[[Machine, tuple[int, ...], tuple[int, ...]], None],
) -> None:
    """Flip negated controls around a gate."""
    machine: Machine = frame[0]
    values = operands.controls(frame)
    controls = operands.qubits(values)
    inverted = operands.inverted(values) if any(operands.negated) else []
    for qubit in inverted:
        machine.flip(qubit, operands.source)
    emit(machine, controls, operands.qubits(operands.targets(frame)))
    for qubit in inverted:
        machine.flip(qubit, operands.source)


def _one_qubit_gate(compiler: FunctionCompiler, operation: Operation) -> Step:
    name = operation.name.removeprefix("quake.")
    operands = _Operands(compiler, operation)
    params, source, adjoint = operands.params, operands.source, operands.adjoint
    read_controls, read_targets = operands.controls, operands.targets

    def emit(
        machine: Machine, frame: Frame, controls: tuple[int, ...], targets: tuple[int, ...]
    ) -> None:
        for target in targets:
            machine.apply(name, (target,), source, controls, params(frame), adjoint=adjoint)

    def plain(frame: Frame) -> None:
        controls, targets = read_controls(frame), read_targets(frame)
        if UNKNOWN.is_in(controls) or UNKNOWN.is_in(targets):
            qubits_of(UNKNOWN, source)
        emit(frame[0], frame, controls, targets)

    def general(frame: Frame) -> None:
        _run_gate(operands, frame, lambda machine, c, t: emit(machine, frame, c, t))

    return plain if operands.plain else general


def _swap(compiler: FunctionCompiler, operation: Operation) -> Step:
    operands = _Operands(compiler, operation)

    def run(frame: Frame) -> None:
        _run_gate(
            operands,
            frame,
            lambda machine, controls, targets: machine.apply(
                "swap", targets, operands.source, controls
            ),
        )

    return run


def _exp_pauli(compiler: FunctionCompiler, operation: Operation) -> Step:
    operands = _Operands(compiler, operation)
    word = operation.operand_groups()[3]
    literal = operation.attributes.get("pauliLiteral")
    source = operands.source

    def letters(frame: Frame) -> str:
        if literal is not None:
            return str(literal)
        cells, start, length = frame[word[0]]
        return "".join(map(chr, cells[start : start + length])).rstrip("\0")

    def run(frame: Frame) -> None:
        pauli, params = letters(frame), operands.params(frame)

        def emit(machine: Machine, controls: tuple[int, ...], targets: tuple[int, ...]) -> None:
            if len(pauli) != len(targets):
                raise UnsupportedKernelError(
                    source,
                    f"exp_pauli with the word {pauli!r} on {len(targets)} qubits",
                    "the word needs one letter for each qubit",
                    "Pass as many qubits as the word has letters.",
                )
            machine.apply(
                "exp_pauli",
                targets,
                source,
                controls,
                params,
                adjoint=operands.adjoint,
                pauli=pauli,
            )

        _run_gate(operands, frame, emit)

    return run


def _custom_unitary(compiler: FunctionCompiler, operation: Operation) -> Step:
    operands = _Operands(compiler, operation)
    numbers = compiler.form.constants.get(operation.attributes["matrix"])
    if numbers is None:
        raise compiler.unsupported(operation, "a custom operation without a constant matrix")
    dim = math.isqrt(len(numbers))
    matrix = np.array(numbers, dtype=np.complex128).reshape(dim, dim)
    matrix = checked_unitary(matrix, operands.source)
    if operands.adjoint:
        matrix = np.ascontiguousarray(matrix.conj().T)
    matrix.setflags(write=False)

    def emit(machine: Machine, controls: tuple[int, ...], targets: tuple[int, ...]) -> None:
        machine.apply("unitary", targets, operands.source, controls, matrix=matrix)

    def run(frame: Frame) -> None:
        _run_gate(operands, frame, emit)

    return run


def _phase(compiler: FunctionCompiler, operation: Operation) -> Step:
    """Apply a phase where all controls are 1; without any it is global and has no effect."""
    operands = _Operands(compiler, operation)

    def run(frame: Frame) -> None:
        (angle,) = operands.params(frame)
        signed = -angle if operands.adjoint else angle

        def emit(machine: Machine, controls: tuple[int, ...], targets: tuple[int, ...]) -> None:
            del targets
            machine.apply_phase(controls, signed, operands.source)

        _run_gate(operands, frame, emit)

    return run


def _measure(compiler: FunctionCompiler, operation: Operation) -> Step:
    basis = operation.name[-1]
    register = str(operation.attributes.get("registerName", ""))
    read, source = getter(operation.operands), compiler.source(operation)
    result, *wires = operation.results
    if wires:
        raise compiler.unsupported(operation, "a measurement that returns its qubit")
    scalar = operation.result_types[0].kind == "handle"

    def run(frame: Frame) -> None:
        qubits = tuple(qubit for value in read(frame) for qubit in qubits_of(value, source))
        bits = frame[0].measure(qubits, basis, register, source)
        frame[result] = bits[0] if scalar else (bits, 0, len(bits))

    return run


def _reset(compiler: FunctionCompiler, operation: Operation) -> Step:
    read, source = getter(operation.operands), compiler.source(operation)

    def run(frame: Frame) -> None:
        for value in read(frame):
            frame[0].reset(qubits_of(value, source), source)

    return run


def _create_state(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), (pointer, length) = operation.results, operation.operands
    source = compiler.source(operation)

    def create(frame: Frame) -> None:
        cells, offset = frame[pointer][:2]
        values = cells[offset : offset + frame[length]]
        frame[result] = Amplitudes(checked_amplitudes(np.array(values, dtype=complex), source))

    return create


def checked_unitary(matrix: np.ndarray[Any, Any], source: Source) -> np.ndarray[Any, Any]:
    """Return the matrix of a custom operation, its rounding errors removed.

    Args:
        matrix: Complex, shape (d, d).
        source: Where it is used.

    Returns:
        The nearest unitary matrix; the matrix itself where it is unitary to rounding.

    Raises:
        UnsupportedKernelError: The matrix is not unitary.
    """
    with np.errstate(invalid="ignore"):
        error = float(np.abs(matrix @ matrix.conj().T - np.eye(len(matrix))).max())
    if not error <= _TOLERANCE:  # NaN included
        raise UnsupportedKernelError(
            source,
            f"a custom operation whose matrix U has |U·U† - 1| = {error:.3g}",
            "the matrix of a gate must be unitary",
            "Check the matrix given to cudaq.register_operation.",
        )
    if error <= _ROUNDING:
        return matrix
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def checked_amplitudes(values: np.ndarray[Any, Any], source: Source) -> Any:
    """Return amplitudes after checking their number and norm.

    Raises:
        UnsupportedKernelError: The number is no power of two or the norm is not 1.
    """
    size = values.size
    if size < 2 or size & (size - 1):
        raise UnsupportedKernelError(
            source,
            f"a state of {size} amplitudes",
            "the number of amplitudes must be a power of two, and at least 2",
            "Pass 2^n amplitudes for n qubits.",
        )
    norm = float(np.linalg.norm(values))
    if not math.isclose(norm, 1.0, abs_tol=_TOLERANCE):
        raise UnsupportedKernelError(
            source,
            f"a state of norm {norm:.6g}",
            "the norm of a state must be 1",
            "Divide the amplitudes by their norm.",
        )
    return np.asarray(values, dtype=np.complex128) / norm


def _number_of_qubits(compiler: FunctionCompiler, operation: Operation) -> Step:
    return compiler.function_step(operation, lambda state: state.values.size.bit_length() - 1)


def _init_state(compiler: FunctionCompiler, operation: Operation) -> Step:
    (result,), (register, state) = operation.results, operation.operands
    source = compiler.source(operation)

    def init(frame: Frame) -> None:
        qubits = qubits_of(frame[register], source)
        values = frame[state].values
        if values.size != 2 ** len(qubits):
            raise _index_error(f"a state of {values.size} amplitudes", len(qubits), source)
        # CUDA-Q's states have qubit 0 least significant, circuits have it most significant.
        shape = (2,) * len(qubits)
        amplitudes = np.ascontiguousarray(values.reshape(shape).transpose()).reshape(-1)
        frame[0].prepare(qubits, amplitudes, source)
        frame[result] = frame[register]

    return init


def _nothing(compiler: FunctionCompiler, operation: Operation) -> None:
    del compiler, operation


_REFUSED: Final = {
    "quake.apply_noise": (
        "cudaq.apply_noise",
        "the noise of a machine is what it is",
        "Give the emulator a noise model: Pasqal(noise=...).",
    ),
    **{
        f"qec.{name}": (
            f"cudaq.{called}",
            "detector error models describe circuits with measurements in between",
            "Compute it in Python from the measured bits.",
        )
        for name, called in (
            ("detector", "detector"),
            ("pair_detectors", "detectors"),
            ("observable", "logical_observable"),
        )
    },
}


def _refuse(compiler: FunctionCompiler, operation: Operation) -> Step:
    source = compiler.source(operation)
    what, why, remedy = _REFUSED[operation.name]

    def refuse(frame: Frame) -> None:
        del frame
        raise UnsupportedKernelError(source, what, why, remedy)

    return refuse


STEPS: Final[Mapping[str, Callable[[FunctionCompiler, Operation], Step | None]]] = {
    **dict.fromkeys((f"quake.{name}" for name in _ONE_QUBIT), _one_qubit_gate),
    **dict.fromkeys(("quake.mx", "quake.my", "quake.mz"), _measure),
    **dict.fromkeys(_REFUSED, _refuse),
    "quake.alloca": _alloca,
    "quake.concat": _concat,
    "quake.create_state": _create_state,
    "quake.custom_unitary_constant": _custom_unitary,
    "quake.dealloc": _nothing,
    "quake.delete_state": _nothing,
    "quake.discriminate": _same,
    "quake.exp_pauli": _exp_pauli,
    "quake.extract_ref": _extract_ref,
    "quake.get_member": _get_member,
    "quake.get_number_of_qubits": _number_of_qubits,
    "quake.init_state": _init_state,
    "quake.log_output": _nothing,
    "quake.make_struq": _make_struq,
    "quake.phase": _phase,
    "quake.relax_size": _same,
    "quake.reset": _reset,
    "quake.subveq": _subveq,
    "quake.swap": _swap,
    "quake.veq_size": _veq_size,
}
"""Builders of steps for the quake dialect."""
