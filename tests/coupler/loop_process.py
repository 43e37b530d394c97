"""A loop in a process of its own, for tests that interrupt or kill it; prints how it ended."""

from __future__ import annotations

import json
import sys

from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.estimators import FrequencyEstimator
from cudaq_target.coupler.loops.loop import FeedbackLoop
from cudaq_target.coupler.loops.policies import Sample
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.shot_plans import EarlyStop


def say(**content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main(endpoint: str, folder: str, delay_s: float, decide: str | None) -> None:
    program = LoopProgram((json.dumps({"n_bits": 1, "bias": 0.5, "delay_s": delay_s}),), 1)
    policy = Sample(EarlyStop(half_width=1e-3, max_shots=100_000))

    def on_event(event: dict) -> None:
        if event["event"] in {"batch", "end"}:
            say(event=event["event"], status=event.get("status"), n_used=event.get("n_used"))

    with connect(endpoint) as link:
        loop = FeedbackLoop(
            link,
            program,
            FrequencyEstimator(1),
            policy,
            block=8,
            events=on_event,
            record=f"{folder}/record",
            decide=decide,
        )
        try:
            loop.run()
        except KeyboardInterrupt:
            say(event="interrupt", status=loop.result.status)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
