"""Ground-state energy of H2 with a variational loop; the chemistry is in `cudaq_target.demo`."""

from __future__ import annotations

from pathlib import Path

from cudaq_target.demo import Result, run


def main(n_shots: int = 4000, folder: Path = Path()) -> list[Result]:
    """Run the loop on two and on four qubits."""
    results = []
    for n_qubits in (2, 4):
        picture = folder / f"h2-{n_qubits}-qubits.png"
        results.append(run(n_qubits, n_shots, seed=1, picture=picture))
        print(results[-1].text())
    return results


if __name__ == "__main__":
    main()
