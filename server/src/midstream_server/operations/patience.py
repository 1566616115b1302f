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


async def patiently(
    drain: Drain, read: Callable[[], Awaitable[T]], *, in_vain: Callable[[], bool] = lambda: False
) -> T:
    """Reads again until the store is back. Raises what else `read` raises.

    Raises STORE_UNAVAILABLE, too, once the server drains or it is `in_vain`, since nobody waits for it any more.
    """
    pause = _FIRST_SECONDS
    while True:
        try:
            return await read()
        except Refused as refused:
            if refused.reason is not Reason.STORE_UNAVAILABLE or drain.is_set or in_vain():
                raise
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await drain.wait()
        pause = min(2 * pause, _LONGEST_SECONDS)
