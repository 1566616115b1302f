"""Answers pipelined batches in order, while more of them come in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from midstream_server.domain import errors
from midstream_server.drain import Drain

Q = TypeVar("Q")
R = TypeVar("R")

_BATCHES_IN_FLIGHT = 8
"""Per call: enough to fill every commit, few enough that one caller cannot fill the memory (1 MiB each)."""


async def answer_batches(
    requests: AsyncIterator[Q], answer: Callable[[Q], Awaitable[R]], drain: Drain
) -> AsyncIterator[R]:
    """Begins to answer each request as it comes, in order, and yields the answers in that order.

    When the server drains, what was taken in is answered; then SERVER_DRAINING is raised.
    """
    answers: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()
    places = asyncio.Semaphore(_BATCHES_IN_FLIGHT)
    failure: BaseException | None = None

    async def take_in() -> None:
        nonlocal failure
        try:
            async for request in requests:
                await places.acquire()
                answers.put_nowait(asyncio.ensure_future(answer(request)))
        except Exception as error:
            failure = error
        answers.put_nowait(None)

    async def stop_when_draining() -> None:
        nonlocal failure
        await drain.wait()
        intake.cancel()
        failure = errors.server_draining()
        answers.put_nowait(None)

    intake = asyncio.create_task(take_in())
    stopper = asyncio.create_task(stop_when_draining())
    try:
        while (pending := await answers.get()) is not None:
            yield await pending
            places.release()
        if failure is not None:
            raise failure
    finally:
        unanswered = [answers.get_nowait() for _ in range(answers.qsize())]
        for task in (intake, stopper, *filter(None, unanswered)):
            task.cancel()
