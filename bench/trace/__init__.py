"""Where the time of one resume goes: `python -m bench.trace`."""
