"""A Midstream server in this process, on a temporary database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from midstream import durations, url
from midstream.client import Client
from midstream.clock import ManualClock
from midstream.durations import Duration
from midstream.endpoint import Endpoint

if TYPE_CHECKING:
    from midstream_server.server import Server


class LocalServer:
    """A running server, a client of it, and the clock of both. `url` is for more clients, in any process."""

    def __init__(self, server: "Server", client: Client, clock: ManualClock, api_keys: Mapping[str, str]) -> None:
        self._server = server
        self._clock = clock
        self.client = client
        self.api_keys = api_keys
        """The texts of the server's API keys by name. Tests only: nothing shows the text of a real one."""

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def now_us(self) -> int:
        """The time, in microseconds since 1970 (UTC)."""
        return self._clock.now_us()

    async def advance(self, duration: Duration) -> None:
        """Lets time pass, in no time: deadlines, expiry and retention on the server, timeouts of `client`'s runs.

        A number counts in seconds. When this returns, the server has dealt with every timer that came due.
        """
        await self._server.advance(durations.parse(duration))
        # Timeouts of pending receives on this loop end now, not after the caller's next await.
        await asyncio.sleep(0)


@asynccontextmanager
async def local_server(*, api_keys: Mapping[str, str] | None = None) -> AsyncIterator[LocalServer]:
    """Starts a server for as long as the block lasts. Its time stands still until `advance` moves it.

    Streams used within the block send with its client. `api_keys`, such as `{"backend": "default"}`, are namespaces by
    the names of keys to create: the server then asks for credentials, and its client has the first of them. Mint tokens
    for it with `mint_token`: those of `sign_token` have the time of the machine, not the server's.

    Raises ImportError where midstream-server is not installed.
    """
    try:
        from midstream_server.keys_command import create_key
        from midstream_server.server import Server
        from midstream_server.settings import Settings
    except ImportError as missing:
        raise ImportError(
            "midstream.testing runs the server in your test's process: install midstream-server, too"
        ) from missing
    clock = ManualClock()
    with TemporaryDirectory(prefix="midstream-") as directory:
        database = Path(directory) / "midstream.db"
        keys = {name: create_key(database, namespace, name) for name, namespace in (api_keys or {}).items()}
        settings = Settings(listen="127.0.0.1:0", database=database, metrics_listen="", web_listen="")
        async with Server(settings, clock=clock) as server:
            # Whatever the environment holds is for another server.
            endpoint = Endpoint(url.parse(server.url), api_key=next(iter(keys.values()), None))
            async with Client(endpoint) as client:
                client._connection.clock = clock
                yield LocalServer(server, client, clock, keys)
