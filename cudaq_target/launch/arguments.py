"""Options that all launch functions share."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING

from cudaq_target.errors import OptionError
from cudaq_target.options import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def shots_or(given: object, of_target: int | None, default: int) -> int:
    """Decide on the number of shots.

    Args:
        given: `shots_count` of the call, or None.
        of_target: `shots` of the target, or None.
        default: CUDA-Q's own default.

    Returns:
        The first of these that is set.

    Raises:
        OptionError: `shots_count` is no whole number, or negative.
    """
    if given is None:
        return default if of_target is None else of_target
    if isinstance(given, bool) or not hasattr(given, "__index__") or given.__index__() < 0:
        raise OptionError(f"shots_count {given!r}", "not allowed", "Give a whole number, 0 or more")
    return int(given.__index__())


def shots_or_exact(given: object) -> int | None:
    """Decide between shots and exact values.

    Args:
        given: `shots_count` of the call; None, 0 and negative numbers mean exact values.

    Returns:
        Number of shots, or None for exact values.

    Raises:
        OptionError: `shots_count` is no whole number.
    """
    if given is None or (isinstance(given, int) and given <= 0 and not isinstance(given, bool)):
        return None
    return shots_or(given, None, 0)


def refuse_noise_model(noise_model: object) -> None:
    """Refuse a noise model of CUDA-Q's.

    Raises:
        OptionError: There is one.
    """
    if noise_model is not None:
        raise OptionError(
            "noise_model",
            "CUDA-Q's noise models act on gates of the kernel, which become pulses on atoms here",
            "Give the noise of the atoms: cudaq.set_target(Pasqal(noise=pulser.NoiseModel(...)))",
        )


def refuse_qpu(qpu_id: int) -> None:
    """Refuse any but the first QPU.

    Raises:
        OptionError: Another one was asked for.
    """
    if qpu_id != 0:
        raise OptionError(f"qpu_id {qpu_id!r}", "this target has one QPU", "Give qpu_id=0")


def refuse_unknown(function: Callable[..., object], name: str, given: Iterable[str]) -> None:
    """Refuse options that a launch function does not have.

    Args:
        function: The function of ours, which takes a session first.
        name: Name of the function as the user wrote it.
        given: Names of the options of the call.

    Raises:
        OptionError: One of them is unknown; names the nearest known one.
    """
    known = _parameters(function)
    if known is None:
        return
    allowed, options = known
    for option in given:
        if option not in allowed:
            raise OptionError(
                f"option {option!r} of {name}",
                "unknown option",
                nearest(option, options) if options else "Leave it out: there are no options",
            )


@cache
def _parameters(function: Callable[..., object]) -> tuple[frozenset[str], list[str]] | None:
    """Names of all parameters but the session, and those of options; None where any is taken."""
    _, *parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    options = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    return frozenset(each.name for each in parameters), options
