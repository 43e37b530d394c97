"""Hooks and files for the operators of Slurm and Grid Engine."""
