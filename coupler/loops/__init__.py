"""Loops of shots and decisions: estimators, policies, and the loop that joins them."""
