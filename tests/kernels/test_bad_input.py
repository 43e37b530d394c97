"""Every public kernel refuses every kind of bad input, before anything is computed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from cudaq_target import kernels
from cudaq_target.kernels import backends
from cudaq_target.kernels.errors import BackendUnavailableError, KernelError, KernelInputError
from tests.kernels.backends import NO_SHOTS
from tests.kernels.public_calls import BAD, CALLS, LAYOUT, N_BITS, all_bad_calls, spoil

FUNCTIONS = sorted(
    name for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name, None))
)
WITH_BACKENDS = [
    name for name in FUNCTIONS if "backend" in inspect.signature(getattr(kernels, name)).parameters
]
SHOTS = {"shots", "strings", "zeros", "ones"}
TAKE_SHOTS = [
    name
    for name in sorted(set(CALLS) - LAYOUT)
    if SHOTS & set(CALLS[name](np.random.default_rng(1), 1, 1))
]


def good_arguments(name: str) -> dict[str, object]:
    return CALLS[name](np.random.default_rng(1), N_BITS, N_BITS)


@pytest.fixture
def nothing_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every implementation, of any back end, fail the test."""

    def load(package: str, family: str) -> None:
        pytest.fail(f"{package}.{family} was loaded before the input was checked")

    monkeypatch.setattr(backends, "_module", load)


def test_the_tables_hold_every_kernel_and_argument() -> None:
    assert set(CALLS) == set(FUNCTIONS)
    for name in FUNCTIONS:
        arguments = set(inspect.signature(getattr(kernels, name)).parameters) - {"backend"}
        assert arguments == set(good_arguments(name)), name
        assert arguments <= set(BAD), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_good_call_is_taken(name: str) -> None:
    for backend in ("numpy", "cpu"):
        how = {"backend": backend} if name in WITH_BACKENDS else {}
        getattr(kernels, name)(**good_arguments(name), **how)


@pytest.mark.usefixtures("nothing_computes")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_input_is_refused(name: str) -> None:
    taken = []
    for kernel, argument, what in all_bad_calls():
        if kernel != name:
            continue
        for backend in ("numpy", "cpu"):
            good = good_arguments(name)
            spoiled = good | {argument: spoil(name, argument, good[argument])[what]}
            how = {"backend": backend} if name in WITH_BACKENDS else {}
            try:
                getattr(kernels, name)(**spoiled, **how)
            except KernelInputError as error:
                assert str(error)  # noqa: PT017 - all cases in one test, or there would be a thousand
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the one wanted
                taken.append(f"{argument} {what}, {backend}: {error!r}")
                continue
            taken.append(f"{argument} {what}, {backend}: taken")
    assert not taken


@pytest.mark.usefixtures("nothing_computes")
@pytest.mark.parametrize("name", TAKE_SHOTS)
@pytest.mark.parametrize("case", NO_SHOTS)
def test_no_shots_and_no_qubits_are_refused(name: str, case: str) -> None:
    arguments = good_arguments(name)
    shots, n_bits, _ = NO_SHOTS[case]
    if case == "no qubits":
        arguments |= dict.fromkeys({"masks"} & set(arguments), shots)
    arguments |= dict.fromkeys(SHOTS & set(arguments), shots) | {"n_bits": n_bits}
    with pytest.raises(KernelInputError, match=r"holds no shots|n_bits is 0"):
        getattr(kernels, name)(**arguments)


@pytest.mark.parametrize("name", WITH_BACKENDS)
def test_back_ends_that_are_not_there_are_errors(name: str) -> None:
    with pytest.raises(KernelInputError, match="backend is 'cuda'"):
        getattr(kernels, name)(**good_arguments(name), backend="cuda")
    if backends.gpu_missing():
        with pytest.raises(BackendUnavailableError, match="backend 'gpu' needs"):
            getattr(kernels, name)(**good_arguments(name), backend="gpu")


def test_errors_have_one_root() -> None:
    assert issubclass(KernelInputError, KernelError)
    assert issubclass(KernelInputError, ValueError)
    assert issubclass(BackendUnavailableError, KernelError)
