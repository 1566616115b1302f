"""The server's time, as far as a worker can tell."""

from midstream.clock import Clock


class ServerTime:
    """The worker's own clock, put right by what the server says. Microseconds since 1970.

    It is never ahead of the server by more than a message takes, so that timers are asked for when they are due.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_us = 0

    def now_us(self) -> int:
        return self._clock.now_us() + self._ahead_us

    def at_least(self, server_us: int) -> None:
        """The server stamped something with this time, now or earlier."""
        self._ahead_us = max(self._ahead_us, server_us - self._clock.now_us())

    def exactly(self, server_us: int) -> None:
        """The server said just now that it is this late."""
        self._ahead_us = server_us - self._clock.now_us()

    def by_own_clock(self, server_us: int) -> int:
        """What the worker's clock shows at that time of the server."""
        return server_us - self._ahead_us
