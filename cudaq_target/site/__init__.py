"""Hooks and files for the operators of Slurm and Grid Engine.

`hook` and what it imports (`config`, `requests`, `sessions`, `state`) are packed into one file that
schedulers run: the standard library, and QRMI where a session is opened or closed. It runs on
Python 3.9 and later, without this package.
"""
