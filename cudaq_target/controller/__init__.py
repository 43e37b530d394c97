"""A machine behind the coupler: programs are loaded once, then take parameters only."""
