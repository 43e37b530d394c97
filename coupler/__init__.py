"""Moves measured shots from a QPU controller into compute kernels, and decisions back."""
