"""Files of events for tests of what reads them, from short loops over real links."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.errors import LoopError
from cudaq_target.coupler.loops.estimators import EnergyEstimator
from cudaq_target.coupler.loops.loop import FeedbackLoop
from cudaq_target.coupler.loops.optimisers import GradientDescent, Refinement
from cudaq_target.coupler.loops.policies import Minimise
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.shot_plans import Allocation
from cudaq_target.coupler.server import serve
from tests.coupler.loop_machine import CoinMachine

if TYPE_CHECKING:
    from pathlib import Path

    from cudaq_target.coupler.loops.interface import LoopResult

TERMS = {"ZII": 0.5, "IZZ": 0.2, "XII": 1.0}


def minimum(path: Path, *, fails_after: int | None = None, **options) -> LoopResult:
    """A search over two settings of coins, whose shots stop early."""
    texts = [{"n_bits": 3, "bias": 0.1}, {"n_bits": 3, "bias": 0.7, "fail_after": fails_after}]
    program = LoopProgram(tuple(map(json.dumps, texts)), 3, names=("t_rad",))
    optimiser = GradientDescent([0.4], rate=0.5, n_steps=2, errors=Refinement(0.2, 0.1))
    plan = Allocation(max_shots=600, min_shots=8)
    policy = Minimise(optimiser, plan, final=Allocation(0.03, max_shots=5000))
    with serve(CoinMachine(), "tcp://127.0.0.1:0") as server, connect(server.endpoint) as link:
        loop = FeedbackLoop(
            link, program, EnergyEstimator(TERMS), policy, block=16, events=path, **options
        )
        try:
            return loop.run()
        except LoopError:
            assert loop.result is not None
            return loop.result
