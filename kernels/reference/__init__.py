"""NumPy kernels: short, and the definition of every result."""
