"""When to try again: pure decisions, without a clock and without sleeping."""

import random
from collections.abc import Callable
from typing import Final

from midstream.errors import MidstreamError

SHORTEST_US: Final = 50_000
LONGEST_US: Final = 5_000_000
_LOST_CONNECTION: Final = ("stream removed", "connection reset", "socket closed", "goaway", "rst_stream")

_NO_TRUST: Final = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
"""What TLS says where waiting will not help. A server that misses a client's certificate just closes the socket."""


def is_transient(error: MidstreamError) -> bool:
    """Whether the same call may succeed later: the server is gone, going or busy, or the connection broke.

    The server explains each refusal of its own with a reason, so CANCELLED, UNKNOWN or INTERNAL without one came from
    the connection. A load balancer whose server has died resets the stream, which gRPC calls INTERNAL.
    """
    if error.code == "UNAVAILABLE":
        return not any(sign in error.message for sign in _NO_TRUST)
    if error.reason == "RATE_LIMITED":
        return True
    if error.reason:
        return False
    if error.code in ("UNKNOWN", "INTERNAL"):
        return any(sign in error.message.lower() for sign in _LOST_CONNECTION)
    return error.code == "CANCELLED"


class Backoff:
    """How long to wait before each next attempt: exponential with full jitter, 50 ms to 5 s.

    Full jitter means anything from nothing to the attempt's bound, so that clients that lost one server together do
    not come back together. Where the server says how long to wait, the jitter comes on top.
    """

    def __init__(self, *, give_up_at_us: int | None = None, jitter: Callable[[], float] = random.random) -> None:
        """No attempt begins after `give_up_at_us`; None: never gives up. `jitter` returns numbers from 0 to 1."""
        self._give_up_at_us = give_up_at_us
        self._jitter = jitter
        self._failures = 0

    def delay_us(self, error: MidstreamError, *, now_us: int) -> int | None:
        """Microseconds to wait after `error`, or None: do not try again."""
        if not is_transient(error):
            return None
        bound_us = min(SHORTEST_US << min(self._failures, 16), LONGEST_US)
        self._failures += 1
        delay_us = int(self._jitter() * bound_us)
        if error.retry_after_us is not None:
            delay_us += error.retry_after_us
        if self._give_up_at_us is not None and now_us + delay_us > self._give_up_at_us:
            return None
        return delay_us

    def reset(self) -> None:
        """The call worked: the next failure begins at the shortest delay again."""
        self._failures = 0
