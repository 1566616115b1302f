"""What an exit code says."""

import signal


def how_it_ended(code: int) -> str:
    """For a person: an exit code as Python counts them, negative for signals."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
