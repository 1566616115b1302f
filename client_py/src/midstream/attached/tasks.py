"""The tasks of one attached run: none outlives its block."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any


class Tasks:
    """A set of running tasks, which each leaves when it ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cancelled = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, object], *, context: Context | None = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(coroutine, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def start_call(
        self, awaitable: Awaitable[object], ended: Callable[[BaseException | None], None], *, context: Context
    ) -> None:
        """Awaits it in a task of its own and tells `ended` how that ended; unless `cancel` cut it off."""

        def done(task: asyncio.Task[Any]) -> None:
            if not task.cancelled():
                ended(task.exception())
            elif not self._cancelled:
                ended(asyncio.CancelledError("the handler's call cancelled itself"))

        coroutine = awaitable if isinstance(awaitable, Coroutine) else _await(awaitable)
        self.start(coroutine, context=context).add_done_callback(done)

    async def finished(self) -> None:
        """Returns when all of them have ended."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def cancel(self) -> None:
        self._cancelled = True
        for task in tuple(self._tasks):
            task.cancel()

    async def cancelled(self) -> None:
        """Cancels all of them and returns when they have ended."""
        self.cancel()
        await self.finished()


async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable
