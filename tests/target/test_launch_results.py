"""Our data as CUDA-Q's result objects."""

from __future__ import annotations

import logging

import cudaq
import numpy as np
import pytest
from cudaq import spin
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.errors import OptionError
from cudaq_target.launch.results import (
    encode,
    observe_result,
    sample_result,
)
from cudaq_target.shots import Shots, shots_of

BITS = np.array([[1, 0, 0], [1, 0, 1], [1, 0, 0]], dtype=np.uint8)

tables = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
    st.integers(1, 63).flatmap(
        lambda width: st.dictionaries(
            st.text("01", min_size=width, max_size=width), st.integers(1, 1000), min_size=1
        )
    ),
    max_size=4,
)


@given(tables)
def test_encoding_is_the_one_cudaq_reads(registers):
    result = cudaq.SampleResult()
    result.deserialize(encode(registers))
    assert set(result.register_names) - {"__global__"} == set(registers) - {"__global__"}
    for name, counts in registers.items():
        assert dict(result.get_register_counts(name).items()) == counts


def test_counts_registers_annotations_and_shots():
    shots = Shots.from_bits(BITS)
    registers = {"__global__": (0, 2), "last": (2,), "swapped": (2, 0)}
    result = sample_result(shots, registers, {"job_id": "abc", "machine": "local"})
    assert isinstance(result, cudaq.SampleResult)
    assert dict(result.items()) == {"10": 2, "11": 1}
    assert result.get_total_shots() == 3
    assert dict(result.get_register_counts("last").items()) == {"0": 2, "1": 1}
    assert dict(result.get_register_counts("swapped").items()) == {"01": 2, "11": 1}
    assert result.annotations == {"job_id": "abc", "machine": "local"}
    assert result.get_sequential_data() == ["10", "11", "10"]
    assert result.get_sequential_data("swapped") == ["01", "11", "01"]
    assert result.most_probable() == "10"
    assert shots_of(result) is shots


def test_more_bits_than_a_word():
    bits = np.zeros((2, 70), dtype=np.uint8)
    bits[1, 69] = 1
    result = sample_result(Shots.from_bits(bits))
    assert dict(result.items()) == {"0" * 70: 1, "0" * 69 + "1": 1}


def test_a_register_too_wide_for_cudaq_is_reported(caplog):
    with caplog.at_level(logging.WARNING, logger="cudaq_target"):
        assert encode({"wide": {"0" * 64: 1}, "narrow": {"1": 2}}) == encode({"narrow": {"1": 2}})
    assert "register 'wide' has more than 63 bits" in caplog.text


def test_adding_results_keeps_shots_where_they_fit():
    total = sample_result(Shots.from_bits(BITS))
    total += sample_result(Shots.from_bits(BITS[:1]))
    assert total.get_total_shots() == 4
    assert total.get_sequential_data() == ["100", "101", "100", "100"]
    total += cudaq.SampleResult({"100": 5})
    assert dict(total.items()) == {"100": 8, "101": 1}
    with pytest.raises(OptionError, match="keeps no single shots"):
        shots_of(total)


def test_adding_results_is_silent_and_keeps_the_first_origin(capfd):
    """CUDA-Q prints a warning for each annotation that differs."""
    registers = {"__global__": (0, 1, 2), "last": (2,)}
    total, other = (
        sample_result(Shots.from_bits(BITS), registers, {"job_id": job}) for job in "ab"
    )
    total += other
    assert total.annotations == {"job_id": "a"}
    assert other.annotations == {"job_id": "b"}
    assert dict(total.items()) == {"100": 4, "101": 2}
    assert total.get_total_shots() == 6
    assert dict(total.get_register_counts("last").items()) == {"0": 4, "1": 2}
    assert tuple(capfd.readouterr()) == ("", "")


def test_shots_of_a_foreign_result_are_refused():
    with pytest.raises(OptionError, match=r"Give a result of cudaq\.sample on the target pasqal"):
        shots_of(cudaq.SampleResult({"0": 1}))


def test_shots_become_a_result():
    result = Shots.from_bits(BITS).to_sample_result()
    assert dict(result.items()) == {"100": 2, "101": 1}


def canonical(operator):
    operator.canonicalize()
    return operator


def test_exact_values_of_terms():
    operator = canonical(2 * spin.z(0) + spin.x(1) * spin.z(2) + 0.5)
    result = observe_result(
        operator, 1.25, {"Z0": 0.5, "X1Z2": -0.25}, {"Z0": {}, "X1Z2": {}}, {"machine": "local"}
    )
    assert isinstance(result, cudaq.ObserveResult)
    assert result.expectation() == 1.25
    assert result.expectation(spin.z(0)) == 0.5
    assert result.expectation(3 * spin.z(2) * spin.x(1)) == -0.25
    assert [result.expectation(term) for term in operator if not term.is_identity()] == [0.5, -0.25]
    assert set(result.counts().register_names) == {"__global__", "Z0", "X1Z2"}
    assert result.counts().annotations == {"machine": "local"}


def test_counts_of_terms():
    operator = canonical(spin.z(0) + spin.x(1))
    tables = {"Z0": {"0": 3, "1": 1}, "X1": {"1": 4}}
    result = observe_result(operator, -0.5, {"Z0": 0.5, "X1": -1.0}, tables, {})
    assert dict(result.counts(spin.z(0)).items()) == tables["Z0"]
    assert result.counts().expectation("X1") == -1.0
    # CUDA-Q's own object, made from the same counts, says the same.
    plain = cudaq.ObserveResult(-0.5, operator, result.counts())
    assert plain.expectation(spin.z(0)) == 0.5
