"""Readers that stay through times in which the store is away."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from midstream_server.domain.errors import Reason, Refused
from midstream_server.drain import Drain

T = TypeVar("T")

_FIRST_SECONDS = 0.05
_LONGEST_SECONDS = 1.0


async def patiently(drain: Drain, read: Callable[[], Awaitable[T]]) -> T:
    """Reads again until the store is back. Raises what else `read` raises, and what it raises while draining."""
    pause = _FIRST_SECONDS
    while True:
        try:
            return await read()
        except Refused as refused:
            if refused.reason is not Reason.STORE_UNAVAILABLE or drain.is_set:
                raise
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await drain.wait()
        pause = min(2 * pause, _LONGEST_SECONDS)
