"""The demo's stage: a server that can be killed, the actors around it, and the command line."""

import asyncio
import json
import os
import sys
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from actor import Actor, StageError
from narrator import Narrator

HERE = Path(__file__).parent


class Stage:
    """Keeps everybody's processes, and clears them away at the end, whatever happened."""

    server_style = "blue"

    def __init__(self, directory: Path, narrator: Narrator) -> None:
        self._database = directory / "midstream.db"
        self._narrator = narrator
        self._exits = AsyncExitStack()
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._server = Actor("server", self.server_style, narrator, silent=True)
        self._listen = "127.0.0.1:0"
        self._metrics_url = ""
        self.url = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def enter(self, name: str, style: str, script: str, *arguments: str) -> Actor:
        """Starts one of the example's scripts."""
        actor = Actor(name, style, self._narrator)
        self._exits.push_async_callback(actor.clear)
        await actor.enter(str(HERE / script), *arguments, environment=self._environment)
        return actor

    async def start_server(self) -> None:
        """Starts the server, the second time on the same port and file, and waits until it serves."""
        server = Actor("server", self.server_style, self._narrator, silent=True)
        self._exits.push_async_callback(server.clear)
        await server.enter(
            *("-m", "midstream_server"),
            *("--database", str(self._database)),
            *("--listen", self._listen),
            *("--metrics-listen", "127.0.0.1:0"),
            *("--log-format", "json"),
            environment=self._environment,
        )
        started = json.loads(await server.says("server_started"))
        self._server = server
        self._metrics_url = started["metrics_url"]
        self.url = started["url"]
        self._listen = self.url.removeprefix("grpc://")
        self._environment["MIDSTREAM_URL"] = self.url
        self._line(f"serves at {self.url}, on {self._database}")

    async def kill_server(self) -> None:
        """kill -9."""
        await self._server.die()
        self._line("killed with -9")

    async def stop_server(self) -> None:
        """SIGTERM, as an operator does it."""
        await self._server.stop()
        self._line("stopped")

    async def midstream(self, *arguments: str) -> None:
        """Runs the command line on our own terminal."""
        self._narrator.command(" ".join(("midstream", *arguments)))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "midstream.cli", *arguments, env=self._environment, start_new_session=True
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            raise StageError(f"`midstream {' '.join(arguments)}` ended with exit code {code}.")

    async def metrics(self, *prefixes: str) -> list[str]:
        """The lines of the server's metrics that begin so and are not 0."""

        def fetch() -> str:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(self._metrics_url, timeout=10) as response:
                text: str = response.read().decode()
                return text

        lines = (await asyncio.to_thread(fetch)).splitlines()
        return [line for line in lines if line.startswith(prefixes) and not line.endswith(" 0.0")]

    def _line(self, text: str) -> None:
        self._narrator.line("server", self.server_style, text)
