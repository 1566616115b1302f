"""Time as a thing one can pass in: the system's, or one that a test moves by hand."""

import asyncio
import heapq
import itertools
import time
from typing import Final, Protocol

_LONGEST_SLEEP_US: Final = 30_000_000


class Clock(Protocol):
    """Tells the time and waits for it, in whole microseconds since 1970 (UTC)."""

    def now_us(self) -> int: ...

    async def sleep_until(self, us: int) -> None:
        """Returns at `us`, at once where that has passed; never early."""


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    async def sleep_until(self, us: int) -> None:
        # Short sleeps, since an administrator may set the clock while we sleep.
        while (remaining := us - self.now_us()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(remaining, _LONGEST_SLEEP_US) / 1_000_000)


class ManualClock:
    """A clock that stands still until `advance` moves it. Its sleepers must all be on one loop."""

    def __init__(self, now_us: int = 1_767_225_600_000_000) -> None:
        """Begins at `now_us`: 2026-01-01, unless told otherwise."""
        self._now_us = now_us
        self._arrivals = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_us(self) -> int:
        return self._now_us

    async def sleep_until(self, us: int) -> None:
        if us <= self._now_us:
            # Even so the loop gets its turn: a caller that loops over due times must not starve it.
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (us, next(self._arrivals), woken)
        heapq.heappush(self._sleepers, sleeper)
        try:
            await woken
        except asyncio.CancelledError:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            raise

    def advance(self, us: int) -> None:
        """Moves the clock on by `us` and wakes every sleeper that is due, in the order of their deadlines.

        They run when the caller next awaits, and see the new time.
        """
        if us < 0:
            raise ValueError(f"time does not go backwards: cannot advance by {us}")
        self._now_us += us
        while self._sleepers and self._sleepers[0][0] <= self._now_us:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    @property
    def next_deadline_us(self) -> int | None:
        """When the first sleeper is due; None where nobody sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    @property
    def sleeper_count(self) -> int:
        return len(self._sleepers)


class SteadyClock:
    """Counts time without jumps, from no particular beginning: for timeouts, not for dates."""

    def now_us(self) -> int:
        return time.monotonic_ns() // 1_000

    async def sleep_until(self, us: int) -> None:
        while (remaining := us - self.now_us()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(remaining / 1_000_000)
