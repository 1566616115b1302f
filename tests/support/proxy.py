"""A TCP proxy of the tests' own, which can do to connections what networks do: delay, stall, lose, cut."""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, Self

CHUNK_BYTES = 64 * 1024
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends RST, as a machine does that knows nothing of the connection."""

Lost = Literal["requests", "answers", "both"]


class Proxy:
    """Listens on `port`. Each connection goes to the first of `targets`, ports of this machine, that takes it.

    Faults concern connections that are there and those that come, until `heal`.
    """

    def __init__(self, targets: Callable[[], Sequence[int]]) -> None:
        self.port = 0
        self._targets = targets
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay_seconds = 0.0
        self._lost: Lost | None = None
        self._found = asyncio.Event()
        self._is_cut = False

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._reset()

    def delay(self, seconds: float) -> None:
        """Whatever comes goes on so much later, in both directions."""
        self._delay_seconds = seconds

    def stall(self) -> None:
        """Nothing goes on; after `heal` all of it does."""
        self._flows.clear()

    def lose(self, lost: Lost) -> None:
        """Half-open: what comes in these directions is lost, and nobody is told. Connections do not outlive `heal`."""
        self._lost = lost
        self._found.clear()

    async def cut(self) -> None:
        """Connections end at once, new ones too."""
        self._is_cut = True
        await self._reset()

    async def heal(self) -> None:
        was_lossy, self._lost = self._lost is not None, None
        self._delay_seconds = 0.0
        self._is_cut = False
        self._flows.set()
        self._found.set()
        if was_lossy:
            await self._reset()

    async def _reset(self) -> None:
        connections = tuple(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            opened = None if self._is_cut else await self._open()
            if opened is None:
                return
            writers.append(opened[1])
            pumps = {
                asyncio.create_task(self._pump(reader, opened[1], "requests")),
                asyncio.create_task(self._pump(opened[0], writer, "answers")),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for each in writers:
                _abort(each)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for port in self._targets():
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Lost) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._lost in (direction, "both"):
                    continue
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
            if self._lost in (direction, "both"):
                await self._found.wait()  # A farewell is lost like anything else.


def _abort(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
