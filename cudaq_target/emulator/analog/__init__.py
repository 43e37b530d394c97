"""Analog programs on the embedded emulator: states of driven, interacting atoms in time."""
