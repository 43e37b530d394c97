"""Packing, counting and marginals, as properties of random bits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cudaq_target.shots import Shots, words_per_shot

bit_arrays = st.tuples(st.integers(0, 40), st.integers(0, 140)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1))
)


@given(bit_arrays)
def test_packing_round_trips(bits):
    shots = Shots.from_bits(bits)
    assert shots.packed.shape == (len(bits), words_per_shot(bits.shape[1]))
    np.testing.assert_array_equal(shots.bits(), bits)


@given(bit_arrays)
def test_bit_k_of_a_word_is_qubit_k(bits):
    shots = Shots.from_bits(bits)
    for row, words in zip(bits, shots.packed, strict=True):
        value = sum(int(word) << (64 * j) for j, word in enumerate(words))
        assert [value >> k & 1 for k in range(len(row))] == row.tolist()


@given(bit_arrays)
def test_counts_are_those_of_the_strings(bits):
    shots = Shots.from_bits(bits)
    strings = ["".join(map(str, row)) for row in bits.tolist()]
    assert shots.strings() == strings
    assert shots.counts() == Counter(strings)
    assert list(shots.counts()) == sorted(set(strings))


def test_counts_of_many_shots_of_few_bits_are_in_order():
    rng = np.random.default_rng(3)
    for n_bits, n_shots in ((1, 2), (3, 8), (5, 128), (10, 1024), (10, 1023), (11, 5000)):
        shots = Shots.from_bits(rng.integers(0, 2, (n_shots, n_bits)))
        wanted = Counter(shots.strings())
        assert list(shots.counts().items()) == sorted(wanted.items())
    none = Shots(np.zeros((0, 1), dtype=np.uint64), 4)
    assert none.counts() == {}


@given(bit_arrays)
def test_counts_round_trip(bits):
    counts = Shots.from_bits(bits).counts()
    assert Shots.from_counts(counts).counts() == counts


@given(bit_arrays, st.data())
def test_marginal_selects_columns_in_order(bits, data):
    n_bits = bits.shape[1]
    columns = st.lists(st.integers(0, n_bits - 1), max_size=5) if n_bits else st.just([])
    qubits = data.draw(columns)
    np.testing.assert_array_equal(Shots.from_bits(bits).marginal(qubits).bits(), bits[:, qubits])


@given(bit_arrays)
def test_outcomes_rebuild_the_shots(bits):
    shots = Shots.from_bits(bits)
    distinct, counts, which = shots.outcomes()
    np.testing.assert_array_equal(distinct.bits()[which], bits)
    np.testing.assert_array_equal(np.bincount(which, minlength=len(distinct)), counts)


def test_qubit_0_is_leftmost():
    shots = Shots.from_bits(np.array([[1, 0, 0]], dtype=np.uint8))
    assert shots.counts() == {"100": 1}
    assert shots.packed[0, 0] == 1


def test_malformed_input_is_refused():
    with pytest.raises(ValueError, match="not int64"):
        Shots(np.zeros((2, 1), dtype=np.int64), 3)
    with pytest.raises(ValueError, match=r"shape \(n_shots, 2\)"):
        Shots(np.zeros((2, 1), dtype=np.uint64), 65)
    with pytest.raises(ValueError, match="beyond bit 2"):
        Shots(np.full((1, 1), 8, dtype=np.uint64), 3)
    with pytest.raises(ValueError, match="same length"):
        Shots.from_counts({"0": 1, "00": 1})
    with pytest.raises(IndexError, match="bit 3 of shots that have 3 bits"):
        Shots.from_counts({"000": 1}).marginal([3])


def test_shots_introduce_themselves_in_one_line() -> None:
    assert repr(Shots.from_counts({"10": 3})) == "<Shots: 3 shots of 2 bits>"
