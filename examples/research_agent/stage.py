"""The demo's stage: a server and workers that can be killed, the actors around them, and the command line."""

import asyncio
import json
import os
import shlex
import sys
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import processes
import worker_lines
from actor import PATIENCE, Actor, StageError
from narrator import Narrator

HERE = Path(__file__).parent
GLANCE = 0.01  # seconds between two looks at a process that is about to go


class Stage:
    """Keeps everybody's processes, and clears them away at the end, whatever happened."""

    server_style = "blue"
    worker_style = "yellow"
    agent_style = "green"

    def __init__(self, directory: Path, narrator: Narrator) -> None:
        self._database = directory / "midstream.db"
        self._narrator = narrator
        self._exits = AsyncExitStack()
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._server = Actor("server", self.server_style, narrator, show=_in_silence)
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
        server = Actor("server", self.server_style, self._narrator, show=_in_silence)
        self._exits.push_async_callback(server.clear)
        await server.enter(
            *("-m", "midstream_server"),
            *("--database", str(self._database)),
            *("--listen", self._listen),
            *("--metrics-listen", "127.0.0.1:0", "--web-listen", ""),
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
        self._line("killed with -9")
        await self._server.die()

    async def stop_server(self) -> None:
        """SIGTERM, as an operator does it."""
        await self._server.stop()
        self._line("stopped")

    async def start_worker(self, name: str) -> Actor:
        """Starts a worker for the agent's runs, and waits until it is connected."""

        last: worker_lines.Line | None = None

        def show(raw: str) -> None:
            nonlocal last
            line = worker_lines.told(raw)
            if line is None or line == last:  # It looks for a lost server again and again.
                return
            last = line
            if line.by_agent:
                self._narrator.line("agent", self.agent_style, line.text)
            else:
                self._narrator.line(name, self.worker_style, line.text)

        worker = Actor(name, self.worker_style, self._narrator, show=show)
        self._exits.push_async_callback(worker.clear)
        await worker.enter(
            *("-m", "midstream.cli", "worker", "agent", "--directory", str(HERE)),
            # Without spare processes, so that whoever looks finds only those that execute a run.
            *("--worker-id", name, "--spares", "0", "--json"),
            environment=self._environment,
        )
        await worker.says('"connected"')
        return worker

    def process_of_run(self, worker: Actor) -> int:
        """The process that executes the worker's only run. It was forked from the worker's template."""
        return _only_child(_only_child(worker.pid))

    async def gone(self, pid: int) -> None:
        """Waits until there is no such process any more: it has ended, and was reaped. StageError if it stays."""
        try:
            async with asyncio.timeout(PATIENCE):
                while processes.find(pid) is not None:  # noqa: ASYNC110 - nobody tells when a parent reaps its child
                    await asyncio.sleep(GLANCE)
        except TimeoutError:
            raise StageError(f"process {pid} should be gone, and is there: {processes.find(pid)}") from None

    async def kill_worker(self, worker: Actor) -> None:
        """kill -9."""
        self._narrator.line(worker.name, self.worker_style, "killed with -9")
        await worker.die()

    async def midstream(self, *arguments: str) -> None:
        """Runs the command line on our own terminal."""
        self._narrator.command(shlex.join(("midstream", *arguments)))
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


def _in_silence(line: str) -> None:
    """Its lines are for machines."""


def _only_child(pid: int) -> int:
    children = processes.children_of(pid)
    if len(children) != 1:
        raise StageError(f"process {pid} should have one child, and has {len(children)}.")
    return children[0]
