"""Lines of the user's file for the quantum operations of a kernel.

CUDA-Q drops source locations. The n-th operation of a kind in the MLIR of a kernel is matched with
the n-th call of that kind in its Python source; where the numbers of both differ (the compiler
dropped or duplicated code) there is no answer, because no line is better than a wrong one.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_OPERATION: Final = re.compile(r"(?<![!\w.])((?:quake|cc)\.\w+)")
_GATES: Final = frozenset(
    {"h", "x", "y", "z", "s", "t", "r1", "rx", "ry", "rz", "u2", "u3", "phased_rx"}
    | {"swap", "exp_pauli", "reset", "mx", "my", "mz"}
)
_CUDAQ_CALLS: Final = {
    "qvector": "quake.alloca",
    "qubit": "quake.alloca",
    "adjoint": "quake.apply",
    "control": "quake.apply",
    "apply_noise": "quake.apply_noise",
}


def _kind_of(call: ast.Call, custom: Collection[str]) -> str | None:
    """Return the operation that a call compiles to, None for other calls."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        if function.attr in ("ctrl", "adj"):
            name = function.value.id
        else:
            return _CUDAQ_CALLS.get(function.attr)
    elif isinstance(function, ast.Name):
        name = function.id
    else:
        return None
    if name in _GATES:
        return f"quake.{name}"
    return "quake.custom_unitary_constant" if name in custom else None


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield calls in the order in which they are evaluated."""
    if isinstance(node, ast.FunctionDef):
        children: list[ast.AST] = list(node.body)
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from _calls(child)
    if isinstance(node, ast.Call):
        yield node


class LineFinder:
    """Answers for one kernel, asked in the order of its operations.

    Attributes:
        file: Path of the user's file.
    """

    def __init__(
        self, tree: ast.AST, file: str | None, first_line: int, custom: Collection[str] = ()
    ) -> None:
        """Collect the calls of a kernel.

        Args:
            tree: Its syntax tree.
            file: Path of the user's file.
            first_line: Line of the file where the source starts.
            custom: Names of the user's registered operations.
        """
        self.file = file
        self._lines: dict[str, list[int]] = defaultdict(list)
        for call in _calls(tree):
            kind = _kind_of(call, custom)
            if kind:
                self._lines[kind].append(first_line + call.lineno - 1)
        self._asked: Counter[str] = Counter()
        self._counts: Mapping[str, int] = {}

    def start(self, text: str) -> None:
        """Begin with the operations of a function, given its text."""
        self._asked.clear()
        self._counts = Counter(_OPERATION.findall(text))

    def line_of(self, name: str) -> int | None:
        """Return the line of the next operation of a kind."""
        lines = self._lines.get(name)
        if not lines:
            return None
        index = self._asked[name]
        self._asked[name] += 1
        if self._counts.get(name) == len(lines):
            return lines[index]
        return lines[0] if len(set(lines)) == 1 else None
