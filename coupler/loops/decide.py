"""Decisions without Python: a compiled handler that a machine asks after every block of shots.

The request is a batch of shots (`FORMAT.md`, call `decide`), its session the run. The handler adds
its values to the tally of the setting that runs, applies the rule of `tallies.Rule` after every
whole block, and answers u32 decision, f64 mean, low and high of the whole estimate. It calls the
functions that `estimators.MeanEstimator` calls, in the same order, so that both decide alike and
their numbers are equal bit for bit. The interpreter's lock is not taken.

Everything it reads lies in one array of 64-bit words, so that one compiled function serves every
estimator: counters, numbers, rule, tally, boundary, room to work in, then the tables of each
setting. On a GPU, `coupler.gpu_server` answers mean Ising energies for the same request
(`kernels.persistent_functions.ising_mean`), without rule or interval; decisions are taken here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import carray, cfunc

from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.control_messages import DECIDE, DECISION
from cudaq_target.coupler.handlers import INTERNAL_ERROR, Handler
from cudaq_target.coupler.loops.errors import UndecidableError
from cudaq_target.coupler.loops.estimators import MeanEstimator
from cudaq_target.coupler.loops.policies import PlannedPolicy
from cudaq_target.coupler.loops.shot_functions import ShotFunction, shot_values_
from cudaq_target.coupler.loops.tallies import (
    LOW,
    MEAN,
    SPAN,
    TALLY_WORDS,
    N,
    Rule,
    advance_,
    deviation_,
    half_width_,
    stops_,
)
from cudaq_target.coupler.payload import row_words, shots_that_fit
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.coupler.shot_handlers import batch_shape
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.intake import Intake
    from cudaq_target.coupler.loops.interface import Estimator, Experiment, Policy

    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

_BAD_REQUEST = 2  # `frame.Status`; a literal, as compiled code knows no enumerations
_HEADER_BYTES = 24
_ANSWER_BYTES: Final = DECISION.size

# Places of the counters, in words.
_N_WORDS, _SESSION, _NEXT_SHOT, _SETTING, _BLOCK, _MAX_SHOTS, _N_RUN, _DECIDED = range(8)
_N_BITS, _MAX_ROWS, _BOUNDARY, _ROOM, _SETTINGS, _N_BOUNDARY = range(8, 14)
# Places of the numbers.
_OTHERS, _OTHERS_LOW, _OTHERS_HIGH, _PRIOR, _NORMAL = range(16, 21)
_ANSWER, _RULE, _TALLY, _HEAD_WORDS = 21, 24, 32, 40
# Entries of a setting's part of the directory: places and lengths of its tables.
_KIND, _CONSTANT, _MASKS, _N_MASKS, _ADDS, _N_ADDS, _TABLE, _N_TABLE = range(8)
_STARTS, _N_STARTS, _QUBITS, _N_QUBITS, _FACTORS, _N_FACTORS = range(8, 14)
_DIRECTORY_WORDS = 16


@compiled
def decide_(arguments: Bytes, result: Bytes, state: Words) -> int:
    """Take in a block and answer it.

    Args:
        arguments: A batch of shots.
        result: Room for the answer.
        state: See the places above.

    Returns:
        Bytes of the answer; minus BAD_REQUEST for what is no next batch of the run.
    """
    counters, numbers = state.view(np.int64), state.view(np.float64)
    n_shots, n_bits = batch_shape(arguments)
    if n_shots < 1 or n_bits != counters[_N_BITS] or n_shots > counters[_MAX_ROWS]:
        return -_BAD_REQUEST
    words = arguments.view(np.uint64)
    if words[0] != state[_SESSION] or np.int64(words[1]) != counters[_NEXT_SHOT]:
        return -_BAD_REQUEST
    if len(result) < 28:
        return -_BAD_REQUEST
    rows = words[3:].reshape((n_shots, (n_bits + 63) // 64))
    values = numbers[counters[_ROOM] : counters[_ROOM] + n_shots]
    evaluate_(rows, values, state, counters, numbers)
    counters[_NEXT_SHOT] += n_shots
    tally = numbers[_TALLY : _TALLY + TALLY_WORDS]
    boundary = numbers[counters[_BOUNDARY] : counters[_BOUNDARY] + counters[_N_BOUNDARY]]
    first = 0
    half = -1.0
    while first < n_shots and counters[_DECIDED] == 0:
        n_to_block = counters[_BLOCK] - counters[_N_RUN] % counters[_BLOCK]
        end = min(n_shots, first + n_to_block)
        if not advance_(values[first:end], tally):
            return -_BAD_REQUEST
        counters[_N_RUN] += end - first
        first = end
        half = -1.0
        is_whole = counters[_N_RUN] % counters[_BLOCK] == 0
        if is_whole and counters[_N_RUN] < counters[_MAX_SHOTS]:
            deviation = deviation_(tally, numbers[_PRIOR])
            half = half_(numbers, boundary, tally, deviation)
            rule = numbers[_RULE : _RULE + 7]
            counters[_DECIDED] = 1 if stops_(rule, tally[N], deviation, half) else 0
    if half < 0.0:
        half = half_(numbers, boundary, tally, deviation_(tally, numbers[_PRIOR]))
    answer_(result, state, counters, numbers, tally, half)
    return 28


@compiled(inline=True)
def half_(numbers: Reals, boundary: Reals, tally: Reals, deviation: float) -> float:
    """Half the width of the running setting's interval, of the estimator's kind."""
    if numbers[_NORMAL] > 0.0:
        return float(numbers[_NORMAL] * deviation / np.sqrt(tally[N]))
    return half_width_(boundary, tally)


@compiled(inline=True)
def evaluate_(rows: Words, values: Reals, state: Words, counters: Counts, numbers: Reals) -> None:
    """Write the value of each shot in the setting that runs."""
    at = counters[_SETTINGS] + counters[_SETTING] * _DIRECTORY_WORDS
    part = counters[at : at + _DIRECTORY_WORDS]
    n_words = rows.shape[1]
    masks = state[part[_MASKS] : part[_MASKS] + part[_N_MASKS] * n_words]
    adds = numbers[part[_ADDS] : part[_ADDS] + 2 * part[_N_ADDS]]
    factors = numbers[part[_FACTORS] : part[_FACTORS] + 2 * part[_N_FACTORS]]
    shot_values_(
        part[_KIND],
        rows,
        masks.reshape((part[_N_MASKS], n_words)),
        adds.reshape((part[_N_ADDS], 2)),
        counters[part[_STARTS] : part[_STARTS] + part[_N_STARTS]],
        counters[part[_QUBITS] : part[_QUBITS] + part[_N_QUBITS]],
        factors.reshape((part[_N_FACTORS], 2)),
        numbers[at + _CONSTANT],
        state[part[_TABLE] : part[_TABLE] + part[_N_TABLE]],
        values,
    )


@compiled(inline=True)
def answer_(
    result: Bytes, state: Words, counters: Counts, numbers: Reals, tally: Reals, half: float
) -> None:
    """Write u32 decision, f64 mean, low, high of the whole estimate."""
    low, high = tally[MEAN] - half, tally[MEAN] + half
    if numbers[_NORMAL] <= 0.0:
        low, high = max(low, tally[LOW]), min(high, tally[LOW] + tally[SPAN])
    numbers[_ANSWER] = numbers[_OTHERS] + tally[MEAN]
    numbers[_ANSWER + 1] = numbers[_OTHERS_LOW] + low
    numbers[_ANSWER + 2] = numbers[_OTHERS_HIGH] + high
    # The numbers follow a u32 and lie across words: they are copied byte by byte.
    answered = state.view(np.uint8)
    result[0] = counters[_DECIDED]
    for k in range(1, 4):
        result[k] = 0
    for k in range(24):
        result[4 + k] = answered[8 * _ANSWER + k]


@cache
def decision_handler() -> Handler:
    """Compile the handler; once per process, and kept on disk like the kernels."""

    def call(
        source: Any,  # noqa: ANN401 - Numba's pointers have no type in Python
        target: Any,  # noqa: ANN401
        arg_len: int,
        max_len: int,
        result_len: Any,  # noqa: ANN401
        state: Any,  # noqa: ANN401
    ) -> int:
        n_bytes = 8 * carray(state, (8,)).view(np.int64)[0]
        memory = carray(state, (n_bytes,)).view(np.uint64)
        try:
            n_answered = decide_(carray(source, (arg_len,)), carray(target, (max_len,)), memory)
        except Exception:  # noqa: BLE001 - the boundary: the machine gets a status
            return INTERNAL_ERROR
        result_len[0] = max(n_answered, 0)
        return max(-n_answered, 0)

    pointer = "CPointer(uint8)"
    signature = f"int32({pointer}, {pointer}, uint32, uint32, CPointer(uint32), {pointer})"
    code = cfunc(signature)(call)
    return Handler(code.address, 8 * _HEAD_WORDS, code)


class DecisionState:
    """The memory of a handler: what it reads of an estimator, and what it counts."""

    def __init__(self, estimator: MeanEstimator, n_bits: int, max_rows: int) -> None:
        """Copy the tables of an estimator.

        Args:
            estimator: One that `check_decidable` accepts.
            n_bits: Bits per shot.
            max_rows: Shots per request at most.
        """
        self._estimator = estimator
        self._parts: list[NDArray[Any]] = [np.zeros(_HEAD_WORDS, dtype=np.uint64)]
        self._n_words = _HEAD_WORDS
        places: dict[int, int] = {_N_BITS: n_bits, _MAX_ROWS: max_rows}
        boundary = estimator.boundary
        places[_BOUNDARY], places[_N_BOUNDARY] = self._put(boundary), len(boundary)
        places[_ROOM] = self._put(np.zeros(max_rows))
        directory = np.concatenate([self._directory(one) for one in estimator.functions])  # type: ignore[arg-type]
        places[_SETTINGS] = self._put(directory)
        self.words: Words = np.concatenate(
            [part.reshape(-1).view(np.uint64) for part in self._parts]
        )
        self._counters = self.words.view(np.int64)
        self._numbers = self.words.view(np.float64)
        for place, value in places.items():
            self._counters[place] = value
        self._counters[_N_WORDS] = len(self.words)
        self._numbers[_PRIOR] = estimator.prior_shots
        self._numbers[_NORMAL] = (
            estimator.normal_quantile if estimator.interval == "normal" else 0.0
        )

    @property
    def n_run(self) -> int:
        """Shots of the run that the handler took in."""
        return int(self._counters[_N_RUN])

    @property
    def has_stopped(self) -> bool:
        """Whether the handler told the machine to stop this run."""
        return bool(self._counters[_DECIDED])

    def arm(
        self, session: int, experiment: Experiment, block: int, rule: Rule, intake: Intake
    ) -> None:
        """Prepare for a run; no request of another one is taken from now on.

        Args:
            session: Number of the run on the machine.
            experiment: What is measured.
            block: Shots between two decisions.
            rule: When to stop.
            intake: Has taken part of this run, where an earlier attempt was lost.
        """
        counters, numbers, setting = self._counters, self._numbers, experiment.setting
        self.words[_SESSION] = np.uint64(session)
        counters[_NEXT_SHOT], counters[_SETTING], counters[_DECIDED] = 0, setting, 0
        counters[_BLOCK], counters[_MAX_SHOTS] = block, experiment.max_shots
        counters[_N_RUN] = intake.n_used + intake.n_held
        numbers[_RULE : _RULE + 7] = rule.to_array()
        tally = self._estimator.tallies[setting].copy()
        if intake.n_held:
            advance_(self._estimator.functions[setting].values(intake.held), tally)
        numbers[_TALLY : _TALLY + TALLY_WORDS] = tally
        mean, low, high = self._others(setting)
        numbers[_OTHERS], numbers[_OTHERS_LOW], numbers[_OTHERS_HIGH] = mean, low, high

    def _others(self, setting: int) -> tuple[float, float, float]:
        """The constant and the means and intervals of the settings that do not run."""
        estimate = self._estimator.estimate()
        mean = low = high = self._estimator.constant
        for k, tally in enumerate(self._estimator.tallies):
            if k != setting and tally[N]:
                half = estimate.half_widths[k]
                mean += float(tally[MEAN])
                low += max(float(tally[MEAN]) - half, float(tally[LOW]))
                high += min(float(tally[MEAN]) + half, float(tally[LOW] + tally[SPAN]))
            elif k != setting:
                mean = float("nan")
                low += float(tally[LOW])
                high += float(tally[LOW] + tally[SPAN])
        return mean, low, high

    def _put(self, part: NDArray[Any]) -> int:
        place = self._n_words
        self._parts.append(np.ascontiguousarray(part))
        self._n_words += part.size
        return place

    def _directory(self, function: ShotFunction) -> Words:
        entries = np.zeros(_DIRECTORY_WORDS, dtype=np.int64)
        entries[_KIND] = int(function.kind)
        entries[_CONSTANT : _CONSTANT + 1].view(np.float64)[0] = function.constant
        entries[_MASKS], entries[_N_MASKS] = self._put(function.masks), len(function.masks)
        entries[_ADDS], entries[_N_ADDS] = self._put(function.adds), len(function.adds)
        entries[_STARTS], entries[_N_STARTS] = self._put(function.starts), function.starts.size
        entries[_QUBITS], entries[_N_QUBITS] = self._put(function.qubits), function.qubits.size
        entries[_FACTORS], entries[_N_FACTORS] = self._put(function.factors), len(function.factors)
        entries[_TABLE], entries[_N_TABLE] = self._put(function.table), function.table.size
        return entries.view(np.uint64)


class DecisionServer(Closing):
    """Serves the decisions of a loop at an endpoint."""

    def __init__(
        self,
        estimator: Estimator,
        policy: Policy,
        endpoint: str,
        options: TransportOptions | None = None,
    ) -> None:
        """Compile, and start to serve.

        Args:
            estimator: Of the loop.
            policy: Of the loop.
            endpoint: On the controller's own host.
            options: Geometry, that of the controller.

        Raises:
            UndecidableError: Compiled code cannot decide for these.
            AddressInUseError: Another server listens there.
        """
        self._policy, means = check_decidable(estimator, policy)
        chosen = options or TransportOptions()
        n_bits = means.functions[0].n_bits
        max_rows = shots_that_fit(n_bits, chosen.slot_bytes - _HEADER_BYTES)
        self.state = DecisionState(means, n_bits, max_rows)
        dispatcher = Dispatcher()
        memory = self.state.words.view(np.uint8)
        decision_handler().add_to(
            dispatcher, DECIDE, state=memory, min_arg_bytes=_HEADER_BYTES + 8 * row_words(n_bits)
        )
        self._server = serve(dispatcher, endpoint, options=chosen)
        self.endpoint = str(self._server.endpoint)

    def arm(self, session: int, experiment: Experiment, block: int, intake: Intake) -> None:
        """Prepare for a run; see `DecisionState.arm`."""
        rule = self._policy.rule or Rule()
        self.state.arm(session, experiment, block, rule, intake)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


def check_decidable(estimator: Estimator, policy: Policy) -> tuple[PlannedPolicy, MeanEstimator]:
    """Refuse what only Python can decide.

    Raises:
        UndecidableError: The estimator has no tables, or the policy no rule.
    """
    if not isinstance(estimator, MeanEstimator):
        raise UndecidableError("estimator", "it is no MeanEstimator")
    if not all(isinstance(one, ShotFunction) for one in estimator.functions):
        raise UndecidableError("estimator", "a value of a shot has no tables")
    if len({one.n_bits for one in estimator.functions}) != 1:
        raise UndecidableError("estimator", "its settings have different numbers of bits")
    judges = getattr(type(policy), "judge", None)
    if not isinstance(policy, PlannedPolicy) or judges is not PlannedPolicy.judge:
        raise UndecidableError("policy", "it has no rule; a PlannedPolicy has")
    return policy, estimator
