"""The form of packed shots: what passes the checks, and what the messages say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import (
    check_bit_count,
    check_planes,
    check_qubits,
    check_shots,
    word_count,
)
from cudaq_target.shots import Shots
from tests.kernels import backends
from tests.kernels.backends import BAD_SHOTS, NO_SHOTS, random_shots


@pytest.mark.parametrize(("n_bits", "n_words"), [(0, 0), (1, 1), (64, 1), (65, 2), (1000, 16)])
def test_words_hold_64_bits(n_bits: int, n_words: int) -> None:
    assert word_count(n_bits) == n_words


@given(n_shots=backends.shot_counts(), n_bits=backends.bit_counts(), seed=backends.seeds())
def test_packed_shots_pass(n_shots: int, n_bits: int, seed: int) -> None:
    shots = random_shots(np.random.default_rng(seed), n_shots, n_bits)
    check_shots(shots, n_bits, allow_empty=True)
    check_planes(shots, n_bits)
    if n_bits % 64 and n_shots:
        shots[n_shots // 2, -1] |= np.uint64(1 << n_bits % 64)
        row = f"row {n_shots // 2} has a bit set beyond"
        with pytest.raises(KernelInputError, match=f"{row} n_bits = {n_bits}"):
            check_shots(shots, n_bits)
        with pytest.raises(KernelInputError, match=f"{row} n_shots = {n_bits}"):
            check_planes(shots, n_bits)


@pytest.mark.parametrize("name", NO_SHOTS)
def test_only_some_kernels_take_nothing(name: str) -> None:
    shots, n_bits, match = NO_SHOTS[name]
    check_shots(shots, n_bits, allow_empty=True)
    with pytest.raises(KernelInputError, match=match):
        check_shots(shots, n_bits)


@pytest.mark.parametrize("name", BAD_SHOTS)
def test_errors_name_the_argument(name: str) -> None:
    shots, n_bits, match = BAD_SHOTS[name]
    with pytest.raises(KernelInputError, match=match.replace("shots ", "frame ")) as caught:
        check_shots(shots, n_bits, name="frame")
    assert caught.value.argument in ("frame", "n_bits")
    assert isinstance(caught.value, ValueError)


def test_counts_are_integers() -> None:
    check_bit_count(np.uint8(3), at_least=3)
    with pytest.raises(KernelInputError, match="n_bits is 2; this kernel needs at least 3"):
        check_bit_count(2, at_least=3)
    with pytest.raises(KernelInputError, match="n_bits is a str; give an integer"):
        check_bit_count("3")


def test_qubits_come_back_as_integers() -> None:
    assert check_qubits([], 0).dtype == np.int64
    assert check_qubits(np.array([2, 0], dtype=np.uint8), 3).tolist() == [2, 0]
    with pytest.raises(KernelInputError, match="names qubit 3; shots of 3 bits have qubits 0 to 2"):
        check_qubits([1, 3], 3, name="edge")


def test_an_object_that_holds_shots_names_its_parts() -> None:
    with pytest.raises(KernelInputError, match=r"a Shots; pass its \.packed and \.n_bits"):
        check_shots(Shots(np.array([[1]], dtype=np.uint64), 1), 1)  # type: ignore[arg-type]
