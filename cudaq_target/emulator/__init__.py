"""The embedded emulator: pulse programs to exact states and shots."""
