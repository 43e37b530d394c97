"""Ground-state energy of H2, streamed and with fixed shots; the loop is in `cudaq_target.demo`."""

from __future__ import annotations

from pathlib import Path

from cudaq_target.demo import Result, run


def main(
    n_shots: int | None = None, folder: Path = Path(), final_error_ha: float | None = None
) -> list[Result]:
    """Run the loops on two and on four qubits."""
    results = []
    for n_qubits in (2, 4):
        result = run(
            n_qubits,
            n_shots,
            seed=1,
            picture=folder / f"h2-{n_qubits}-qubits.png",
            report=folder / f"h2-{n_qubits}-qubits.html",
            final_error_ha=final_error_ha,
        )
        results.append(result)
        print(result.text())
    return results


if __name__ == "__main__":
    main()
