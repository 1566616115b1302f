"""The time on which all servers of a store agree, however their machines' clocks differ: that of the store."""

import asyncio
from typing import Final

from midstream.clock import Clock, SteadyClock, SystemClock

_DRIFT: Final = 5_000
"""A clock may gain or lose one microsecond in so many: the error of what was last heard grows by that."""
_LONGEST_SLEEP_US: Final = 1_000_000


class AgreedClock:
    """Goes as the machine's own clock does until the store has told its time; then goes on steadily from that.

    So a step of the machine's clock does nothing. Where another database takes over, whose clock is another one, time
    may take a step; along a run's log it does not go back even so.
    """

    def __init__(self, *, system: Clock | None = None, steady: Clock | None = None) -> None:
        self._system = SystemClock() if system is None else system
        self._steady = SteadyClock() if steady is None else steady
        self._offset_us: int | None = None
        self._error_us = 0
        self._told_at_us = 0

    def now_us(self) -> int:
        return self._system.now_us() if self._offset_us is None else self._steady.now_us() + self._offset_us

    async def sleep_until(self, us: int) -> None:
        # Short sleeps: what the time is may be learnt meanwhile.
        while (remaining := us - self.now_us()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(remaining, _LONGEST_SLEEP_US) / 1_000_000)

    def steady_us(self) -> int:
        """When a question to the store began or was answered, for `agree`."""
        return self._steady.now_us()

    def agree(self, told_us: int, *, asked_us: int, answered_us: int) -> None:
        """The store's clock was at `told_us` at some moment between the two steady times.

        An answer counts if it took less time than what is known, so that it is more exact, or if it cannot be true
        together with that.
        """
        error_us = (answered_us - asked_us + 1) // 2
        offset_us = told_us - (asked_us + answered_us) // 2
        if self._offset_us is not None:
            known_error_us = self._error_us + (answered_us - self._told_at_us) // _DRIFT
            if error_us > known_error_us and abs(offset_us - self._offset_us) <= error_us + known_error_us:
                return
        self._offset_us, self._error_us, self._told_at_us = offset_us, error_us, answered_us
