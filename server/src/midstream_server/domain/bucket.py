"""A token bucket: so much a second, and some in a burst."""


class Bucket:
    """Holds at most `burst`, and gains `per_second`. Times are microseconds."""

    __slots__ = ("_burst", "_level", "_per_us", "_seen_us", "per_second")

    def __init__(self, per_second: float, burst: int, *, now_us: int) -> None:
        self.per_second = per_second
        self._per_us = per_second / 1_000_000
        self._burst = burst
        self._level = float(burst)
        self._seen_us = now_us

    def take(self, amount: int, *, now_us: int) -> int:
        """Takes `amount` and returns 0, or takes nothing and returns how long to wait, in microseconds.

        A large amount passes as long as anything is left, and leaves a debt: a batch of any size has its turn.
        """
        self._level = min(self._burst, self._level + max(0, now_us - self._seen_us) * self._per_us)
        self._seen_us = now_us
        if self._level >= 1:
            self._level -= amount
            return 0
        return int((1 - self._level) / self._per_us) + 1

    def owe(self, amount: int) -> None:
        """Takes `amount` whatever there is: what was done already has to be waited for."""
        self._level -= amount
