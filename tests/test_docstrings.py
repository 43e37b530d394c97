"""Public names: what they take, give and raise is said where a reader asks for help."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGES = ("cudaq_target", "cudaq_target.coupler", "cudaq_target.kernels")
pytestmark = pytest.mark.filterwarnings("ignore:The CUDA-Q:FutureWarning")


def own_names(package: str) -> Iterator[tuple[str, Any]]:
    """Public names that are defined here."""
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if getattr(value, "__module__", "").startswith("cudaq_target"):
            yield name, value


def functions(package: str) -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Public functions, methods and initialisers, with the text that explains them."""
    for name, value in own_names(package):
        if inspect.isfunction(value):
            yield name, value, inspect.getdoc(value) or ""
        if not inspect.isclass(value):
            continue
        for member, raw in vars(value).items():
            function = getattr(raw, "__func__", raw)
            if not member.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{member}", function, inspect.getdoc(getattr(value, member)) or ""
        start = vars(value).get("__init__")
        if inspect.isfunction(start) and not getattr(value, "_is_protocol", False):
            said = f"{inspect.getdoc(value)}\n{inspect.getdoc(start)}"
            yield f"{name}.__init__", start, said


def silent_parameters(function: Callable[..., Any], said: str) -> Iterator[str]:
    """Parameters that a text does not speak of, by name, without its unit or in the singular."""
    for parameter in inspect.signature(function).parameters:
        bare = re.sub(r"_(ns|s|us|um|rad|hz|bytes)$", "", parameter)
        ways = {parameter, bare, bare.replace("_", " "), bare.rstrip("s")}
        spoken = any(re.search(rf"\b{re.escape(way)}\b", said, re.IGNORECASE) for way in ways)
        if parameter not in ("self", "cls") and not parameter.startswith("_") and not spoken:
            yield parameter


def silent_errors(function: Callable[..., Any], said: str) -> Iterator[str]:
    """Errors of a function's own body of which a text names neither the class nor one above it."""
    for name in own_errors(function):
        known = function.__globals__.get(name) or getattr(builtins, name, None)
        ways = {one.__name__ for one in getattr(known, "__mro__", ())} - {"Exception"} | {name}
        if not any(way in said for way in ways):
            yield name


def own_errors(function: Callable[..., Any]) -> set[str]:
    """Names of the errors that a function's own body raises."""
    try:
        source = inspect.getsource(function)
    except OSError:  # a dataclass wrote it
        return set()
    tree = ast.parse(textwrap.dedent(source))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    called = [error.func if isinstance(error, ast.Call) else error for error in raised]
    names = {error.id for error in called if isinstance(error, ast.Name)}
    return {name for name in names if name.endswith("Error")}


def gives_something(function: Callable[..., Any]) -> bool:
    return inspect.signature(function).return_annotation not in ("None", None, inspect._empty)


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_speak_of_every_parameter_result_and_error(package: str) -> None:
    gaps = []
    for name, function, said in functions(package):
        gaps += [f"{name}: {parameter}" for parameter in silent_parameters(function, said)]
        gaps += [f"{name}: raises {error}" for error in silent_errors(function, said)]
        if (
            "." not in name
            and gives_something(function)
            and not re.search("Returns:|Yields:", said)
        ):
            gaps.append(f"{name}: what it returns")
    assert gaps == []


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_name_no_parameter_that_is_not_there(package: str) -> None:
    stale = []
    for name, function, said in functions(package):
        section = re.search(r"^Args:\n((?: {4,}.*\n?|\n)+)", said, re.MULTILINE)
        named = re.findall(r"^ {4}\*{0,2}(\w+)(?: \(.*?\))?:", section[1] if section else "", re.M)
        known = inspect.signature(function).parameters
        stale += [f"{name}: {one}" for one in named if one not in known]
    assert stale == []
