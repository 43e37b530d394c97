"""Numba kernels: one core, without the interpreter lock, callable from compiled handlers."""
