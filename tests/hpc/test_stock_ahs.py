"""An AHS program as stock CUDA-Q 0.16 sends it, on our controller.

`stock_cudaq_ahs.json` is the body of a request of CUDA-Q's own target `pasqal` (machine qrmi) to
`FakeCloud`: 8 decimals, an empty site, a phase that steps while the drive is on.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm

from cudaq_target.analog import ahs
from cudaq_target.controller import controller
from cudaq_target.coupler.errors import ProgramRefusedError

TEXT = Path(__file__).with_name("stock_cudaq_ahs.json").read_text()
N_SHOTS = 6000


def expected(sign: float = 1.0) -> np.ndarray:
    """Probabilities of 3 atoms, atom 0 most significant, in the conventions of the AHS schema.

    H = Ω/2 (e^{iφ}|g><r| + h.c.) - Δ n + V; exponentials of 2 ns, read from the text by hand.
    """
    content = json.loads(TEXT)
    drive = content["hamiltonian"]["drivingFields"][0]
    register = content["setup"]["ahs_register"]
    sites = (
        np.array(register["sites"], dtype=float)[np.array(register["filling"], dtype=bool)] * 1e6
    )
    series = {
        name: [
            np.array(drive[name]["time_series"][key], dtype=float) for key in ("times", "values")
        ]
        for name in ("amplitude", "detuning", "phase")
    }
    lower, number = np.array([[0, 1], [0, 0]]), np.diag([0, 1])  # |g><r|, |r><r|

    def on(atom: int, operator: np.ndarray) -> np.ndarray:
        parts = [operator if k == atom else np.eye(2) for k in range(3)]
        return np.kron(np.kron(parts[0], parts[1]), parts[2])

    c6 = 5420158.53  # rad/µs µm⁶, Rydberg level 70
    interaction = sum(
        c6 / np.linalg.norm(sites[a] - sites[b]) ** 6 * on(a, number) @ on(b, number)
        for a in range(3)
        for b in range(a)
    )
    total, lowering = sum(on(k, number) for k in range(3)), sum(on(k, lower) for k in range(3))
    steps = []
    for time_ns in np.arange(1.0, 1000.0, 2.0):
        time_s = 1e-9 * time_ns
        rabi, detuning = (1e-6 * np.interp(time_s, *series[n]) for n in ("amplitude", "detuning"))
        times, values = series["phase"]
        phase = sign * values[np.searchsorted(times, time_s, side="right") - 1]
        driven = 0.5 * rabi * np.exp(1j * phase) * lowering
        steps.append(driven + driven.conj().T - detuning * total + interaction)
    state = np.eye(8)[0].astype(complex)
    for step in expm(-2e-3j * np.array(steps)):
        state = step @ state
    return np.abs(state) ** 2


def measured(text: str) -> np.ndarray:
    """Frequencies on a controller, atom 0 most significant."""
    machine = controller(device="MockDevice", seed=3)
    run = machine.begin(machine.load(text), np.zeros(0), N_SHOTS, 7)
    run.prepare()
    rows = np.concatenate([run.measure(1000) for _ in range(N_SHOTS // 1000)])[:, 0]
    run.close()
    bits = (rows[:, None] >> np.arange(3, dtype=np.uint64)) & 1
    return np.bincount(bits.astype(int) @ [4, 2, 1], minlength=8) / N_SHOTS


def test_the_text_is_stock_cudaqs() -> None:
    content = json.loads(TEXT)
    drive = content["hamiltonian"]["drivingFields"][0]
    texts = [
        text
        for name in ("amplitude", "detuning", "phase")
        for key in ("times", "values")
        for text in drive[name]["time_series"][key]
    ]
    assert all(len(text.partition(".")[2]) == ahs.CUDAQ_DECIMALS for text in texts)
    assert content["setup"]["ahs_register"]["filling"] == [1, 0, 1, 1]
    spec = ahs.loads(TEXT)
    assert spec.n_atoms == 3
    assert spec.atoms_um.tolist() == [[-30.0, 0.0], [5.0, 0.0], [10.0, 0.0]]
    assert spec.amplitude.times_ns.tolist() == [0.0, 100.0, 490.0, 500.0, 900.0, 1000.0]
    assert ahs.dumps(spec, decimals=ahs.CUDAQ_DECIMALS)
    same = json.loads(ahs.dumps(spec, decimals=ahs.CUDAQ_DECIMALS))["hamiltonian"]["drivingFields"]
    assert same == content["hamiltonian"]["drivingFields"]


def test_a_controller_measures_it_with_phase_and_filling() -> None:
    wanted, mirrored = expected(), expected(-1.0)
    found = measured(TEXT)
    spread = np.sqrt(wanted * (1.0 - wanted) / N_SHOTS) + 1e-3
    assert (np.abs(found - wanted) < 5.0 * spread).all()
    # The other sign of the phase is another program: this test would see it.
    assert (np.abs(found - mirrored) > 10.0 * spread).any()


def test_a_wrong_filling_is_refused() -> None:
    content = json.loads(TEXT)
    content["setup"]["ahs_register"]["filling"] = [1, 0, 1]
    with pytest.raises(ProgramRefusedError, match="filling of shape"):
        controller(device="MockDevice").load(json.dumps(content))
