"""Restate: awakeables of suspended and of warm invocations, resolved over HTTP."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from bench.managed import REST_SECONDS, Ear
from bench.peers.installation import PYTHON, RESTATE_SERVER, versions
from bench.peers.ports import free_ports
from bench.processes import program, stranger
from bench.telling import SILENT, STARTED

TITLE = f"Restate {versions()['restate-server']}"

FIRST_ENTRIES = 1
"""Its input."""

_LOOK_SECONDS = 0.01
_NEVER_MEANT = {"backing-off", "paused", "completed"}


class Restate:
    """A server with its defaults, and the service of bench.peers.restate_service, which stays."""

    def __init__(self, ingress: httpx.AsyncClient, admin: httpx.AsyncClient, ear: Ear) -> None:
        self._ingress = ingress
        self._admin = admin
        self._ear = ear
        self._numbers = itertools.count(1)

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

    async def journal_size(self, invocation: str) -> int:
        return int(await self._ask("journal_size", invocation))

    async def _start(self, handler: str, awakeables: int) -> tuple[str, list[str]]:
        """The ids of the invocation and of its awakeables, for the first of which it waits."""
        name = uuid.uuid4().hex
        asked = {"path": self._ear.path, "awakeables": awakeables, "name": name}
        invocation = (await _post(self._ingress, f"/Waiter/{handler}/send", asked)).json()["invocationId"]
        await self._ear.hears(STARTED)
        return invocation, (await _post(self._ingress, "/Waiter/awakeables", name)).json()

    async def _time(self, awakeable: str) -> float:
        number = next(self._numbers)
        began = time.perf_counter_ns()
        await self._resolve(awakeable, number)
        return ((await self._ear.hears(number)).time_ns - began) / 1e6

    async def _resolve(self, awakeable: str, number: int) -> None:
        await _post(self._ingress, f"/restate/awakeables/{awakeable}/resolve", number)

    async def _until(self, invocation: str, status: str) -> None:
        """Waits until Restate itself says so."""
        while (now := await self._ask("status", invocation)) != status:
            if now in _NEVER_MEANT:
                raise RuntimeError(f"Restate's invocation {invocation} is {now}, and should become {status}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, column: str, invocation: str) -> str:
        query = f"SELECT {column} FROM sys_invocation WHERE id = '{invocation}'"
        rows = (await _post(self._admin, "/query", {"query": query})).json()["rows"]
        return str(rows[0][column]) if rows else ""


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Restate]:
    """Its data is kept in `directory`."""
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
        async with ingress, admin, server:
            await _post(admin, "/deployments", {"uri": f"http://127.0.0.1:{started.ready['port']}"})
            yield Restate(ingress, admin, ear)


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
