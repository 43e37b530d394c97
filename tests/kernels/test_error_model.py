"""Detector error models: read as Stim reads them, or refused with their line."""

from __future__ import annotations

import math

import numpy as np
import pymatching
import pytest
import stim

from cudaq_target.kernels import KernelInputError, graph_from_dem
from tests.kernels.surface_codes import error_model


def edges_of_pymatching(model):
    """Ends to probability, the boundary as the last vertex."""
    found = {}
    for a, b, attributes in pymatching.Matching(model).edges():
        ends = (a, model.num_detectors) if b is None else (min(a, b), max(a, b))
        found[ends] = attributes["error_probability"]
    return found


@pytest.mark.parametrize(("distance", "rate"), [(3, 1e-3), (3, 0.03), (5, 5e-3)])
def test_the_graph_is_that_of_pymatching(distance, rate):
    model = error_model(distance, rate)
    graph = graph_from_dem(model)
    ours = dict(zip(map(tuple, graph.ends.tolist()), graph.error_rates.tolist(), strict=True))
    theirs = edges_of_pymatching(model)
    assert set(ours) == set(theirs)
    assert all(math.isclose(ours[ends], theirs[ends], rel_tol=1e-9) for ends in ours)
    assert graph.n_detectors == model.num_detectors
    assert graph.n_observables == model.num_observables


def test_repetitions_and_shifts_are_written_out():
    text = """
    error(0.1) D0 L0            # a comment
    REPEAT 3 {
        error[tag](0.01) D0 D1
        repeat 2 {
            error(0.02) D0 ^ D1 L1
            shift_detectors(0, 1) 1
        }
    }
    detector(1, 2) D4
    logical_observable L2
    """
    folded, flat = graph_from_dem(text), graph_from_dem(stim.DetectorErrorModel(text).flattened())
    assert (folded.n_detectors, folded.n_observables) == (11, 3)
    assert np.array_equal(folded.ends, flat.ends)
    assert np.array_equal(folded.flips, flat.flips)
    np.testing.assert_array_equal(folded.error_rates, flat.error_rates)


def test_errors_that_do_nothing_are_left_out():
    graph = graph_from_dem(
        "error(0.1)\nerror(0) D1\nerror(0.2) D0 D0 D1 L0 L0\nlogical_observable L0"
    )
    assert graph.ends.tolist() == [[1, 2]]
    assert not graph.flips.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 detectors and 0 observables"),
        ("error(0.1) D0", "has 1 detectors and 0 observables"),
        ("error(0) D0 L0", "errors are none that can occur"),
        ("detector D0\nlogical_observable L0", "errors are none that can occur"),
        ("error(0.1) D0 D1 D2 L0", "line 1 flips 3 detectors at once; let Stim take it apart"),
        ("error(0.1) L0", "line 1 flips observables alone"),
        ("error(0.1) D0 ^ L0", "line 1 flips observables alone"),
        ("error(0.1) D0 ^", "line 1 has a part that flips nothing"),
        ("error(0.5) D0 L0", "line 1 has probability \\(0.5\\)"),
        ("error(nan) D0 L0", "line 1 has probability \\(nan\\)"),
        ("error(-0.1) D0 L0", "line 1 has probability"),
        ("error(0.1, 0.2) D0 L0", "line 1 has probability"),
        ("error D0 L0", "line 1 has probability \\(\\)"),
        ("error(0.1) X0", "line 1 has target 'X0'"),
        ("error(0.1) D-1", "line 1 has target 'D-1'"),
        ("\nH 0", "line 2 is 'H 0'"),
        ("error(0.1) D0 {", "line 1 is 'error"),
        ("repeat 2", "line 1 is 'repeat 2'"),
        ("repeat x {\n}", "line 1 has targets"),
        ("repeat 2 {\nerror(0.1) D0", "ends within a repetition"),
        ("}", "line 1 is '}'"),
        ("shift_detectors D1", "line 1 has targets"),
    ],
)
def test_models_that_are_refused(text, message):
    with pytest.raises(KernelInputError, match=message):
        graph_from_dem(text)


def test_models_without_end_are_refused(monkeypatch):
    monkeypatch.setattr("cudaq_target.kernels.decoders.error_model.MAX_INSTRUCTIONS", 1000)
    with pytest.raises(KernelInputError, match="more than 1000 instructions"):
        graph_from_dem("repeat 99999999999 {\nerror(0) D0\n}")
