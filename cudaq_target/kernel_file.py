"""Kernels from a user's Python file: found, compiled and sampled without changing the target."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cudaq_target import host
from cudaq_target.errors import OptionError, TargetError
from cudaq_target.options import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from cudaq_target.program import Program
    from cudaq_target.target import Session

_MODULE = "cudaq_target_user_file"


def load(place: str) -> Any:  # noqa: ANN401 - a kernel of CUDA-Q's, decorated or built
    """Import a user's file and return one of its kernels.

    What the file prints goes to standard error, which keeps results on standard output apart.

    Args:
        place: `FILE.py:KERNEL`, or `FILE.py` where the file holds one kernel.

    Returns:
        The kernel.

    Raises:
        HostError: CUDA-Q is missing or of an unsupported version.
        OptionError: The file cannot be read or run, or holds no such kernel.
    """
    name, _, kernel = place.partition(".py:")
    path = Path(f"{name}.py" if kernel else place)
    if path.suffix != ".py" or not path.is_file():
        raise OptionError(
            f"kernel {place!r}",
            "no such Python file",
            "Give FILE.py:KERNEL, or a program written by cudaq-target compile --output",
        )
    import_host()
    kernels = _kernels_of(_imported(path))
    if not kernel and len(kernels) == 1:
        return next(iter(kernels.values()))
    if kernel not in kernels:
        places = ", ".join(f"{path}:{known}" for known in kernels)
        raise OptionError(
            f"kernel {place!r}",
            f"{path} has no kernel {kernel!r}" if kernel else f"{path} has {len(kernels)} kernels",
            nearest(kernel, kernels) if kernel else f"Give one of them: {places or 'none'}",
        )
    return kernels[kernel]


def import_host() -> None:
    """Import CUDA-Q without the warning about its future that it gives at every start.

    Raises:
        HostError: CUDA-Q is missing or of an unsupported version.
    """
    host.require()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The CUDA-Q", FutureWarning)
        import_module("cudaq")


def parse_arguments(texts: Sequence[str]) -> list[object]:
    """Read a kernel's arguments, one JSON value each.

    Raises:
        OptionError: A text is no JSON.

    >>> parse_arguments(["4", "[0.5, 1e-3]"])
    [4, [0.5, 0.001]]
    """
    values: list[object] = []
    for text in texts:
        try:
            values.append(json.loads(text))
        except ValueError as error:
            raise OptionError(
                f"argument {text!r}",
                "it is no JSON value",
                "Write numbers as 0.5, lists as '[1, 2]', texts as '\"XX\"'",
            ) from error
    return values


def compiled(kernel: object, arguments: Sequence[object], session: Session) -> Program:
    """Compile a kernel with a session's device, layout and route; nothing runs."""
    from cudaq_target.launch import kernels  # noqa: PLC0415

    with contextlib.redirect_stdout(sys.stderr):  # CUDA-Q prints escape codes before its errors
        bound = kernels.bind(session, kernel, arguments)
    return bound.program()


def sampled(
    kernel: object, arguments: Sequence[object], session: Session, n_shots: int | None
) -> dict[str, int]:
    """Sample a kernel on a session's machine.

    Returns:
        Bit string, qubit 0 leftmost, to number of shots.
    """
    from cudaq_target.launch.sample import sample  # noqa: PLC0415

    with contextlib.redirect_stdout(sys.stderr):  # CUDA-Q prints escape codes before its errors
        result = sample(session, kernel, *arguments, shots_count=n_shots)
    if isinstance(result, list):
        raise OptionError(
            "arguments",
            "they are lists where the kernel takes numbers, which means many runs",
            "Give one set of arguments",
        )
    return dict(sorted((str(bits), int(n)) for bits, n in result.items()))


def device_name(session: Session) -> str:
    """Return the name of the session's device for kernels."""
    from cudaq_target.launch import kernels  # noqa: PLC0415

    return kernels.rules_of(session).name


def _imported(path: Path) -> ModuleType:
    loader = SourceFileLoader(_MODULE, str(path))
    module = importlib.util.module_from_spec(ModuleSpec(_MODULE, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[_MODULE] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            loader.exec_module(module)
    except TargetError:
        raise
    except Exception as error:  # the file is the user's
        raise OptionError(
            f"file {str(path)!r}",
            f"it fails when it is imported: {type(error).__name__}: {error}",
            "Correct the file; code that is not to run here belongs under "
            "if __name__ == '__main__':",
        ) from error
    finally:
        sys.path.pop(0)
    return module


def _kernels_of(module: ModuleType) -> dict[str, Any]:
    import cudaq  # noqa: PLC0415

    kinds = (cudaq.PyKernelDecorator, cudaq.PyKernel)
    return {name: value for name, value in vars(module).items() if isinstance(value, kinds)}
