"""Reading kernels: refusals as text, lines, arguments, and what CUDA-Q's dialects contain."""
# ruff: noqa: F821

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import cudaq
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target import quake
from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.interpret import BUILDERS, arithmetic
from cudaq_target.interpret.effects import join_of
from cudaq_target.interpret.form import Block, Operation
from cudaq_target.interpret.quantum import checked_unitary
from cudaq_target.interpret.types import parse_type
from cudaq_target.interpret.values import UNKNOWN, MeasurementDependenceError
from cudaq_target.quake import kernels
from cudaq_target.quake.arguments import plain_values
from cudaq_target.trace import evaluate_returns, trace
from tests.target import corpus_calls, corpus_gates, refused_kernels
from tests.target.simulate import state_of

AT_THE_END = (
    "Measure at the end of the kernel, or split the program into kernels and decide in Python "
    "between them."
)
FEED_FORWARD = (
    "in a branch that depends on a measurement cannot run here: the machine measures all atoms at "
    "once, at the end of a shot (no mid-circuit measurement with feed-forward). " + AT_THE_END
)
REFUSALS = {
    "decides_gate": ("if mz(q[0]):", 1, f"x {FEED_FORWARD}"),
    "decides_loop": ("while mz(q[0])", 0, f"mz {FEED_FORWARD}"),
    "decides_return": ("x(q[1])", 0, f"x {FEED_FORWARD}"),
    "decides_angle": (
        "rx(angle, q[1])",
        0,
        "an angle of rx that depends on a measurement cannot run here: the machine measures all "
        f"atoms at once, at the end of a shot (no feed-forward). {AT_THE_END}",
    ),
    "decides_qubit": (
        "x(q[index])",
        0,
        "a qubit whose index depends on a measurement cannot run here: the machine measures all "
        "atoms at once, at the end of a shot. Measure at the end of the kernel, or decide in "
        "Python between two kernels.",
    ),
    "uses_measured": (
        "x.ctrl(q[0], q[1])",
        0,
        "x after a measurement of qubit 0 (mid-circuit measurement) cannot run here: the machine "
        f"measures all atoms at once, at the end of a shot. {AT_THE_END}",
    ),
    "resets": (
        "reset(q[0])",
        0,
        "reset of qubit 0 cannot run here: a neutral-atom machine prepares each atom once, at the "
        "start of a shot. Allocate a fresh qubit instead.",
    ),
    "adds_noise": (
        "cudaq.apply_noise(",
        0,
        "cudaq.apply_noise cannot run here: the noise of a machine is what it is. Give the "
        "emulator a noise model: Pasqal(noise=...).",
    ),
}
SHORT = [
    ("decides_call", (), "flip, line "),
    ("decides_angle_in_list", (), "an angle of rx that depends on a measurement"),
    ("declares_detector", (), "declares_detector: cudaq.detector cannot run here"),
    ("controls_measurement", (), "mz inside cudaq.control cannot run here: a measurement is no"),
    ("same_qubit_twice", (1,), "x on qubits 1, 1 cannot run here: it names a qubit twice"),
    ("outside_register", (5,), "qubit 5 of a register cannot run here: the register has 2 qubits"),
    ("outside_register", (-1,), "qubit -1 of a register cannot run here"),
    ("outside_list", ([0.1, 0.2],), "element 2 of a list cannot run here: the list has 2 elements"),
    ("wrong_word", ("XYZ",), "exp_pauli with the word 'XYZ' on 2 qubits cannot run here"),
    ("divides", (0,), "divides: an integer division by zero"),
    ("prepares", ([1, 1],), "a state of norm 1.41421 cannot run here: the norm of a state must be"),
    ("prepares", ([1, 0, 0],), "a state of 3 amplitudes cannot run here"),
    ("prepares", ([np.nan, 0],), "a state of norm nan cannot run here: the norm"),
    ("prepares", ([np.inf, 0],), "a state of norm inf cannot run here: the norm"),
    ("turns_by_a_computed_angle", (0,), "rx with angle inf cannot run here"),
    ("divides", (), "divides: a call with 0 arguments cannot run here: the kernel takes 1"),
]


def refusal(name: str, *args: object) -> str:
    kernel = getattr(refused_kernels, name)
    with pytest.raises(UnsupportedKernelError) as caught:
        trace(quake.read(kernel), quake.arguments(kernel, args))
    return str(caught.value)


def line_in(name: str, code: str) -> int:
    lines = Path(refused_kernels.__file__).read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"def {name}("))
    return next(n for n in range(start, len(lines)) if lines[n].strip().startswith(code)) + 1


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_names_kernel_line_and_reason(name):
    code, offset, text = REFUSALS[name]
    assert refusal(name) == f"{name}, line {line_in(name, code) + offset}: {text}"


@pytest.mark.parametrize(("name", "args", "text"), SHORT)
def test_refusal_says_what_and_why(name, args, text):
    assert text in refusal(name, *args)


@pytest.mark.parametrize("angle", [np.nan, np.inf, -np.inf])
def test_an_angle_must_be_finite(angle):
    assert refusal("turns", angle) == (
        f"turns, line {line_in('turns', 'u3(')}: u3 with angle {angle} cannot run here: an angle "
        "must be a finite number. Check the arguments of the kernel, and what it computes from "
        "them."
    )


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [("applies_nan", "not_a_number(", "nan"), ("applies_non_unitary", "not_unitary(", "2")],
)
def test_the_matrix_of_an_operation_must_be_unitary(name, code, error):
    assert refusal(name) == (
        f"{name}, line {line_in(name, code)}: a custom operation whose matrix U has |U·U† - 1| = "
        f"{error} cannot run here: the matrix of a gate must be unitary. Check the matrix given to "
        "cudaq.register_operation."
    )


def test_a_matrix_written_with_few_digits_becomes_unitary():
    rounded = np.array([[0.707, 0.707], [0.707, -0.707]])
    found = checked_unitary(rounded, Source("k"))
    np.testing.assert_allclose(found, rounded, atol=2e-4)
    np.testing.assert_allclose(found @ found.conj().T, np.eye(2), atol=1e-14)


@pytest.mark.parametrize(
    ("name", "kernel", "code", "arguments", "what"),
    [
        ("prepares", "prepares", "cudaq.qv", ([1, 1],), "a state of norm 1.41421"),
        ("prepares_second", "prepares_second", "p = ", ([1, 0, 0],), "a state of 3 amplitudes"),
        ("prepares_literal", "prepares_literal", "p = ", (), "a state of norm 1.11803"),
        ("prepares_in_a_call", "loads", "p = ", ([2, 0],), "a state of norm 2"),
        ("controls_a_state", "loads", "p = ", ([1, 0],), "initialising qubits with amplitudes"),
    ],
)
def test_refusals_of_states_name_the_line_of_the_register(name, kernel, code, arguments, what):
    assert refusal(name, *arguments).startswith(f"{kernel}, line {line_in(kernel, code)}: {what}")


def test_every_gate_of_a_plain_kernel_knows_its_line():
    kernel = corpus_gates.fixed_gates
    lines = Path(corpus_gates.__file__).read_text(encoding="utf-8").splitlines()
    for gate in trace(quake.read(kernel), ()).gates:
        assert gate.source.kernel == "fixed_gates"
        assert gate.source.file == corpus_gates.__file__
        assert lines[gate.source.line - 1].strip().startswith(gate.name)


def test_duplicated_code_has_no_line_rather_than_a_wrong_one():
    kernel = corpus_calls.conjugation
    found = {gate.source.line for gate in trace(quake.read(kernel), ()).gates if gate.name == "x"}
    assert found == {None}


def test_a_kernel_is_read_once_and_again_when_it_changed():
    assert quake.read(corpus_gates.bell) is quake.read(corpus_gates.bell)
    kernel = cudaq.make_kernel()
    qubits = kernel.qalloc(2)
    kernel.h(qubits[0])
    first = quake.read(kernel)
    assert quake.read(kernel) is first
    kernel.cx(qubits[0], qubits[1])
    assert len(trace(quake.read(kernel), ()).gates) == 2


def test_arguments_are_copied():
    angles = [0.1, 0.2, 0.3]
    kernel = corpus_calls.both_ways
    ((cells, start, length), _) = quake.arguments(kernel, (angles,))
    cells[0] = 9.0
    assert (angles[0], start, length) == (0.1, 0, 3)


@cudaq.kernel
def of_many_kinds(
    n: int, is_on: bool, angle: float, angles: list[float], qubits: list[int], flags: list[bool]
):
    q = cudaq.qvector(n)
    if is_on:
        rx(angle, q[0])
    for k in range(len(qubits)):
        if flags[k]:
            ry(angles[k], q[qubits[k]])


_PLAIN = (3, True, 0.5, [0.1, -0.0, 1e300], [0, 2, 1], [True, False, True])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (None, None),
        (0, np.int64(3)),
        (0, True),
        (0, -(1 << 63)),
        (1, np.bool_(True)),
        (2, 1),
        (2, np.float64(0.5)),
        (2, float("nan")),
        (3, [1, 2, 3]),
        (3, [0.5, 1, np.float64(0.25)]),
        (3, np.array([0.5, 1.0, 0.25])),
        (3, (0.5, 1.0, 0.25)),
        (4, [np.int64(0), 1, 2]),
        (4, [(1 << 63) - 1, -(1 << 63), 0]),
        (5, [True, np.bool_(False), True]),
        (5, [False, 1, 0]),
    ],
)
def test_plain_arguments_are_what_the_compiler_of_cudaq_would_make_of_them(
    monkeypatch, place, value
):
    given = [*_PLAIN]
    if place is not None:
        given[place] = value

    def values():
        try:
            return repr(quake.arguments(of_many_kinds, tuple(given)))
        except UnsupportedKernelError as error:
            return str(error)

    found = values()
    monkeypatch.setattr(kernels, "plain_values", lambda *_: None)
    assert found == values()


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 1 << 63), (0, 3.0), (2, "a"), (3, [0.1, "a"]), (3, []), (4, [0.5]), (4, [1 << 63])],
)
def test_other_arguments_are_left_to_the_compiler_of_cudaq(place, value):
    kinds = quake.read(of_many_kinds).entry_function.argument_types
    changed = [*_PLAIN]
    changed[place] = value
    assert plain_values(changed, kinds) is None
    assert plain_values(_PLAIN, kinds) is not None


def test_captured_values_are_those_at_the_time_of_the_call(monkeypatch):
    kernel = corpus_calls.captured_values
    before = trace(quake.read(kernel), quake.arguments(kernel, ())).gates[0].params
    monkeypatch.setattr(corpus_calls, "STEP", 1.25)
    after = trace(quake.read(kernel), quake.arguments(kernel, ())).gates[0].params
    assert (before, after) == ((0.35,), (1.25,))


@cudaq.kernel
def general_part(q: cudaq.qview):
    u3(0.3, 0.4, 0.9, q[0])


@cudaq.kernel
def there_and_back():
    q = cudaq.qvector(1)
    h(q[0])
    general_part(q)
    cudaq.adjoint(general_part, q)


def test_the_adjoint_of_u3_is_its_inverse():
    """CUDA-Q 0.16 negates the three angles and does not exchange the last two."""
    circuit = trace(quake.read(there_and_back), quake.arguments(there_and_back, ()))
    np.testing.assert_allclose(state_of(circuit), [np.sqrt(0.5)] * 2, atol=1e-12)


def test_large_constants_are_read():
    rng = np.random.default_rng(5)
    made, _ = np.linalg.qr(rng.normal(size=(32, 32)) + 1j * rng.normal(size=(32, 32)))
    cudaq.register_operation("scramble", made)
    kernel = _scrambling_kernel()
    (gate,) = trace(quake.read(kernel), ()).gates
    np.testing.assert_allclose(gate.matrix, made, atol=1e-15)


def _scrambling_kernel():
    @cudaq.kernel
    def scrambled():
        q = cudaq.qvector(5)
        scramble(q[0], q[1], q[2], q[3], q[4])

    return scrambled


def test_outcomes_are_taken_in_program_order():
    from tests.target.corpus_measured import first_one

    form, arguments = quake.read(first_one), quake.arguments(first_one, (3,))
    found = [evaluate_returns(form, arguments, bits) for bits in ([1, 1, 0], [0, 0, 1], [0, 0, 0])]
    assert found == [0, 2, -1]


# What the compiler's later passes introduce, or only C++ kernels and device code contain.
ABSENT_FROM_PYTHON_KERNELS = {
    "cc.arg_subst", "cc.call_indirect_callable", "cc.call_vararg", "cc.callable_func",
    "cc.create_lambda", "cc.device_call", "cc.func_ptr", "cc.global", "cc.offsetof",
    "cc.reify_span", "cc.resolve_device_ptr", "cc.unwind_break", "cc.unwind_continue",
    "cc.unwind_return", "quake.attach_wire", "quake.borrow_wire", "quake.bundle_cable",
    "quake.call_by_ref", "quake.custom_unitary_call", "quake.detach_wire", "quake.from_ctrl",
    "quake.materialize_state", "quake.null_cable", "quake.null_wire", "quake.return_wire",
    "quake.sink", "quake.split_cable", "quake.to_ctrl", "quake.unwrap", "quake.wire_set",
    "quake.wrap", "quake.wrap_new",
}  # fmt: skip
TERMINATORS = {"cc.break", "cc.condition", "cc.continue", "cc.return"}


@pytest.mark.parametrize("dialect", ["cc", "quake", "qec"])
def test_every_operation_of_the_dialects_is_known(dialect):
    """An operation that a new CUDA-Q brings must be looked at: it fails here first."""
    module = importlib.import_module(f"cudaq.mlir.dialects._{dialect}_ops_gen")
    classes = inspect.getmembers(module, inspect.isclass)
    names = {item.OPERATION_NAME for _, item in classes if hasattr(item, "OPERATION_NAME")}
    assert names - set(BUILDERS) - TERMINATORS <= ABSENT_FROM_PYTHON_KERNELS


@pytest.mark.parametrize(
    ("text", "kind", "n_bytes"),
    [
        ("i1", "int", 1),
        ("f32", "float", 4),
        ("complex<f64>", "complex", 16),
        ("!cc.ptr<!cc.array<f64 x ?>>", "ptr", 8),
        ("!cc.array<!cc.array<i16 x 3> x 4>", "array", 24),
        ('!cc.struct<"P" {i1, f64, !cc.sequence<i64>}>', "struct", 32),
        ("!cc.struct<{i8, i8, i32} [64,4]>", "struct", 8),
        ("!cc.sequence<!cc.sequence<f64>>", "sequence", 16),
        ("!cc.callable<(!quake.veq<?>, f64) -> ()>", "callable", 8),
        ('!quake.struq<"Patch": !quake.veq<?>, !quake.ref>', "struq", 8),
        ("!quake.veq<3>", "veq", 8),
        ("!llvm.ptr", "other", 8),
    ],
)
def test_types(text, kind, n_bytes):
    found = parse_type(text)
    assert (found.kind, found.n_bytes) == (kind, n_bytes)


@given(st.integers(-(2**70), 2**70), st.sampled_from([8, 16, 32, 64]))
def test_integers_wrap_like_those_of_the_machine(value, bits):
    wrapped = arithmetic.wrap(value, bits)
    assert wrapped == int(np.array([value % 2**64], dtype=np.uint64).astype(f"int{bits}")[0])


@given(st.integers(-1000, 1000), st.integers(-1000, 1000).filter(bool))
def test_division_rounds_as_its_name_says(a, b):
    quotient = arithmetic.PURE["arith.divsi"](a, b)
    assert quotient == int(a / b)
    assert quotient * b + arithmetic.PURE["arith.remsi"](a, b) == a
    assert arithmetic.PURE["arith.floordivsi"](a, b) == a // b


@pytest.mark.parametrize("name", ["cos", "exp", "log", "sqrt", "floor", "round", "sinh"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 0.0, -2.5, 1e300])
def test_floats_never_raise(name, value):
    assert isinstance(arithmetic.PURE[f"math.{name}"](value), float)


@given(st.integers(-9, 9), st.integers(0, 200))
def test_integer_power_wraps(base, exponent):
    power = arithmetic.wrap(arithmetic.PURE["math.ipowi"](base, exponent), 64)
    assert power == arithmetic.wrap(base**exponent, 64)


def test_arithmetic_with_an_unknown_value_is_unknown():
    for value in (UNKNOWN + 1, 2 - UNKNOWN, UNKNOWN * UNKNOWN, -UNKNOWN, UNKNOWN < 3, UNKNOWN.real):
        assert value is UNKNOWN
    for asked in (bool, int, float, complex):
        with pytest.raises(MeasurementDependenceError):
            asked(UNKNOWN)


def _block(*successors: int) -> Block:
    return Block((), (Operation("cf.br", (), (), (), (), {}, successors=successors),))


def test_ways_of_a_branch_meet_at_the_nearest_common_block():
    diamond = (_block(1, 2), _block(3), _block(3), _block(4), _block())
    assert join_of(diamond, 0) == (3, frozenset({1, 2}))
    two_ends = (_block(1, 2), _block(), _block())
    assert join_of(two_ends, 0) == (None, frozenset({1, 2}))
    loop = (_block(1), _block(2, 3), _block(1, 3), _block())
    assert join_of(loop, 2) == (3, frozenset({1, 2}))
