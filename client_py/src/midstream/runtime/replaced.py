"""What asyncio does in the order of a set, or differently from one Python to the next, done anew for tasks.

Importing this puts functions in asyncio's place that look at the running loop: on any other loop than a run's they are
asyncio's own.
"""

import asyncio
from asyncio import tasks as asyncio_tasks
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Iterator
from functools import wraps
from typing import Any, Final, TypeVar

from midstream.runtime.loop import TurnLoop

T = TypeVar("T")

_original_wait: Final[Any] = asyncio.wait
_original_wait_for: Final[Any] = asyncio.wait_for
_original_as_completed: Final[Any] = asyncio.as_completed
_WAYS: Final = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)


class InOrder(set[T]):
    """A set that keeps the order in which it was made."""

    def __init__(self, members: Iterable[T]) -> None:
        self._order = list(members)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[T]:
        return (member for member in tuple(self._order) if member in self)

    def add(self, member: T) -> None:
        if member not in self:
            self._order.append(member)
        super().add(member)

    def pop(self) -> T:
        for member in self:
            self.remove(member)
            return member
        raise KeyError("pop from an empty set")


@wraps(_original_wait)
async def _dispatched_wait(fs: Any, **options: Any) -> Any:
    return await (wait if _in_run() else _original_wait)(fs, **options)


@wraps(_original_wait_for)
async def _dispatched_wait_for(fut: Any, timeout: float | None) -> Any:
    return await (wait_for if _in_run() else _original_wait_for)(fut, timeout)


@wraps(_original_as_completed)
def _dispatched_as_completed(fs: Any, **options: Any) -> Any:
    return (AsCompleted if _in_run() else _original_as_completed)(fs, **options)


def _in_run() -> bool:
    return isinstance(asyncio._get_running_loop(), TurnLoop)


async def wait(
    fs: Iterable["asyncio.Future[T]"], *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set["asyncio.Future[T]"], set["asyncio.Future[T]"]]:
    """`asyncio.wait`, whose two sets keep the order of `fs`."""
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")
    futures = list(dict.fromkeys(fs))
    if not futures:
        raise ValueError("Set of Tasks/Futures is empty.")
    if return_when not in _WAYS:
        raise ValueError(f"Invalid return_when value: {return_when}")
    if any(asyncio.iscoroutine(future) for future in futures):
        raise TypeError("Passing coroutines is forbidden, use tasks explicitly.")
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    remaining = len(futures)

    def release() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def completed(future: "asyncio.Future[T]") -> None:
        nonlocal remaining
        remaining -= 1
        failed = not future.cancelled() and future.exception() is not None
        if (
            remaining == 0
            or return_when == asyncio.FIRST_COMPLETED
            or (return_when == asyncio.FIRST_EXCEPTION and failed)
        ):
            release()

    timer = None if timeout is None else loop.call_later(timeout, release)
    for future in futures:
        future.add_done_callback(completed)
    try:
        await waiter
    finally:
        if timer is not None:
            timer.cancel()
        for future in futures:
            future.remove_done_callback(completed)
    return InOrder(f for f in futures if f.done()), InOrder(f for f in futures if not f.done())


async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """`asyncio.wait_for` as Python 3.12 has it, on 3.11 too: there it numbers a run's operations in another order."""
    if timeout is not None and timeout <= 0:
        future = asyncio.ensure_future(fut)
        if not future.done():
            future.cancel()
            await wait([future])
            if future.cancelled():
                raise TimeoutError
        return future.result()
    async with asyncio.timeout(timeout):
        return await fut


class AsCompleted:
    """`asyncio.as_completed`: an iterator of awaitables, and an asynchronous one of futures as from Python 3.13."""

    def __init__(self, fs: Iterable[Awaitable[Any]], *, timeout: float | None = None) -> None:
        if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
            raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")
        self._pending = {asyncio.ensure_future(each): None for each in dict.fromkeys(fs)}
        self._left = len(self._pending)
        self._done: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._timer = None if timeout is None or not self._left else loop.call_later(timeout, self._time_out)
        for future in self._pending:
            future.add_done_callback(self._completed)

    def __iter__(self) -> Iterator[Coroutine[Any, Any, Any]]:
        return self

    def __next__(self) -> Coroutine[Any, Any, Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._next_result()

    def __aiter__(self) -> AsyncIterator["asyncio.Future[Any]"]:
        return self

    async def __anext__(self) -> "asyncio.Future[Any]":
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return await self._next_future()

    async def _next_result(self) -> Any:
        return (await self._next_future()).result()

    async def _next_future(self) -> "asyncio.Future[Any]":
        future = await self._done.get()
        if future is None:
            raise TimeoutError
        return future

    def _completed(self, future: "asyncio.Future[Any]") -> None:
        if future in self._pending:
            del self._pending[future]
            self._done.put_nowait(future)
            if not self._pending and self._timer is not None:
                self._timer.cancel()

    def _time_out(self) -> None:
        for future in self._pending:
            future.remove_done_callback(self._completed)
            self._done.put_nowait(None)
        self._pending.clear()


for _module in (asyncio, asyncio_tasks):
    vars(_module).update(wait=_dispatched_wait, wait_for=_dispatched_wait_for, as_completed=_dispatched_as_completed)
