"""CUDA-Q's launch functions on this target: sample, observe, run, get_state and their futures."""
