"""CUDA-Q's target `pasqal`, completed: gate kernels run as neutral-atom pulses."""
