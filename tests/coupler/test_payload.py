"""Types, packed bits and batches of shots."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.coupler.payload import (
    BATCH_HEADER_BYTES,
    PayloadType,
    argument_bytes,
    pack_bits,
    read_shot_batch,
    row_words,
    shot_batch,
    shots_that_fit,
    unpack_bits,
)


@pytest.mark.parametrize(
    ("kind", "n_elements", "n_bytes"),
    [
        (PayloadType.UINT8, 1, 1),
        (PayloadType.INT32, 1, 4),
        (PayloadType.INT64, 1, 8),
        (PayloadType.FLOAT32, 1, 4),
        (PayloadType.FLOAT64, 1, 8),
        (PayloadType.ARRAY_UINT8, 5, 5),
        (PayloadType.ARRAY_INT32, 5, 20),
        (PayloadType.ARRAY_FLOAT32, 5, 20),
        (PayloadType.ARRAY_FLOAT64, 5, 40),
        (PayloadType.BIT_PACKED, 17, 3),
    ],
)
def test_argument_bytes(kind, n_elements, n_bytes):
    assert argument_bytes(kind, n_elements) == n_bytes


@given(st.lists(st.integers(0, 1), max_size=200))
def test_bits_come_back_least_significant_first(bits):
    packed = pack_bits(np.array(bits, dtype=np.uint8))
    assert int.from_bytes(packed, "little") == sum(bit << k for k, bit in enumerate(bits))
    assert unpack_bits(packed, len(bits)).tolist() == bits


def rows_of(shots, n_qubits):
    words = row_words(n_qubits)
    packed = [[shot >> (64 * w) & (2**64 - 1) for w in range(words)] for shot in shots]
    return np.array(packed, dtype=np.uint64).reshape(len(shots), words)


@st.composite
def batches(draw):
    n_qubits = draw(st.integers(1, 200))
    shots = draw(st.lists(st.integers(0, 2**n_qubits - 1), max_size=8))
    session, first = draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 2**63))
    return shot_batch(session, first, n_qubits, rows_of(shots, n_qubits))


@given(batches())
def test_batches_come_back(batch):
    wire = batch.to_bytes()
    assert len(wire) == BATCH_HEADER_BYTES + 8 * row_words(batch.n_qubits) * batch.n_shots
    again = read_shot_batch(wire)
    assert again is not None
    assert (again.session, again.first_shot_id) == (batch.session, batch.first_shot_id)
    assert again.n_qubits == batch.n_qubits
    np.testing.assert_array_equal(again.rows, batch.rows)


@given(batches(), st.integers(1, 30))
def test_any_change_of_length_is_found(batch, n_bytes):
    wire = batch.to_bytes()
    assert read_shot_batch(wire + bytes(n_bytes)) is None
    assert read_shot_batch(wire[: -min(n_bytes, len(wire))]) is None


def test_batch_as_in_the_document():
    batch = shot_batch(1, 2, 3, rows_of([0b001, 0b110], 3))
    assert batch.to_bytes().hex() == (
        "01000000000000000200000000000000020000000300000001000000000000000600000000000000"
    )


def test_unused_bits_must_be_zero():
    wire = bytearray(shot_batch(1, 0, 3, rows_of([0b111], 3)).to_bytes())
    wire[BATCH_HEADER_BYTES] = 0b1000
    assert read_shot_batch(wire) is None
    with pytest.raises(ValueError, match="beyond qubit 2"):
        shot_batch(1, 0, 3, np.array([[8]], dtype=np.uint64))


def test_shape_must_fit_the_qubits():
    with pytest.raises(ValueError, match=r"expected \(n_shots, 2\)"):
        shot_batch(1, 0, 65, np.zeros((4, 1), dtype=np.uint64))
    with pytest.raises(ValueError, match="0 qubits"):
        shot_batch(1, 0, 0, np.zeros((4, 0), dtype=np.uint64))


def test_header_that_promises_more_than_memory():
    assert read_shot_batch(struct.pack("<QQII", 1, 0, 0xFFFFFFFF, 0xFFFFFFFF)) is None
    assert read_shot_batch(struct.pack("<QQII", 1, 0, 5, 0)) is None
    assert read_shot_batch(struct.pack("<QQII", 1, 2**64 - 1, 1, 1) + bytes(8)) is None


@given(batches(), st.integers(0, 8))
def test_split_and_since_agree(batch, n_shots):
    n_shots = min(n_shots, batch.n_shots)
    head, tail = batch.split(n_shots)
    assert (head.end_shot_id, tail.end_shot_id) == (tail.first_shot_id, batch.end_shot_id)
    np.testing.assert_array_equal(batch.since(tail.first_shot_id).rows, tail.rows)


def test_shots_that_fit_a_slot():
    assert shots_that_fit(100, 24 + 16 * 3 + 15) == 3
    assert shots_that_fit(3, 10) == 0
