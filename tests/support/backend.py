"""A server that wants credentials, and what a backend has of it."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import midstream
from midstream import Client, Run, can_read, can_send
from support.server_process import ServerProcess


@dataclass(frozen=True)
class Backend:
    """`client` has the API key."""

    server: ServerProcess
    api_key: str
    client: Client

    @property
    def web_url(self) -> str:
        return self.server.web_url

    async def start_run(self) -> Run:
        """A run that no worker will ever execute: records for it are stored, and stay."""
        return await self.client.start_run("nobody-does-this")

    async def token(self, run_id: str, *, max_uses: int | None = None) -> str:
        """May see the run, and send to its stream `s`."""
        scopes = [can_read(run_id), can_send(run_id, "s")]
        return (await self.client.mint_token(scopes, subject="page", max_uses=max_uses)).token

    async def stored(self, run_id: str) -> list[object]:
        """The values on disk."""
        return [record.value async for record in self.client.list_records(run_id)]


@asynccontextmanager
async def running_backend(directory: Path, *origins: str) -> AsyncIterator[Backend]:
    """`origins`: whose pages may call."""
    api_key = new_key(directory / "midstream.db")
    with ServerProcess(directory, args=["--web-origins", ",".join(origins)]) as server:
        async with midstream.connect(server.url, api_key=api_key) as client:
            yield Backend(server, api_key, client)


def new_key(database: Path, *, namespace: str = "default") -> str:
    command = [sys.executable, "-m", "midstream_server", "keys", "create", "--name", "k", "--namespace", namespace]
    done = subprocess.run([*command, "--database", str(database)], check=True, capture_output=True, text=True)
    return done.stdout.strip()
