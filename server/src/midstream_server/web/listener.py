"""Listens for the web edge, on the server's own loop."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from midstream_server.web.http import BoundedHttp
from midstream_server.web.websocket import MAX_MESSAGE_BYTES

KEEP_ALIVE_SECONDS: Final = 75
PING_SECONDS: Final = 20.0
STOP_SECONDS: Final = 1
BACKLOG: Final = 2048

_SILENT_SECONDS: Final = 30
_PROBE_SECONDS: Final = 10
_GONE_MS: Final = 60_000


class WebListener:
    """Serves an ASGI application. `bind`, then `start`, then `stop`."""

    def __init__(self, app: Any, *, tls: ssl.SSLContext | None = None) -> None:
        # What there is to say is said by our own log and metrics.
        for name in ("uvicorn.error", "uvicorn.access"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.handlers = [logging.NullHandler()]
        config = uvicorn.Config(
            app,
            loop="none",
            http=BoundedHttp,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,  # Its windows would be most of an idle connection's memory.
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        self._server = _Server(config)
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None

    def bind(self, host: str, port: int) -> int:
        """Takes the address, and returns the port. Raises OSError where it is not free."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio looks for it to set NODELAY
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            find_vanished_peers(listening)
            listening.bind((host, port))
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        bound: int = listening.getsockname()[1]
        return bound

    async def start(self) -> None:
        """Serves when it returns."""
        assert self._socket is not None, "bind first"
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="web listener")
        await self._server.serves.wait()

    async def stop(self) -> None:
        """Closes the listener and its connections; calls that go on after a second are cut off."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
        if self._socket is not None:
            self._socket.close()


class _Server(uvicorn.Server):
    """Leaves the process's signals alone, and tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serves = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.serves.set()


def find_vanished_peers(listening: socket.socket) -> None:
    """On every connection that is accepted: a peer that vanished without a word is found, so that its calls end."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_SECONDS),
        ("TCP_KEEPINTVL", _PROBE_SECONDS),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _GONE_MS),
    ):
        if hasattr(socket, name):  # Not every system has all of them.
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
