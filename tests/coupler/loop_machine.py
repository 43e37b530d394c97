"""A machine for loops, alone in its process or not: every bit is a coin, reproducible by seed.

Program: {"n_bits", "bias"}; parameters: the angles t of the bits, P(1) = sin²(t / 2 + bias); fewer
parameters than bits repeat the last one, none is 0. Optional: "fail_after" shots, "delay_s" a shot,
"n_parameters" that it insists on.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from cudaq_target.coupler.errors import ProgramRefusedError
from cudaq_target.coupler.server import serve
from cudaq_target.kernels.layout import pack_bits


class CoinRun:
    """Shots depend on seed, program and parameters alone, however they are cut."""

    def __init__(self, program: dict, angles: np.ndarray, seed: int) -> None:
        self.n_qubits = program["n_bits"]
        self._program = program
        self._rng = np.random.default_rng(seed)
        padded = np.zeros(self.n_qubits)
        if len(angles):
            padded[:] = [angles[min(k, len(angles) - 1)] for k in range(self.n_qubits)]
        self._ones = np.sin(padded / 2 + program.get("bias", 0.0)) ** 2
        self._n_measured = 0

    def measure(self, n_shots: int) -> np.ndarray:
        fail_after = self._program.get("fail_after")
        if fail_after is not None and self._n_measured >= fail_after:
            raise RuntimeError("the laser went out")
        delay_s = self._program.get("delay_s", 0.0)
        if delay_s:
            n_shots = 1
            time.sleep(delay_s)
        self._n_measured += n_shots
        bits = self._rng.random((n_shots, self.n_qubits)) < self._ones
        return pack_bits(bits.astype(np.uint8))

    def close(self) -> None:
        pass


class CoinMachine:
    """Holds programs of coins."""

    granularity = "shot"
    cadence_hz = None

    def specs(self) -> str:
        return json.dumps({"name": "coins", "kind": "emulator"})

    def load(self, program: str) -> dict:
        try:
            return dict(json.loads(program))
        except ValueError as error:
            raise ProgramRefusedError(f"no program of coins: {error}") from error

    def begin(self, program: dict, parameters: np.ndarray, _: int, seed: int) -> CoinRun:
        wanted = program.get("n_parameters")
        if wanted is not None and len(parameters) != wanted:
            raise ProgramRefusedError(f"{len(parameters)} parameters; {wanted} are needed")
        return CoinRun(program, parameters, seed)


def main(endpoint: str) -> None:
    with serve(CoinMachine(), endpoint) as server:
        sys.stdout.write(json.dumps({"endpoint": str(server.endpoint)}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
