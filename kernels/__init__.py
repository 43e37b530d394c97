"""Kernels that process shots and decide; each has a NumPy reference that defines its result."""
