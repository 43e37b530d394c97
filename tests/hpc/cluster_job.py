"""A user's job under any scheduler: one task on the resource of its environment, by QRMI alone.

Its last line is JSON: the variables that it sees, and counts or the reason why there are none.
"""

import json
import os
import sys
import time
from pathlib import Path

import qrmi


def run(sequence: str, n_shots: int) -> dict:
    (resource, *_) = qrmi.QRMIService().resources()
    task = resource.task_start(qrmi.Payload.PasqalCloud(sequence=sequence, job_runs=n_shots))
    while resource.task_status(task) in (qrmi.TaskStatus.Queued, qrmi.TaskStatus.Running):
        time.sleep(0.01)
    return json.loads(resource.task_result(task).value)["counter"]


def main() -> None:
    said = {"uid": os.getuid()}
    said["seen"] = {
        name: value for name, value in os.environ.items() if "QRMI" in name or "JOB_QPU" in name
    }
    try:
        said["counts"] = run(Path(sys.argv[1]).read_text(), int(sys.argv[2]))
    except RuntimeError as error:  # QRMI's root
        said["error"] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
