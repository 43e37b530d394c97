"""Layout of shots: every back end gives what NumPy gives, and what was undone is as before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import layout
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import word_count
from tests.kernels import backends
from tests.kernels.backends import BACKENDS, COMPILED, bad_shots, random_bits, random_shots

shapes = given(n_shots=backends.shot_counts(), n_bits=backends.bit_counts(), seed=backends.seeds())


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@example(n_shots=0, n_bits=0, seed=0)
@example(n_shots=0, n_bits=65, seed=0)
@example(n_shots=65, n_bits=0, seed=0)
@example(n_shots=1200, n_bits=130, seed=0)
@settings(max_examples=60)
def test_bits_go_to_bytes_and_back(backend, n_shots: int, n_bits: int, seed: int) -> None:
    bits = random_bits(np.random.default_rng(seed), n_shots, n_bits)
    shots = layout.pack_bits(bits, backend=backend)
    assert shots.dtype == np.uint64
    assert np.array_equal(shots, backends.pack(bits))
    assert np.array_equal(layout.pack_bits(bits.astype(np.bool_), backend=backend), shots)
    back = layout.unpack_bits(shots, n_bits, backend=backend)
    assert back.dtype == np.uint8
    assert np.array_equal(back, bits)


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@example(n_shots=0, n_bits=0, seed=0)
@example(n_shots=0, n_bits=3, seed=0)
@example(n_shots=3, n_bits=0, seed=0)
@example(n_shots=1100, n_bits=130, seed=0)
@example(n_shots=130, n_bits=1100, seed=0)
@settings(max_examples=60)
def test_planes_are_columns(backend, n_shots: int, n_bits: int, seed: int) -> None:
    bits = random_bits(np.random.default_rng(seed), n_shots, n_bits)
    shots = backends.pack(bits)
    planes = layout.transpose_bits(shots, n_bits, backend=backend)
    assert planes.shape == (n_bits, word_count(n_shots))
    assert np.array_equal(planes, backends.pack(np.ascontiguousarray(bits.T)))
    assert np.array_equal(layout.planes_to_shots(planes, n_shots, backend=backend), shots)


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@settings(max_examples=40)
def test_kept_shots_keep_their_order(backend, n_shots: int, n_bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shots = random_shots(rng, n_shots, n_bits)
    mask = rng.random(n_shots) < rng.random()
    kept = layout.select_shots(shots, n_bits, mask, backend=backend)
    assert np.array_equal(kept, shots[mask])
    every_other = np.repeat(mask, 2)[::2]
    assert np.array_equal(layout.select_shots(shots, n_bits, every_other, backend=backend), kept)


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@settings(max_examples=40)
def test_post_selection_asks_for_all_outcomes(
    backend, n_shots: int, n_bits: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_shots, n_bits)
    qubits = rng.permutation(n_bits)[: rng.integers(0, 4)]
    outcomes = {int(qubit): int(rng.integers(0, 2)) for qubit in qubits}
    wanted = np.ones(n_shots, dtype=np.bool_)
    for qubit, outcome in outcomes.items():
        wanted &= bits[:, qubit] == outcome
    shots = backends.pack(bits)
    kept = layout.post_select(shots, n_bits, outcomes, backend=backend)
    assert np.array_equal(kept, shots[wanted])


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@example(n_shots=5, n_bits=1000, seed=3)
@settings(max_examples=60)
def test_marginals_hold_the_qubits_in_the_order_asked(
    backend, n_shots: int, n_bits: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_shots, n_bits)
    first, n_kept = (int(rng.integers(0, n_bits + 1)) for _ in range(2))
    for qubits in (rng.permutation(n_bits)[:n_kept], np.arange(first, n_bits)):
        kept = layout.marginal_bits(backends.pack(bits), n_bits, qubits.tolist(), backend=backend)
        assert np.array_equal(kept, backends.pack(bits[:, qubits]))


@pytest.mark.parametrize("backend", BACKENDS)
@given(counts=st.lists(st.integers(0, 70), min_size=1, max_size=5), seed=backends.seeds())
@settings(max_examples=20)
def test_frames_are_joined_in_their_order(backend, counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [(random_shots(rng, n_shots, 65), 65) for n_shots in counts]
    shots, n_bits = layout.concatenate_shots(frames, backend=backend)
    assert n_bits == 65
    assert np.array_equal(shots, np.concatenate([rows for rows, _ in frames]))


@pytest.mark.parametrize("backend", COMPILED)
def test_whole_tiles_and_rests_of_them_agree(backend) -> None:
    rng = np.random.default_rng(7)
    for n_shots in (511, 512, 513, 4096, 5000):
        for n_bits in (64, 511, 512, 513):
            shots = random_shots(rng, n_shots, n_bits)
            planes = layout.transpose_bits(shots, n_bits, backend=backend)
            expected = layout.transpose_bits(shots, n_bits, backend="numpy")
            assert np.array_equal(planes, expected), (n_shots, n_bits)


TAKE_SHOTS = {
    "unpack_bits": layout.unpack_bits,
    "transpose_bits": layout.transpose_bits,
    "select_shots": lambda shots, n_bits, **how: layout.select_shots(
        shots, n_bits, np.ones(len(shots), dtype=np.bool_), **how
    ),
    "post_select": lambda shots, n_bits, **how: layout.post_select(shots, n_bits, {}, **how),
    "marginal_bits": lambda shots, n_bits, **how: layout.marginal_bits(shots, n_bits, [0], **how),
    "concatenate_shots": lambda shots, n_bits, **how: layout.concatenate_shots(
        [(shots, n_bits)], **how
    ),
}


@pytest.mark.parametrize("function", TAKE_SHOTS)
@pytest.mark.parametrize(("shots", "n_bits", "match"), bad_shots(allow_empty=True))
def test_what_is_not_packed_shots_is_refused(function: str, shots, n_bits: int, match: str) -> None:
    match = match.replace("shots ", "(shots|frame 0) ")
    for backend in ("numpy", "cpu"):
        with pytest.raises(KernelInputError, match=match):
            TAKE_SHOTS[function](shots, n_bits, backend=backend)


SHOTS = np.arange(6, dtype=np.uint64)[:, None]
ZEROS = np.zeros((3, 3), dtype=np.uint8)
BAD_CALLS = {
    "bits of int": (lambda: layout.pack_bits(np.zeros((1, 1), dtype=int)), "bits has dtype int64"),
    "bits in a list": (lambda: layout.pack_bits([[0]]), "bits is a list"),
    "one axis of bits": (lambda: layout.pack_bits(ZEROS[0]), r"bits has shape \(3,\)"),
    "strided bits": (lambda: layout.pack_bits(ZEROS[:, ::2]), "bits has strides"),
    "a bit of 2": (lambda: layout.pack_bits(ZEROS + np.uint8(2)), "bits holds 2"),
    "stray bits of planes": (
        lambda: layout.planes_to_shots(SHOTS, 2),
        "planes row 4 has a bit set beyond n_shots = 2",
    ),
    "words of planes": (lambda: layout.planes_to_shots(SHOTS, 65), r"65 shots need \(n_bits, 2\)"),
    "negative shots": (lambda: layout.planes_to_shots(SHOTS, -1), "n_shots is -1"),
    "mask of int": (
        lambda: layout.select_shots(SHOTS, 3, np.ones(6, dtype=np.uint8)),
        r"mask is uint8\(6,\); expected bool\(6,\)",
    ),
    "short mask": (lambda: layout.select_shots(SHOTS, 3, np.ones(5, dtype=bool)), "expected bool"),
    "mask in a list": (lambda: layout.select_shots(SHOTS, 3, [True] * 6), "mask is a list"),
    "missing qubit": (lambda: layout.post_select(SHOTS, 3, {3: 1}), "names qubit 3; shots of 3"),
    "outcome 2": (lambda: layout.post_select(SHOTS, 3, {1: 2}), "qubit 1 the outcome 2"),
    "negative qubit": (lambda: layout.marginal_bits(SHOTS, 3, [-1]), "names qubit -1"),
    "qubit twice": (lambda: layout.marginal_bits(SHOTS, 3, [2, 1, 2]), "names qubit 2 twice"),
    "half a qubit": (lambda: layout.marginal_bits(SHOTS, 3, [0.5]), "an array of float64"),
    "two axes": (lambda: layout.marginal_bits(SHOTS, 3, [[0, 1]]), r"with shape \(1, 2\)"),
    "no frames": (lambda: layout.concatenate_shots([]), "frames is empty"),
    "frames without widths": (lambda: layout.concatenate_shots([SHOTS]), "give pairs"),
    "two widths": (
        lambda: layout.concatenate_shots([(SHOTS, 3), (SHOTS, 4)]),
        "frame 1 has 4 bits per shot, frame 0 has 3",
    ),
    "bits that are no number": (lambda: layout.unpack_bits(SHOTS, 3.0), "n_bits is a float"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_input_is_refused(name: str) -> None:
    call, match = BAD_CALLS[name]
    with pytest.raises(KernelInputError, match=match):
        call()


def test_numbers_of_numpy_are_numbers() -> None:
    for n_bits in (np.int64(3), np.uint64(3)):
        assert layout.unpack_bits(SHOTS, n_bits).shape == (6, 3)
