"""The process of a job on a machine that keeps none: `python -m cudaq_target.job_worker RECORD`.

It ends with the run. Errors go into the record, where the user looks for them.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.errors import CouplerError
from cudaq_target.errors import OptionError, TargetError
from cudaq_target.machines import job_processes, job_records
from cudaq_target.machines.remote import Task, close_all, machine_for
from cudaq_target.options import Options
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.machines.job_records import JobRecord
    from cudaq_target.program import Program

_LOOK_S: Final = 0.1


def main(record_path: str) -> int:
    """Run a job and write its record.

    Args:
        record_path: The record.

    Returns:
        The exit code.
    """
    record, path = job_records.read(record_path)
    try:
        threading.Thread(target=_watch, args=(path,), daemon=True).start()
        ended = dataclasses.replace(record, status="DONE", shots=_measured(record, path))
    except KeyboardInterrupt:
        ended = record.seen("CANCELED")
    except (TargetError, CouplerError) as error:
        ended = record.seen("ERROR", str(error))
    except Exception as error:  # noqa: BLE001 - nobody sees what this process says
        ended = record.seen("ERROR", f"{type(error).__name__}: {error}")
    job_records.write(ended, path)
    job_processes.clear(path)
    close_all()
    return 0 if ended.status == "DONE" else 1


def _measured(record: JobRecord, path: Path) -> Shots:
    settings = dict(record.settings)
    seed = settings.pop("seed", None)
    machine = machine_for(Options(machine=record.note.machine, **settings))
    assert machine is not None, "only remote machines need a process"
    task = Task.of(_program(job_processes.program_path(path)))
    # 0 leaves the seed to the machine.
    found = machine.measure(task, record.note.n_shots, seed=0 if seed is None else seed + 1)
    return Shots(found.packed, record.note.n_bits)


def _program(path: Path) -> Program | AnalogProgram:
    from cudaq_target.analog.program import AnalogProgram  # noqa: PLC0415
    from cudaq_target.program import Program  # noqa: PLC0415

    text = path.read_text(encoding="utf-8")
    try:
        return AnalogProgram.from_json(text)
    except OptionError:
        return Program.from_json(text)


def _watch(path: Path) -> None:
    """Interrupt the run when somebody asks for it: machines end a run that Ctrl-C interrupts."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    looked = threading.Event()
    while not job_processes.cancel_path(path).exists():
        looked.wait(_LOOK_S)
    signal.pthread_kill(main_thread, signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
