"""Bind new arguments to a compiled kernel: placement, SWAPs and order of pulses are kept.

The kernel prepares a phase wave and applies the inverse Fourier transform, which reads off its
frequency. One compilation serves every frequency.
"""

from __future__ import annotations

import math
import time

import cudaq
import numpy as np

from cudaq_target import Program, compile  # noqa: A004


@cudaq.kernel
def frequency(n: int, steps: float) -> None:
    """Read the number of periods of a wave over 2^n points, qubit 0 most significant."""
    q = cudaq.qvector(n)
    h(q)
    for k in range(n):
        r1(2.0 * 3.141592653589793 * steps / 2.0 ** (n - k), q[k])
    for i in range(n):
        k = n - 1 - i
        for j in range(n - 1, k, -1):
            r1.ctrl(-3.141592653589793 / 2.0 ** (j - k), q[j], q[k])
        h(q[k])
    mz(q)


def exact_probability(n_qubits: int, steps: float, outcome: int) -> float:
    """Probability that the transform of a wave of `steps` periods reads `outcome`."""
    size = 2**n_qubits
    phases = 2.0 * math.pi * (steps - outcome) * np.arange(size) / size
    return float(abs(np.exp(1j * phases).mean()) ** 2)


def main(n_qubits: int = 5, n_shots: int = 1000) -> Program:
    """Compile once, bind for several frequencies, sample each."""
    begin = time.perf_counter()
    program = compile(frequency, n_qubits, 0.3)
    compiled = time.perf_counter()
    bound = [program.bind(n_qubits, float(steps)) for steps in np.arange(0.3, 5.0)]
    end = time.perf_counter()
    print(program.report())
    each_ms = 1e3 * (end - compiled) / len(bound)
    print(f"compiled in {1e3 * (compiled - begin):.0f} ms, bound in {each_ms:.1f} ms each")
    assert all(other.stats.n_entangling == program.stats.n_entangling for other in bound)

    cudaq.set_target("pasqal", seed=1)
    for steps in (3.0, 4.3):
        counts = cudaq.sample(frequency, n_qubits, steps, shots_count=n_shots)
        outcome = int(counts.most_probable(), 2)
        share = counts[counts.most_probable()] / n_shots
        exact = exact_probability(n_qubits, steps, outcome)
        print(f"{steps} periods: reads {outcome} with {share:.3f}, exact {exact:.3f}")
        assert abs(share - exact) <= 5.0 * math.sqrt(0.25 / n_shots)
    return program


if __name__ == "__main__":
    main()
