"""Memory circuits of two codes: what is measured when, what it means, and the decoder's settings.

Rounds are raw measurements, as a controller has them: the check qubits of each round, then the data
qubits, which end the shot. Stim makes the circuits and samples their noise; nothing else needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from cudaq_target.coupler.errors import MemoryExperimentError
from cudaq_target.kernels.decoders.error_model import graph_from_dem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Bits = NDArray[np.uint8]

CODES: Final = {
    "repetition": "repetition_code:memory",
    "surface": "surface_code:rotated_memory_z",
}
DECODERS: Final = {
    "union_find": "union_find",
    "lookup": "multi_error_lut",
    "pymatching": "pymatching",
}
LOOKUP_ERRORS: Final = 2
MIN_DISTANCE: Final = 3
MAX_SHOTS: Final = 10_000_000
MAX_CHECKS: Final = 10_000
"""In all rounds of a shot: their decoder takes minutes to make, and grows with the square."""
_NOISE: Final = (
    "after_clifford_depolarization",
    "before_round_data_depolarization",
    "before_measure_flip_probability",
    "after_reset_flip_probability",
)
_Stim: TypeAlias = Any  # an optional package


@dataclass(frozen=True, slots=True)
class MemoryCode:
    """A memory experiment, without its shots.

    Attributes:
        name: One of `CODES`.
        distance: Of the code.
        n_check_rounds: Rounds of check measurements per shot; the data qubits come after them.
        error_rate: Probability of each of Stim's four kinds of circuit noise.
        decoder: One of `DECODERS`.
        bits_per_round: Measured bits of each round, the data qubits last, shape (n_rounds,).
        logical: Measurements whose parity is the logical bit, which was prepared as 0.
        config: Settings of the decoder, as `decoder_config.read_decoders` takes them.
        matching_config: The same for PyMatching, which all decoders are compared with.
    """

    name: str
    distance: int
    n_check_rounds: int
    error_rate: float
    decoder: str
    bits_per_round: tuple[int, ...]
    logical: tuple[int, ...]
    config: str = field(repr=False)
    matching_config: str = field(repr=False)

    @property
    def n_rounds(self) -> int:
        """Rounds that a shot sends, that of the data qubits included."""
        return len(self.bits_per_round)

    @property
    def n_bits(self) -> int:
        """Measured bits of a shot."""
        return sum(self.bits_per_round)

    def __str__(self) -> str:
        return (
            f"{self.name} code of distance {self.distance}, {self.n_check_rounds} rounds, "
            f"p = {self.error_rate:g}, {self.decoder}"
        )


def memory_code(
    name: str = "repetition",
    distance: int = 3,
    rounds: int | None = None,
    p: float = 0.01,
    decoder: str = "union_find",
) -> MemoryCode:
    """Make a memory experiment.

    Args:
        name: "repetition" or "surface" (rotated, the logical Z is kept).
        distance: Odd, at least 3.
        rounds: Rounds of check measurements per shot, at least 2; the distance by default.
        p: Probability of each kind of noise: depolarisation after each gate and of the data before
            each round, flips before each measurement and after each reset; in (0, 0.5).
        decoder: "union_find", "lookup" (sets of up to 2 errors) or "pymatching".

    Returns:
        The experiment, with the settings of its decoder.

    Raises:
        MemoryExperimentError: An argument is out of range, or Stim is not installed.
    """
    n_check_rounds = distance if rounds is None else rounds
    _check(name, distance, n_check_rounds, p, decoder)
    circuit = _circuit(name, distance, n_check_rounds, p)
    detectors, logical = _parities(circuit)
    n_data = distance if name == "repetition" else distance**2
    n_checks = (circuit.num_measurements - n_data) // n_check_rounds
    return MemoryCode(
        name=name,
        distance=distance,
        n_check_rounds=n_check_rounds,
        error_rate=p,
        decoder=decoder,
        bits_per_round=(n_checks,) * n_check_rounds + (n_data,),
        logical=logical,
        config=_config(circuit, detectors, decoder),
        matching_config=_config(circuit, detectors, "pymatching"),
    )


def sample_shots(code: MemoryCode, n_shots: int, seed: int) -> Bits:
    """Measure shots of a noisy circuit.

    Args:
        code: From `memory_code`.
        n_shots: At least 1.
        seed: The same seed gives the same bits with the same version of Stim on the same kind of
            processor.

    Returns:
        Zeros and ones, shape (n_shots, n_bits).

    Raises:
        MemoryExperimentError: The number of shots or the seed is out of range.
    """
    if not 1 <= n_shots <= MAX_SHOTS:
        raise MemoryExperimentError("shots", f"{n_shots}", f"Use 1 to {MAX_SHOTS}")
    if not 0 <= seed < 1 << 63:
        raise MemoryExperimentError("seed", f"{seed}", "Use 0 to 2^63 - 1")
    circuit = _circuit(code.name, code.distance, code.n_check_rounds, code.error_rate)
    bits: Bits = circuit.compile_sampler(seed=seed).sample(n_shots).astype(np.uint8)
    return bits


def logical_bits(code: MemoryCode, bits: Bits) -> Bits:
    """Read the logical bit of each shot, before any correction.

    Args:
        code: From `memory_code`.
        bits: Shape (n_shots, n_bits).

    Returns:
        Shape (n_shots,).
    """
    parity: Bits = np.bitwise_xor.reduce(bits[:, list(code.logical)], axis=1)
    return parity


def _check(name: str, distance: int, rounds: int, p: float, decoder: str) -> None:
    for what, given, known in (("code", name, CODES), ("decoder", decoder, DECODERS)):
        if given not in known:
            raise MemoryExperimentError(what, f"{given!r} is unknown", f"Use {', '.join(known)}")
    if distance < MIN_DISTANCE or distance % 2 == 0:
        remedy = f"Use an odd number of at least {MIN_DISTANCE}"
        raise MemoryExperimentError("distance", f"{distance}", remedy)
    if rounds < 2:
        raise MemoryExperimentError("rounds", f"{rounds}", "Use at least 2")
    n_checks = (distance - 1 if name == "repetition" else distance**2 - 1) * (rounds + 1)
    if n_checks > MAX_CHECKS:
        reason = f"{distance}, with {rounds} rounds of checks, makes {n_checks} checks"
        raise MemoryExperimentError("distance", reason, f"Use at most {MAX_CHECKS} checks")
    if not 0.0 < p < 0.5:
        raise MemoryExperimentError("p", f"{p:g}", "Use a probability above 0 and below 0.5")


def _circuit(name: str, distance: int, rounds: int, p: float) -> _Stim:
    try:
        import stim  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        reason = "Stim, which samples the noise, is not installed"
        raise MemoryExperimentError("stim", reason, "pip install stim") from error
    noise = dict.fromkeys(_NOISE, p)
    return stim.Circuit.generated(CODES[name], distance=distance, rounds=rounds, **noise)


def _parities(circuit: _Stim) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """Measurements of each detector, and of the logical observable."""
    detectors: list[tuple[int, ...]] = []
    logical: set[int] = set()
    n_measured = 0
    for instruction in circuit.flattened():
        if instruction.name in {"DETECTOR", "OBSERVABLE_INCLUDE"}:
            measured = [n_measured + target.value for target in instruction.targets_copy()]
            if instruction.name == "DETECTOR":
                detectors.append(tuple(sorted(measured)))
            else:
                logical ^= set(measured)
        else:
            n_measured += instruction.num_measurements
    return detectors, tuple(sorted(logical))


def _config(circuit: _Stim, detectors: Sequence[tuple[int, ...]], decoder: str) -> str:
    """Write the settings of a decoder as cudaq-qec's files hold them."""
    if decoder == "lookup":
        checks, logical = _errors(circuit)
        argument = f"lut_error_depth: {LOOKUP_ERRORS}"
    else:
        graph = graph_from_dem(circuit.detector_error_model(decompose_errors=True))
        checks = [{int(end) for end in ends} - {graph.n_detectors} for ends in graph.ends]
        logical = np.flatnonzero(graph.flips[:, 0]).tolist()
        rates = ", ".join(repr(float(rate)) for rate in graph.error_rates)
        argument = f"error_rate_vec: [ {rates} ]"
    rows = [[k for k, ends in enumerate(checks) if row in ends] for row in range(len(detectors))]
    return (
        f"decoders:\n  - id: 0\n    type: {DECODERS[decoder]}\n"
        f"    block_size: {len(checks)}\n    syndrome_size: {len(detectors)}\n"
        f"    H_sparse: {_sparse(rows)}\n    O_sparse: {_sparse([logical])}\n"
        f"    D_sparse: {_sparse(detectors)}\n"
        f"    decoder_custom_args:\n      {argument}\n"
    )


def _errors(circuit: _Stim) -> tuple[list[set[int]], list[int]]:
    """Detectors of each error, and which errors flip the logical bit; likely errors first."""
    found = []
    for instruction in circuit.detector_error_model().flattened():
        if instruction.type == "error":
            targets = instruction.targets_copy()
            ends = {target.val for target in targets if target.is_relative_detector_id()}
            flips = any(target.is_logical_observable_id() for target in targets)
            found.append((float(instruction.args_copy()[0]), ends, flips))
    found.sort(key=lambda one: -one[0])  # among sets of one size, a look-up prefers the first
    flipping = [k for k, (_, _, flips) in enumerate(found) if flips]
    return [ends for _, ends, _ in found], flipping


def _sparse(rows: Iterable[Iterable[int]]) -> str:
    numbers = [number for row in rows for number in (*row, -1)]
    return f"[ {', '.join(map(str, numbers))} ]"
