"""Ends a call whose client has gone: ASGI servers don't raise in it, so it would go on for nobody."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from midstream_server.web import failure
from midstream_server.web.body import ClientGone, Receive


async def while_present(receive: Receive, call: Coroutine[Any, Any, None]) -> None:
    """Runs `call`, and cancels it as soon as the client has gone (ClientGone) or says more (WebFailure)."""
    running = asyncio.current_task()
    assert running is not None
    end: Exception | None = None

    async def watch() -> None:
        nonlocal end
        while end is None:
            event = await receive()
            if event["type"] == "websocket.receive":
                end = failure.malformed("a call has one request: to follow something else, open another WebSocket")
            elif event["type"] != "http.request":
                end = ClientGone()
        running.cancel()

    watching = asyncio.create_task(watch())
    try:
        await call
    except asyncio.CancelledError:
        if end is None:
            raise
        running.uncancel()
        raise end from None
    finally:
        watching.cancel()
