"""Measurements against named peers, one module per question."""
