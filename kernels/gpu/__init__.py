"""CUDA kernels, compiled at run time; imported where a GPU is asked for."""
