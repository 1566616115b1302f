"""Calls back at a time of a clock that a test may move."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from midstream.clock import Clock


class Alarm:
    """Rings once at the time it was last set to."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._due_us: int | None = None
        self._sleeper: asyncio.Task[None] | None = None

    @property
    def is_set(self) -> bool:
        return self._due_us is not None

    def set(self, due_us: int | None) -> None:
        """None: does not ring. Cheap where nothing changes."""
        if due_us == self._due_us:
            return
        self._due_us = due_us
        if self._sleeper is not None:
            self._sleeper.cancel()
            self._sleeper = None
        if due_us is not None:
            self._sleeper = asyncio.get_running_loop().create_task(self._sleep(due_us))

    async def _sleep(self, due_us: int) -> None:
        with suppress(asyncio.CancelledError):
            await self._clock.sleep_until(due_us)
            self._due_us = self._sleeper = None
            self._ring()
