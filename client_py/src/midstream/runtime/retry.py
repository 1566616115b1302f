"""When a failed step is tried again."""

from dataclasses import dataclass
from typing import Final

from midstream import durations
from midstream.durations import Duration


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a step is tried. Between the attempts it waits `first_delay`, then `factor` times as long each time.

    The waits have no jitter, so that a replay knows them. Raises ValueError for numbers that make no sense.
    """

    max_attempts: int = 3
    first_delay: Duration = "1s"
    factor: float = 2.0
    max_delay: Duration = "1m"

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"a step is tried at least once, got max_attempts={self.max_attempts}")
        if not self.factor >= 1:
            raise ValueError(f"waits do not get shorter: factor is at least 1, got {self.factor}")
        durations.parse(self.first_delay)
        durations.parse(self.max_delay)

    def delay_us(self, failed_attempt: int) -> int:
        """How long after that attempt's end, from 1, the next one may begin."""
        longest = durations.parse(self.max_delay)
        # Beyond that many doublings a float overflows, and every sensible longest wait is reached.
        growth = self.factor ** min(failed_attempt - 1, 300)
        return min(longest, int(min(durations.parse(self.first_delay) * growth, durations.MAX_US)))


ONCE: Final = Retry(max_attempts=1)


def as_retry(retry: Retry | int | None) -> Retry:
    """A number is how often to try, with the usual waits; None is once."""
    if retry is None:
        return ONCE
    return Retry(max_attempts=retry) if isinstance(retry, int) else retry
