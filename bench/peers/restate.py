"""Restate: awakeables of suspended and of warm invocations, resolved over HTTP."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.managed import REST_SECONDS, Ear
from bench.peers.bare_http import BareHttp
from bench.peers.installation import PYTHON, RESTATE_SERVER, versions
from bench.peers.ports import free_ports
from bench.processes import program, stranger
from bench.telling import SILENT, STARTED

FIRST_ENTRIES = 1
"""Its input."""

_LOOK_SECONDS = 0.01
_JSON = {"content-type": "application/json"}
_NEVER_MEANT = {"backing-off", "paused", "completed"}


Post = Callable[[str, bytes], Awaitable[None]]
"""To a path, JSON."""


class Sender:
    """Starts invocations of bench.peers.restate_service, and resolves their awakeables by `post`."""

    def __init__(self, title: str, post: Post, node: "_Node") -> None:
        self.title = title
        self._post = post
        self._node = node

    async def resumes(self, entries: int, count: int) -> list[float]:
        """Milliseconds from resolving an awakeable to the resumed handler having its value.

        As `resumes_of_one_run` of ours: in the middle of them the invocation's journal has so many entries.
        """
        before = entries - FIRST_ENTRIES - count // 2 - 1
        invocation, awakeables = await self._start("suspended", before + count + 1)
        for awakeable in awakeables[:before]:
            await self._resolve(awakeable, SILENT)
        times: list[float] = []
        # The first one only shows that those before it are consumed.
        for awakeable in awakeables[before:]:
            await self._until(invocation, "suspended")
            await asyncio.sleep(REST_SECONDS)
            times.append(await self._time(awakeable))
        await self._until(invocation, "completed")
        return times[1:]

    async def warm(self, count: int) -> list[float]:
        """The same, of an invocation that is not suspended meanwhile: its handler waits."""
        invocation, awakeables = await self._start("warm", count + 1)
        *measured, last = awakeables
        times = [await self._time(awakeable) for awakeable in measured]
        await self._until(invocation, "running")
        await self._resolve(last, SILENT)
        await self._until(invocation, "completed")
        return times

    async def _start(self, handler: str, awakeables: int) -> tuple[str, list[str]]:
        """The ids of the invocation and of its awakeables, for the first of which it waits."""
        name = uuid.uuid4().hex
        asked = {"path": self._node.ear.path, "awakeables": awakeables, "name": name}
        invocation = (await self._node.call(f"{handler}/send", asked))["invocationId"]
        await self._node.ear.hears(STARTED)
        return invocation, await self._node.call("awakeables", name)

    async def _time(self, awakeable: str) -> float:
        number = next(self._node.numbers)
        began = time.perf_counter_ns()
        await self._resolve(awakeable, number)
        return ((await self._node.ear.hears(number)).time_ns - began) / 1e6

    async def _resolve(self, awakeable: str, number: int) -> None:
        await self._post(f"/restate/awakeables/{awakeable}/resolve", str(number).encode())

    async def _until(self, invocation: str, status: str) -> None:
        """Waits until Restate itself says so."""
        while (now := await self._node.status(invocation)) != status:
            if now in _NEVER_MEANT:
                raise RuntimeError(f"Restate's invocation {invocation} is {now}, and should become {status}")
            await asyncio.sleep(_LOOK_SECONDS)


class _Node:
    """A server with its defaults, and the service, which stays."""

    def __init__(self, ingress: httpx.AsyncClient, admin: httpx.AsyncClient, ear: Ear) -> None:
        self._ingress = ingress
        self._admin = admin
        self.ear = ear
        self.numbers = itertools.count(1)

    async def call(self, handler: str, content: object) -> Any:
        """Of the service; what it answers."""
        return (await _post(self._ingress, f"/Waiter/{handler}", content)).json()

    async def resolve(self, path: str, content: bytes) -> None:
        """By httpx, as Restate's own client for Python does."""
        (await self._ingress.post(path, content=content, headers=_JSON)).raise_for_status()

    async def status(self, invocation: str) -> str:
        """As Restate itself says; empty as long as it knows nothing of the invocation."""
        query = f"SELECT status FROM sys_invocation WHERE id = '{invocation}'"
        rows = (await _post(self._admin, "/query", {"query": query})).json()["rows"]
        return str(rows[0]["status"]) if rows else ""


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[list[Sender]]:
    """Two senders to one server, which keeps its data in `directory`."""
    ingress_port, admin_port, node_port = free_ports(3)
    environment = {
        "DO_NOT_TRACK": "1",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_BIND_PORT": str(node_port),
        "RESTATE_INGRESS__BIND_PORT": str(ingress_port),
        "RESTATE_ADMIN__BIND_PORT": str(admin_port),
    }
    command = [str(RESTATE_SERVER), "--base-dir", str(directory / "restate")]
    ingress = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ingress_port}")
    admin = httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin_port}", headers={"accept": "application/json"})

    async def ready() -> bool:
        return await _is_healthy(ingress, "/restate/health") and await _is_healthy(admin, "/health")

    service = program(str(PYTHON), "-m", "bench.peers.restate_service", ready_event="restate_service_started")
    server = stranger(*command, log=directory / "restate.log", ready=ready, environment=environment)
    with Ear() as ear, service as started:
        async with ingress, admin, server, BareHttp(ingress_port) as bare:
            await _post(admin, "/deployments", {"uri": f"http://127.0.0.1:{started.ready['port']}"})
            node = _Node(ingress, admin, ear)
            version = versions()["restate-server"]
            yield [
                Sender(f"Restate {version}, by httpx", node.resolve, node),
                Sender(f"Restate {version}, by bare HTTP", bare.post, node),
            ]


async def _is_healthy(client: httpx.AsyncClient, path: str) -> bool:
    try:
        return (await client.get(path)).is_success
    except httpx.TransportError:
        return False


async def _post(client: httpx.AsyncClient, path: str, content: object) -> httpx.Response:
    answer = await client.post(path, json=content)
    if answer.is_error:
        raise RuntimeError(f"Restate answered {answer.status_code} to {path}: {answer.text}")
    return answer
