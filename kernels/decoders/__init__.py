"""Decoders: from packed syndromes to packed flips of the observables, behind one interface."""
