"""`midstream-server testing`: serves with a clock that stands still until whoever started the server moves it.

For test harnesses in any language. Each line on stdin is a number of microseconds to advance by; the answer, one line
of the log on stdout, is `advanced` with the new time, or `advance_refused`. The server stops when stdin ends, so that
it does not outlive the test.
"""

import asyncio
import sys

from midstream_server.server import Server
from midstream_server.telemetry import log


async def follow_stdin(server: Server) -> None:
    """Returns when stdin has ended. The server must have a ManualClock."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            await server.advance(int(line))
        except ValueError as error:
            log.advance_refused(message=str(error))
        else:
            log.advanced(now_us=server.clock.now_us())
