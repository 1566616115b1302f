"""Runs a command's coroutine with a client of the chosen server."""

import asyncio
from collections.abc import Awaitable, Callable

from midstream import Client
from midstream.cli.options import Options


def with_client(options: Options, work: Callable[[Client], Awaitable[None]]) -> None:
    """Connects, runs `work` to its end, and disconnects. Ctrl-C cancels it and raises KeyboardInterrupt."""

    async def connected() -> None:
        async with options.connect() as client:
            await work(client)

    asyncio.run(connected())
