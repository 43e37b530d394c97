"""Random kernels for property-based tests, made with CUDA-Q's builder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cudaq
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

_FIXED = ("h", "x", "y", "z", "s", "t", "sdg", "tdg")
_CONTROLLED = ("ch", "cx", "cy", "cz", "cs", "ct")
_ROTATIONS = ("rx", "ry", "rz", "r1")
_CONTROLLED_ROTATIONS = ("crx", "cry", "crz", "cr1")
_KINDS = {
    "fixed": (_FIXED, 0, 1),
    "rotation": (_ROTATIONS, 1, 1),
    "u3": (("u3",), 3, 1),
    "swap": (("swap",), 0, 2),
    "controlled": (_CONTROLLED, 0, 1),
    "controlled rotation": (_CONTROLLED_ROTATIONS, 1, 1),
    "cu3": (("cu3",), 3, 1),
}
"""For each kind of gate: methods of the builder, number of angles, number of targets."""


@dataclass(frozen=True)
class Call:
    """One call of the builder.

    Attributes:
        method: Name of the builder's method.
        angles: Angles that come first, rad.
        controls: Qubits that come next, as one list.
        targets: Qubits that come last.
        pauli: Word of an `exp_pauli`.
    """

    method: str
    angles: tuple[float, ...] = ()
    controls: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    pauli: str = ""


@dataclass(frozen=True)
class RandomKernel:
    """A random kernel, printable so that a failure can be repeated.

    Attributes:
        n_qubits: Number of qubits.
        calls: Calls of the builder.
        inverted: Calls of a second kernel that is applied inverted, then under a control.
    """

    n_qubits: int
    calls: tuple[Call, ...]
    inverted: tuple[Call, ...] = field(default=())

    def build(self) -> Any:
        """Return the builder kernel."""
        kernel = cudaq.make_kernel()
        qubits = kernel.qalloc(self.n_qubits)
        for call in self.calls:
            _emit(kernel, qubits, call)
        if self.inverted:
            part, register = cudaq.make_kernel(cudaq.qvector)
            for call in self.inverted:
                _emit(part, register, call)
            helper = kernel.qalloc()
            kernel.h(helper)
            kernel.adjoint(part, qubits)
            kernel.control(part, helper, qubits)
        return kernel


def _emit(kernel: Any, qubits: Any, call: Call) -> None:
    targets = [qubits[index] for index in call.targets]
    controls = [qubits[index] for index in call.controls]
    method: Callable[..., None] = getattr(kernel, call.method)
    if call.method == "exp_pauli":
        method(call.angles[0], *_pauli_arguments(targets, call.pauli))
    elif controls:
        method(*call.angles, controls, *targets)
    else:
        method(*call.angles, *targets)


def _pauli_arguments(targets: list[Any], word: str) -> tuple[Any, ...]:
    return word, *targets


def angles() -> st.SearchStrategy[float]:
    """Return angles over two turns, special ones included (rad)."""
    special = [0.0, math.pi / 2, -math.pi / 2, math.pi, -math.pi, math.pi / 4, 2 * math.pi]
    return st.one_of(
        st.sampled_from(special),
        st.floats(-2 * math.pi, 2 * math.pi, allow_nan=False).map(lambda angle: round(angle, 6)),
    )


@st.composite
def calls(draw: st.DrawFn, n_qubits: int, *, inverted: bool = False) -> Call:
    """Return a random gate on some of the qubits.

    Left out is what CUDA-Q 0.16 itself gets wrong: words of `exp_pauli` without any letter but I
    (their phase is dropped, and refused under a control), `u3` in a kernel to be inverted (its
    second and third angle are not exchanged).

    Args:
        draw: Given by hypothesis.
        n_qubits: Number of qubits.
        inverted: The gate is for a kernel that will be inverted.
    """
    kinds = ["fixed", "rotation"] + ([] if inverted else ["u3"])
    if n_qubits > 1:
        kinds += ["controlled", "controlled rotation", "swap", "exp_pauli"]
        kinds += [] if inverted else ["cu3"]
    kind = draw(st.sampled_from(kinds))
    order = draw(st.permutations(range(n_qubits)))
    if kind == "exp_pauli":
        size = draw(st.integers(1, min(3, n_qubits)))
        letters = st.text("IXYZ", min_size=size, max_size=size)
        word = draw(letters.filter(lambda text: set(text) != {"I"}))
        return Call(kind, (draw(angles()),), targets=tuple(order[:size]), pauli=word)
    names, n_angles, n_targets = _KINDS[kind]
    n_controls = 0
    if kind.startswith("c"):
        n_controls = draw(st.integers(1, min(2, n_qubits - 1)))
    return Call(
        draw(st.sampled_from(names)),
        tuple(draw(angles()) for _ in range(n_angles)),
        tuple(order[:n_controls]),
        tuple(order[n_controls : n_controls + n_targets]),
    )


@st.composite
def random_kernels(
    draw: st.DrawFn, max_qubits: int = 5, max_gates: int = 20, *, with_parts: bool = True
) -> RandomKernel:
    """Return a random kernel.

    Args:
        draw: Given by hypothesis.
        max_qubits: Most qubits, the helper of `inverted` not counted.
        max_gates: Most gates.
        with_parts: Some kernels call a second one inverted and controlled.
    """
    n_qubits = draw(st.integers(1, max_qubits))
    gates = tuple(draw(st.lists(calls(n_qubits), min_size=1, max_size=max_gates)))
    part: tuple[Call, ...] = ()
    if with_parts and draw(st.booleans()):
        part = tuple(draw(st.lists(calls(n_qubits, inverted=True), min_size=1, max_size=5)))
    return RandomKernel(n_qubits, gates, part)
