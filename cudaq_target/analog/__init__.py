"""Analog programs: atoms at chosen sites under global waveforms, from specification to pulses."""
