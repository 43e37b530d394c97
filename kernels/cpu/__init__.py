"""Numba kernels, without the interpreter lock.

Those of shots run on one core and are callable from compiled handlers; those of states,
`statevector` and `splitting`, may run on several.
"""
