"""A worker of the bench's own tasks, and an ear for what they tell."""

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import NamedTuple, Self

from bench.context import Context
from bench.processes import child, program
from bench.telling import TOLD
from midstream import Client
from midstream.models import Run, RunState

REST_SECONDS = 0.02
"""Before each sample: the worker has reaped the last process and warmed up the next spare."""


class Told(NamedTuple):
    """What a task said of itself."""

    number: int
    time_ns: int
    pid: int


class Ear:
    """Hears what tasks tell at `path`."""

    def __init__(self) -> None:
        self._open = ExitStack()
        # Not in the context's directory: the path of a socket has 107 bytes at most.
        self.path = str(Path(self._open.enter_context(TemporaryDirectory(prefix="ear-"))) / "socket")
        self._socket = self._open.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._socket.setblocking(False)
        self._socket.bind(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    async def hears(self, number: int) -> Told:
        """Waits for this number; drops what a replay told before."""
        loop = asyncio.get_running_loop()
        while True:
            told = Told(*TOLD.unpack(await loop.sock_recv(self._socket, TOLD.size)))
            if told.number == number:
                return told


class PipeEar:
    """As Ear, by a named pipe, for tasks in TypeScript."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self.path = str(Path(self._open.enter_context(TemporaryDirectory(prefix="ear-"))) / "pipe")
        os.mkfifo(self.path)
        # For writing, too: the pipe does not end while no task has it open.
        self._pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._open.callback(os.close, self._pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    async def hears(self, number: int) -> Told:
        """As Ear's."""
        while True:
            await self._readable()
            # Pipes keep what is written in one go together.
            told = Told(*TOLD.unpack(os.read(self._pipe, TOLD.size)))
            if told.number == number:
                return told

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._pipe, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._pipe)


def start_worker(context: Context, *options: str) -> None:
    """A worker of `bench.managed_tasks`, as users start it, until the context's cleanup."""
    arguments = ["worker", "bench.managed_tasks", "--url", context.url, "--json", *options]
    context.cleanup.enter_context(child("midstream.cli", *arguments, ready_event="connected"))


def start_node_worker(context: Context) -> None:
    """As `start_worker`, of bench/node_tasks.mjs."""
    command = ["node", "client_ts/dist/worker/cli/main.js", "worker", "bench/node_tasks.mjs"]
    worker = program(*command, "--url", context.url, "--json", ready_event="connected")
    context.cleanup.enter_context(worker)


async def until(client: Client, run_id: str, state: RunState) -> Run:
    """Waits for the run to be in a state. Raises RuntimeError if it ends in another one."""
    async for run in client.watch_run(run_id):
        if run.state is state:
            return run
    raise RuntimeError(f"{run_id} ended without being {state}")
