"""Uvicorn's HTTP, with bounds on what is neither a request's body nor a whole request: there are none in it."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 20.0
UNUSED_SECONDS: Final = 75.0
"""Browsers open connections before they need them."""


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too long or too slow, or whose trailers are too long."""

    _fruitless_bytes = 0
    """How many have come since the last piece of a body or end of a request; of one read at most 256 KiB besides."""
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait(UNUSED_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._fruitless_bytes += len(data)
        super().data_received(data)
        if self._fruitless_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request line, headers or trailers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._fruitless_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._fruitless_bytes = 0
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
