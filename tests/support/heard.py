"""A handler that remembers what it was called with, and lets a test wait for that."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Heard(Generic[T]):
    def __init__(self) -> None:
        self.values: list[T] = []
        self._more = asyncio.Event()

    def __call__(self, value: T) -> None:
        self.values.append(value)
        self._more.set()

    async def first(self, count: int) -> list[T]:
        """Returns when it was called `count` times; the test's own timeout bounds the wait."""
        while len(self.values) < count:
            self._more.clear()
            await self._more.wait()
        return self.values[:count]
