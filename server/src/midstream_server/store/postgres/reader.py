"""Reads: each on a connection of its own from a few, and once again where that one had broken unnoticed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from midstream_server.store.postgres.connections import (
    ANSWER_SECONDS,
    Connection,
    Pool,
    as_refusal,
    is_away,
    pool_of_readers,
)

T = TypeVar("T")


class Reader:
    """Sees everything that was committed before the call."""

    def __init__(self, url: str) -> None:
        self._pool: Pool = pool_of_readers(url)

    async def open(self) -> None:
        await self._pool

    async def close(self) -> None:
        await self._pool.close()

    async def __call__(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Raises Refused, with STORE_UNAVAILABLE where the database is away."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                try:
                    return await self._once(read)
                except Exception as error:
                    if not is_away(error):
                        raise
                await self._pool.expire_connections()
                return await self._once(read)
        except Exception as error:
            raise as_refusal(error) from error

    async def _once(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._pool.acquire() as connection:
            return await read(cast(Connection, connection))
