"""Runs a command's coroutine with a client of the chosen server."""

import asyncio
from collections.abc import Awaitable, Callable

from click.exceptions import Exit

from midstream import Client
from midstream.cli import exit_codes
from midstream.cli.options import Options


def with_client(options: Options, work: Callable[[Client], Awaitable[None]]) -> None:
    """Connects, runs `work` to its end, and disconnects. Ctrl-C cancels it.

    Click would print a line for Ctrl-C, and give a closed pipe the exit code of an error: here both are quiet ends.
    """

    async def connected() -> None:
        async with options.connect() as client:
            await work(client)

    try:
        asyncio.run(connected())
    except KeyboardInterrupt:
        raise Exit(exit_codes.INTERRUPTED) from None
    except BrokenPipeError:  # The reader, such as `head`, has what it wanted.
        raise Exit(exit_codes.BROKEN_PIPE) from None
