"""Ground states over a controller: shots stream in, and each run ends once they say enough.

Two systems, each found twice with the same search: with streamed shots, and with as many shots of
each basis as a loop needs that only sees the results of whole jobs.
"""

from __future__ import annotations

from cudaq_target.loops.controller_process import controller_process
from cudaq_target.loops.systems import chain, hydrogen
from cudaq_target.loops.vqe import Settings, VqeResult, state_energy, vqe


def main(seed: int = 1, final_error: float | None = None) -> dict[str, tuple[VqeResult, VqeResult]]:
    """Run the four loops on one controller."""
    results = {}
    with controller_process("local", seed=seed) as endpoint:
        for problem in (hydrogen(4), chain()):
            streaming = Settings(seed=seed, final_error=final_error)
            fixed = Settings(seed=seed, final_error=final_error, fixed_shots=problem.fixed_shots)
            pair = tuple(vqe(problem, each, endpoint=endpoint) for each in (streaming, fixed))
            results[problem.name] = (pair[0], pair[1])
            for name, result in zip(("streamed", "fixed"), pair, strict=True):
                above = state_energy(problem, result.point) - problem.exact
                print(
                    f"{problem.title}, {name}: {result.estimate.value:.4f} ± "
                    f"{result.estimate.standard_error:.4f} {problem.unit} (exact "
                    f"{problem.exact:.4f}), state {1e3 * above:.2f} m{problem.unit} above, "
                    f"{result.n_search:,} shots to search"
                )
    return results


if __name__ == "__main__":
    main()
