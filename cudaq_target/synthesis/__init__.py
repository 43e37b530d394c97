"""Gates of any kind written with one-qubit gates, CPhases and CCZs, as few as can be found.

`unroll` takes a circuit apart, with `multi_control`, `uncompute`, `prepare` and `synth` for what
has many qubits; `merge` cancels while gates arrive; `blocks`, `weyl` and `cnot_networks` rewrite
what is left. `native` is the stage that uses them.
"""
