"""Look at a kernel before it runs: report, picture, the Pulser sequence, a file to keep."""

from __future__ import annotations

from pathlib import Path

import cudaq

from cudaq_target import Program, compile  # noqa: A004


@cudaq.kernel
def ghz(n: int) -> None:
    """Prepare (|0…0⟩ + |1…1⟩)/√2."""
    q = cudaq.qvector(n)
    h(q[0])
    for i in range(n - 1):
        x.ctrl(q[i], q[i + 1])
    mz(q)


def main(n_qubits: int = 4, folder: Path = Path()) -> Program:
    """Compile, describe, draw and write a program; read it back and run it."""
    program = compile(ghz, n_qubits)
    print(program.report())
    program.draw(folder / "ghz.png")

    sequence = program.sequence  # a pulser.Sequence: plays on every tool that takes one
    print(sequence.get_duration(), "ns on", sequence.device.name)

    path = folder / "ghz.json"  # also: cudaq-target run ghz.json
    path.write_text(program.to_json(), encoding="utf-8")
    again = Program.from_json(path.read_text(encoding="utf-8"))
    assert again.report() == program.report()

    cudaq.set_target("pasqal", seed=1)
    print(cudaq.sample(ghz, n_qubits, shots_count=1000))
    return program


if __name__ == "__main__":
    main()
