"""A machine for controllers whose shots say which they are, and that notes what it was asked."""

from __future__ import annotations

import json
import threading

import numpy as np

from cudaq_target.coupler.errors import ProgramRefusedError


class TellingRun:
    """Shot k of a run reads k + 1000 · seed; 40 qubits."""

    n_qubits = 40

    def __init__(self, machine, n_shots, seed):
        self.machine, self.seed, self.n_measured, self.n_shots = machine, seed, 0, n_shots
        self.is_closed = False

    def measure(self, n_shots):
        machine = self.machine
        machine.entered.set()
        assert machine.gate.wait(30.0)
        if machine.refuses and self.n_measured == 0:
            message = "the amplitude is 20 rad/µs, the device allows 12"
            raise ProgramRefusedError(message)
        if machine.fails_after is not None and self.n_measured >= machine.fails_after:
            message = "laser unlocked"
            raise OSError(message)
        ids = np.arange(self.n_measured, self.n_measured + n_shots) + 1000 * self.seed
        self.n_measured += n_shots
        machine.turns.append((self.seed, n_shots))
        return ids.astype(np.uint64).reshape(-1, 1)

    def close(self):
        self.is_closed = True


class TellingMachine:
    granularity = "shot"

    def __init__(self, cadence_hz=None, *, fails_after=None, refuses=False):
        self.cadence_hz, self.fails_after, self.refuses = cadence_hz, fails_after, refuses
        self.turns, self.runs = [], []
        self.gate = threading.Event()  # measures while it is set
        self.gate.set()
        self.entered = threading.Event()

    def specs(self):
        return json.dumps({"name": "telling machine"})

    def load(self, program):
        return program

    def begin(self, program, parameters, n_shots, seed):
        if len(parameters) > 1:
            message = f"{program} takes 1 parameter"
            raise ProgramRefusedError(message)
        self.runs.append(TellingRun(self, n_shots, seed))
        return self.runs[-1]
