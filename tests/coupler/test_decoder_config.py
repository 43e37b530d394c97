"""Configuration files of decoders: NVIDIA's, ours, and broken ones."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cudaq_target.coupler.decoder_config import read_decoders
from cudaq_target.coupler.errors import DecoderConfigError
from tests.coupler.published_shots import published_decoder

ENTRY = """\
  - id:              {number}
    type:            multi_error_lut
    block_size:      3
    syndrome_size:   3
    H_sparse:        [ 0, -1, 1, -1,   # comment
                       2, -1 ]
    O_sparse:        [ 0, -1, 1, -1, 2, -1 ]
    D_sparse:        [ 0, -1, 1, -1, 2, -1 ]
    decoder_custom_args:
      lut_error_depth: 2
"""


def config(*numbers):
    return "---\ndecoders:\n" + "".join(ENTRY.format(number=n) for n in numbers) + "...\n"


def test_decoders_in_the_order_of_their_ids():
    first, second = read_decoders(config(1, 0))
    assert (first.n_measurements, second.n_observables) == (3, 3)
    assert first.decode(np.array([1, 0, 1], dtype=np.uint8)).tolist() == [1, 0, 1]


def test_published_file():
    decoder = published_decoder()
    assert (decoder.n_measurements, decoder.n_observables) == (144, 1)
    assert decoder.decoder.n_detectors == 120


def test_depth_is_one_by_default():
    text = config(0).replace("    decoder_custom_args:\n      lut_error_depth: 2\n", "")
    (decoder,) = read_decoders(text)
    assert decoder.decode(np.array([1, 0, 1], dtype=np.uint8)).tolist() == [0, 0, 0]


BROKEN = [
    ("decoders:", "deciders:", "line 2: the file must begin with 'decoders:'"),
    ("  - id: ", "    id: ", "line 3: each decoder begins with '- '"),
    ("id:              0", "id:              1", "ids [1] do not count up from 0"),
    ("id:              0", "id:              one", "an id of its own"),
    ("multi_error_lut", "nv_qldpc", "type nv_qldpc is not built in"),
    ("block_size:      3", "block_size:      0", "block_size must be a whole number of at least 1"),
    ("block_size:      3", "block_size:      2", "lies outside a matrix of 2 columns"),
    ("syndrome_size:   3", "syndrome_size:   4", "H has 3 rows and D has 3; syndrome_size is 4"),
    ("2, -1 ]\n    O", "2 ]\n    O", "-1 after each row"),
    ("O_sparse:        [ 0,", "O_sparse:        [ 0.5,", "whole numbers only"),
    ("O_sparse:        [ 0, -1, 1, -1, 2, -1 ]", "O_sparse: word", "O_sparse must be a list"),
    ("lut_error_depth: 2", "opt: 2", "lut_error_depth, nothing else"),
    ("lut_error_depth: 2", "lut_error_depth: &x", "value '&x' is not understood"),
    ("    type: ", "    id: 1\n    type: ", "id is given twice"),
    ("    type: ", "    speed: 1\n    type: ", "speed has no meaning"),
    ("    type: ", "    - \n    type: ", "is no 'key: value'"),
]


@pytest.mark.parametrize(("before", "after", "message"), BROKEN)
def test_broken_files(before, after, message):
    text = config(0)
    assert before in text
    with pytest.raises(DecoderConfigError) as caught:
        read_decoders(text.replace(before, after, 1))
    assert message in str(caught.value)


def test_nothing_at_all():
    with pytest.raises(DecoderConfigError, match="do not count up"):
        read_decoders("decoders:\n")


LINE = """\
decoders:
  - id:              0
    type:            {kind}
    block_size:      4
    syndrome_size:   3
    H_sparse:        [ 0, 1, -1, 1, 2, -1, 2, 3, -1 ]
    O_sparse:        [ 0, -1 ]
    D_sparse:        [ 0, -1, 0, 1, -1, 1, -1 ]
    decoder_custom_args:
      error_rate_vec: [ 0.1, 1e-2, .02, 0.1 ]
"""


@pytest.mark.parametrize("kind", ["union_find", "pymatching"])
def test_decoders_of_graphs(kind):
    (decoder,) = read_decoders(LINE.format(kind=kind))
    assert (decoder.n_measurements, decoder.n_observables) == (2, 1)
    # Detectors are 1 1 0 (error 1), 0 1 1 (error 2), 1 0 1 (0 and 3, likelier than 1 and 2).
    found = [decoder.decode(np.array(bits, dtype=np.uint8)).tolist() for bits in ((1, 0), (0, 1))]
    assert found == [[0], [0]]
    assert decoder.decode(np.array([1, 1], dtype=np.uint8)).tolist() == [1]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("0.1, 1e-2", "0.1", "error_rates have shape (3,); give one for each of 4 errors"),
        ("1e-2", "0.5", "error_rates hold 0.5 for error 1"),
        ("1e-2", "nan", "a list may hold numbers only"),
        ("[ 0.1, 1e-2, .02, 0.1 ]", "0", "needs error_rate_vec, a list"),
        ("error_rate_vec", "merge_strategy", "may hold error_rate_vec, nothing else"),
        ("2, 3, -1", "1, 2, 3, -1", "checks have 3 ones in column 1"),
        ("2, 3, -1", "2, -1", "checks have no one in column 3"),
        ("2, 3, -1", "2, 4, -1", "index 4 lies outside a matrix of 4 columns"),
    ],
)
def test_broken_graphs(before, after, message):
    text = LINE.format(kind="union_find")
    assert before in text
    with pytest.raises(DecoderConfigError) as caught:
        read_decoders(text.replace(before, after, 1))
    assert message in str(caught.value)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymatching", None)
    with pytest.raises(DecoderConfigError, match="needs the package pymatching"):
        read_decoders(LINE.format(kind="pymatching"))
