"""Put our launch functions in front of CUDA-Q's own, which still serve every other target.

CUDA-Q's launch machinery knows a Python endpoint for `sample` and `observe` only, and crashes the
process for the asynchronous functions. So while this target is in force its public functions call
`cudaq_target.launch` instead; at all other times they hand over to the original unchanged.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from cudaq_target import target
from cudaq_target.coupler.interrupts import interruptible
from cudaq_target.launch.arguments import refuse_noise_model, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

# Public name, module of ours, module of CUDA-Q's that holds the original under the same name.
LAUNCHES = (
    ("sample", "sample", "cudaq.runtime.sample"),
    ("sample_async", "sample", "cudaq.runtime.sample"),
    ("observe", "observe", "cudaq.runtime.observe"),
    ("observe_async", "observe", "cudaq.runtime.observe"),
    ("run", "run", "cudaq.runtime.run"),
    ("run_async", "run", "cudaq.runtime.run"),
    ("get_state", "state", "cudaq.runtime.state"),
    ("get_state_async", "state", "cudaq.runtime.state"),
)
ANALOG = ("evolve", "evolve_async")
NOISY = ("sample", "sample_async")  # of `cudaq.ptsbe`
# These look at a kernel without running it; CUDA-Q does that on a simulator only.
INSPECTIONS = ("draw", "get_unitary", "estimate", "estimate_resources", "dem_from_kernel")
Value = TypeVar("Value")
_MARK = "__cudaq_target_original__"

# Whether CUDA-Q is launching, and which call of which kernel it is launching.
_inside_cudaq: ContextVar[bool] = ContextVar("inside_cudaq", default=False)
_launched: ContextVar[tuple[Any, tuple[object, ...]] | None] = ContextVar("launched", default=None)


def launched() -> tuple[Any, tuple[object, ...]] | None:
    """Return kernel and arguments of the call that CUDA-Q is launching in this thread, if any."""
    return _launched.get()


def set_target(cudaq: ModuleType) -> None:
    """Wrap `cudaq.set_target`, so that options are honoured or refused by name."""
    original = _unwrapped(cudaq.set_target)

    @wraps(original)
    def replacement(chosen: object, **extra: object) -> object:
        return target.select(original, chosen, extra)

    _install(cudaq, "set_target", replacement, original)


def launches(cudaq: ModuleType) -> None:
    """Wrap everything of CUDA-Q's that launches a kernel."""
    for name, ours, theirs in LAUNCHES:
        # `cudaq.runtime.sample` is a module and, in the package above it, a function: fetch the
        # module from the import system.
        holder = import_module(theirs)
        original = _unwrapped(getattr(holder, name))
        replacement = _launch(original, f"cudaq_target.launch.{ours}", name)
        _install(cudaq, name, replacement, original)
        _install(holder, name, replacement, original)
    for name in ANALOG:
        replacement = _launch(_lazy_original(name), "cudaq_target.launch.evolve", name)
        _install(cudaq, name, replacement, replacement)
    ptsbe = import_module("cudaq.runtime.ptsbe")
    for name in NOISY:
        original = _unwrapped(getattr(ptsbe, name))
        replacement = _launch(original, "cudaq_target.launch.refused", f"ptsbe_{name}")
        _install(ptsbe, name, replacement, original)
    for name in INSPECTIONS:
        original = _unwrapped(getattr(cudaq, name))
        _install(cudaq, name, _inspection(original), original)
    for kernel_type in (cudaq.PyKernelDecorator, cudaq.PyKernel):
        original = _unwrapped(kernel_type.__call__)
        _install(kernel_type, "__call__", _direct_call(original), original)
    for name in ("launch_sample", "launch_observe", "launch_dem"):
        original = _unwrapped(getattr(cudaq.cudaq_runtime, name))
        _install(cudaq.cudaq_runtime, name, _stock_launch(original), original)
    for name in ("launch_analog_kernel", "launch_analog_kernel_async"):
        original = _unwrapped(getattr(cudaq.cudaq_runtime, name))
        replacement = _launch(original, "cudaq_target.launch.refused", name)
        _install(cudaq.cudaq_runtime, name, replacement, original)


def random_seed(cudaq_runtime: ModuleType) -> None:
    """Wrap `set_random_seed`, so that it seeds this target too."""
    original = _unwrapped(cudaq_runtime.set_random_seed)

    @wraps(original)
    def replacement(seed: int) -> None:
        original(seed)
        target.remember_seed(seed)

    _install(cudaq_runtime, "set_random_seed", replacement, original)


def noise(cudaq_runtime: ModuleType) -> None:
    """Wrap `set_noise` and `unset_noise`: a noise model of CUDA-Q's is refused, not ignored.

    A change of target clears CUDA-Q's noise model, so that this target never has one to unset.
    """
    set_original = _unwrapped(cudaq_runtime.set_noise)
    unset_original = _unwrapped(cudaq_runtime.unset_noise)

    @wraps(set_original)
    def set_noise(model: object) -> None:
        if target.active() is not None:
            refuse_noise_model(model)
        set_original(model)

    @wraps(unset_original)
    def unset_noise() -> None:
        if target.active() is None:
            unset_original()

    _install(cudaq_runtime, "set_noise", set_noise, set_original)
    _install(cudaq_runtime, "unset_noise", unset_noise, unset_original)


def command_line(cudaq_runtime: ModuleType) -> None:
    """Wrap `initialize_cudaq`, which selects the target of `--target` without telling anyone."""
    original = _unwrapped(cudaq_runtime.initialize_cudaq)

    @wraps(original)
    def replacement(**arguments: object) -> None:
        original(**arguments)
        if arguments.get("target") == target.NAME:
            cudaq_runtime.set_target(target.NAME)

    _install(cudaq_runtime, "initialize_cudaq", replacement, original)


def _launch(original: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    @wraps(original)
    def replacement(*args: object, **kwargs: object) -> object:
        session = target.active()
        if session is None:
            return original(*args, **kwargs)
        with interruptible():
            ours = getattr(import_module(module), name)
            if kwargs:
                refuse_unknown(ours, original.__name__, kwargs)
            return ours(session, *args, **kwargs)

    return replacement


def _lazy_original(name: str) -> Callable[..., Any]:
    def original(*args: object, **kwargs: object) -> object:
        # Importing this at start-up would double the time of `import cudaq`.
        return getattr(import_module("cudaq.dynamics.evolution"), name)(*args, **kwargs)

    original.__name__ = original.__qualname__ = name
    original.__module__ = "cudaq.dynamics.evolution"
    original.__doc__ = f"See `cudaq.dynamics.evolution.{name}`."
    return original


def _inspection(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def replacement(*args: object, **kwargs: object) -> object:
        if target.active() is None:
            return original(*args, **kwargs)
        with target.suspended():
            return original(*args, **kwargs)

    return replacement


def _direct_call(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def replacement(kernel: object, *args: object) -> object:
        session = target.active()
        if session is None:
            return original(kernel, *args)
        if _inside_cudaq.get():
            with _set(_launched, (kernel, args)):
                return original(kernel, *args)
        return import_module("cudaq_target.launch.run").call(session, kernel, *args)

    return replacement


def _stock_launch(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def replacement(*args: object) -> object:
        # CUDA-Q calls the kernel back to compile it and hand it to the endpoint; that call must
        # go through.
        with _set(_inside_cudaq, value=True):
            return original(*args)

    return replacement


@contextmanager
def _set(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _install(
    holder: object, name: str, replacement: Callable[..., Any], original: Callable[..., Any]
) -> None:
    setattr(replacement, _MARK, original)
    setattr(holder, name, replacement)


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return CUDA-Q's own function, also when we are registered twice."""
    original: Callable[..., Any] = getattr(function, _MARK, function)
    return original
