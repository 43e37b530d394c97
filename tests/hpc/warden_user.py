"""A user of Warden: one small program on the QPU of the environment, and what came of it as JSON.

A process of its own, since what takes the place of MUNGE's library stays loaded.
"""

import json
import sys

from cudaq_target import Job, submit
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.errors import TargetError
from cudaq_target.machines.remote import machine_for
from cudaq_target.options import resolve


def main(n_shots: int) -> None:
    machine = machine_for(resolve({"machine": "qrmi"}))
    device = machine.device("analog")
    dark = Waveform([0, 500], [0, 0])  # no light: every atom stays where it is
    job = submit(build(AnalogSpec.of([(0, 0), (8, 0)], dark), device), n_shots)
    counts = job.result(timeout_s=240.0).counts()
    found = {
        "device": device.name,
        "n_shots": sum(counts.values()),
        "n_bits": len(next(iter(counts))),
    }
    found["is_kept"] = Job.load(job.id).result().counts() == counts
    try:
        found["cancel"] = job.cancel()
    except TargetError as error:
        found["cancel"] = str(error)
    machine.close()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
