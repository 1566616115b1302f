"""The moment from which the server takes no new calls and ends the open ones."""

import asyncio


class Drain:
    """Set once, when the server is to stop. Long-running calls watch it and end with `server_draining()`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
