"""What all decoders share: the interface, its checks, graphs, and those of other packages."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from cudaq_target.kernels import (
    BackendUnavailableError,
    KernelInputError,
    LookupDecoder,
    PyMatchingDecoder,
    UnionFindDecoder,
    build_table,
    graph_from_checks,
    graph_from_dem,
)
from cudaq_target.kernels.decoders.cudaq_qec import CudaqQecDecoder
from cudaq_target.kernels.decoders.measured import MeasurementDecoder
from tests.kernels.backends import bad_shots, pack
from tests.kernels.surface_codes import error_model, failures, sampled

# A line of four errors between three detectors; the first and the last end at the boundary.
CHECKS = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], dtype=np.uint8)
FIRST = np.array([[1, 0, 0, 0]], dtype=np.uint8)
HAS_CUDAQ_QEC = importlib.util.find_spec("cudaq_qec") is not None
NEEDS_CUDAQ_QEC = pytest.mark.skipif(not HAS_CUDAQ_QEC, reason="cudaq-qec is not installed")

DECODERS = {
    "union find": lambda: UnionFindDecoder(graph_from_checks(CHECKS, FIRST, 0.01)),
    "pymatching": lambda: PyMatchingDecoder(graph_from_checks(CHECKS, FIRST, 0.01)),
    "look-up": lambda: LookupDecoder(build_table(CHECKS, FIRST, 2)),
    "cudaq-qec, single": lambda: CudaqQecDecoder("single_error_lut", CHECKS, FIRST),
    "cudaq-qec, multi": lambda: CudaqQecDecoder(
        "multi_error_lut", CHECKS, FIRST, lut_error_depth=2
    ),
    "cudaq-qec, pymatching": lambda: CudaqQecDecoder(
        "pymatching", CHECKS, FIRST, error_rate_vec=[0.01] * 4
    ),
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=[NEEDS_CUDAQ_QEC] if "qec" in name else []) for name in DECODERS
    ]
)
def decoder(request):
    return DECODERS[request.param]()


def test_single_errors_are_corrected(decoder):
    syndromes = pack(np.ascontiguousarray(CHECKS.T))
    assert (decoder.n_detectors, decoder.n_observables) == (3, 1)
    assert decoder.decode(syndromes).tolist() == [[1], [0], [0], [0]]
    assert [decoder.decode_one(row).tolist() for row in syndromes] == [[1], [0], [0], [0]]


@pytest.mark.parametrize(("syndromes", "n_bits", "match"), bad_shots())
def test_what_is_no_syndrome_is_refused(syndromes, n_bits, match):
    if n_bits != 3:
        pytest.skip("of another width")
    decoder = DECODERS["union find"]()
    with pytest.raises(KernelInputError, match=match.replace("shots ", "syndromes ", 1)):
        decoder.decode(syndromes)


def test_one_syndrome_is_one_row():
    decoder = DECODERS["union find"]()
    with pytest.raises(KernelInputError, match="syndrome has 2 axes; give one row"):
        decoder.decode_one(np.zeros((1, 1), dtype=np.uint64))
    with pytest.raises(KernelInputError, match="syndromes has shape \\(1, 2\\)"):
        decoder.decode_one(np.zeros(2, dtype=np.uint64))
    with pytest.raises(KernelInputError, match="is a list"):
        decoder.decode_one([0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checks": CHECKS.astype(float)}, "checks has dtype float64"),
        ({"checks": CHECKS[:0]}, "checks has shape \\(0, 4\\)"),
        ({"checks": CHECKS[0]}, "checks has shape \\(4,\\)"),
        ({"checks": CHECKS * 2}, "checks holds 2 in row 0, column 0"),
        ({"checks": np.vstack([CHECKS, [[0, 1, 0, 0]]])}, "3 ones in column 1"),
        ({"checks": CHECKS * [1, 0, 1, 1]}, "checks have no one in column 1"),
        ({"observables": FIRST[:, :3]}, "observables have 3 columns; the checks have 4 errors"),
        ({"observables": FIRST[:0]}, "observables has shape"),
        ({"error_rates": 0.5}, "error_rates hold 0.5 for error 0"),
        ({"error_rates": np.array([0.1, np.nan, 0.1, 0.1])}, "hold nan for error 1"),
        ({"error_rates": np.array([0.1, 0.1, -0.1, 0.1])}, "hold -0.1 for error 2"),
        ({"error_rates": np.full(3, 0.1)}, "have shape \\(3,\\); give one for each of 4 errors"),
        ({"error_rates": np.zeros(4, dtype=int)}, "error_rates have dtype int64"),
        ({"error_rates": 0.0}, "errors are none that can occur"),
    ],
)
def test_graphs_that_are_refused(changes, message):
    arguments = {"checks": CHECKS, "observables": FIRST, "error_rates": 0.1} | changes
    with pytest.raises(KernelInputError, match=message):
        graph_from_checks(**arguments)


def test_parallel_errors_become_one_edge():
    checks = np.array([[1, 1, 1, 1]])
    observables = np.array([[0, 0, 1, 1]])
    graph = graph_from_checks(checks, observables, np.array([0.1, 0.2, 0.05, 0.3]))
    assert graph.ends.tolist() == [[0, 1]]
    assert graph.flips.tolist() == [[1]]
    np.testing.assert_allclose(graph.error_rates, [0.05 * 0.7 + 0.3 * 0.95])
    np.testing.assert_allclose(graph.weights, np.log(1 / graph.error_rates - 1))


def test_matching_is_that_of_pymatching():
    import pymatching

    model = error_model(5, 0.01)
    syndromes, flipped = sampled(5, 0.01, 3000)
    theirs = pymatching.Matching(model).decode_batch(
        syndromes.view(np.uint8)[:, : (model.num_detectors + 7) // 8].copy(), bit_packed_shots=True
    )[:, 0]
    ours = PyMatchingDecoder(graph_from_dem(model)).decode(syndromes)[:, 0]
    assert (ours != theirs).mean() < 0.002  # of two corrections of one weight, each may take one
    assert abs(int((ours != flipped).sum()) - int((theirs != flipped).sum())) < 10


def test_matching_refuses_what_no_errors_give():
    ring = graph_from_checks(np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]]), np.ones((1, 3), int), 0.1)
    with pytest.raises(KernelInputError, match="PyMatching says"):
        PyMatchingDecoder(ring).decode(np.array([[1]], dtype=np.uint64))


@pytest.mark.parametrize(
    ("module", "make", "message"),
    [
        ("pymatching", DECODERS["pymatching"], "needs the package pymatching; install"),
        ("cudaq_qec", DECODERS["cudaq-qec, single"], "needs the package cudaq-qec-cu12"),
    ],
)
def test_packages_that_are_missing_are_named(module, make, message, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendUnavailableError, match=message):
        make()


@NEEDS_CUDAQ_QEC
def test_cudaq_qec_refuses_unknown_decoders():
    with pytest.raises(KernelInputError, match="decoder is 'unknown'"):
        CudaqQecDecoder("unknown", CHECKS, FIRST)


def test_measurements_become_detectors():
    """Two rounds of a check and the readout; a flip of the readout is seen by one detector."""
    rows = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]])
    decoder = MeasurementDecoder(rows, DECODERS["union find"]())
    shots = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]], dtype=np.uint8)
    lit = (shots @ rows.T % 2).astype(np.uint8)
    expected = decoder.decoder.decode(pack(lit))
    assert np.array_equal(decoder.decode_shots(pack(shots)), expected)
    assert [decoder.decode(shot).tolist() for shot in shots] == expected.tolist()
    with pytest.raises(KernelInputError, match="measurements have shape \\(2,\\)"):
        decoder.decode(shots[0, :2])
    with pytest.raises(KernelInputError, match="are 2 detectors; the decoder takes 3"):
        MeasurementDecoder(rows[:2], decoder.decoder)


def test_failures_of_a_surface_code_are_rare():
    syndromes, flipped = sampled(3, 1e-3, 20_000)
    decoder = PyMatchingDecoder(graph_from_dem(error_model(3, 1e-3)))
    assert failures(decoder, syndromes, flipped) < flipped.sum() / 5


def test_parallel_errors_may_add_up_to_one_half():
    """Nothing is known then, and a decoder still answers."""
    graph = graph_from_checks(np.ones((1, 60), int), np.ones((1, 60), int), 0.499)
    assert graph.error_rates.tolist() == [0.5]
    assert UnionFindDecoder(graph).decode_one(np.array([1], dtype=np.uint64)).tolist() == [1]


@pytest.mark.parametrize("make", [UnionFindDecoder, PyMatchingDecoder, LookupDecoder])
def test_what_is_no_graph_and_no_table_is_refused(make) -> None:
    wrong = build_table(CHECKS, FIRST) if make is not LookupDecoder else CHECKS
    with pytest.raises(KernelInputError, match=f"is of type {type(wrong).__name__}; give a"):
        make(wrong)


def test_graphs_and_tables_introduce_themselves_in_a_line() -> None:
    graph = graph_from_checks(CHECKS, FIRST, 0.01)
    assert repr(graph) == "<DecodingGraph: 4 errors, 3 detectors, 1 observables>"
    assert repr(build_table(CHECKS, FIRST)).startswith("<LookupTable: ")


def test_an_error_model_is_text_or_of_stim() -> None:
    with pytest.raises(KernelInputError, match="model is of type NoneType; give its text"):
        graph_from_dem(None)
