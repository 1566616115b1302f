"""A child's calls to the server: made by the worker, at the other end of the pipe."""

import asyncio
from collections.abc import Callable

from midstream.errors import from_status
from midstream.v1.run_service_pb2 import StartRunRequest, StartRunResponse
from midstream.v1.stream_service_pb2 import SendOneRequest, SendOneResponse
from midstream.worker import local_frames
from midstream.worker.calls import Request


class PipedCalls:
    """A Caller that needs no connection of its own."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._count = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def send(self, request: SendOneRequest) -> SendOneResponse:
        return SendOneResponse.FromString(await self._call(request))

    async def start_run(self, request: StartRunRequest) -> StartRunResponse:
        return StartRunResponse.FromString(await self._call(request))

    def answered(self, frame: bytes) -> None:
        number, response = local_frames.parse_answer(frame)
        waiting = self._waiting.pop(number, None)
        if waiting is None or waiting.done():
            return
        if isinstance(response, bytes):
            waiting.set_result(response)
        else:
            waiting.set_exception(from_status(response))

    async def _call(self, request: Request) -> bytes:
        self._count += 1
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[self._count] = waiting
        self._send(local_frames.call(self._count, request))
        return await waiting
