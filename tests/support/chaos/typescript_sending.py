"""The TypeScript client as a sender: a process of Node that sends what it is told."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any, Self

from midstream import MidstreamError
from support.chaos.history import Accepted
from support.typescript_worker import node_program

_PROGRAM = Path(__file__).parent / "sender.mjs"


class TypeScriptSending:
    """`async with` ends it, by its process id."""

    def __init__(self, address: str) -> None:
        self._url = f"grpc://{address}"
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            node_program(), str(_PROGRAM), self._url, stdin=pipe, stdout=pipe
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading

    async def send(self, run_id: str, stream_id: str, value: str, key: str) -> Accepted:
        """Raises MidstreamError."""
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        order = {"number": number, "run": run_id, "stream": stream_id, "value": value, "key": key}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        answer = await asked
        if "error" in answer:
            raise MidstreamError(answer["error"], code="UNKNOWN")
        return Accepted(run_id, stream_id, key, answer["seq"], answer["offset"], None, answer["deduplicated"])

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            asked = self._asked.pop(answer["number"])
            if not asked.done():
                asked.set_result(answer)
