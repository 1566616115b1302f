"""The worker's call to the server, made again whenever it breaks."""

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol

import grpc

from midstream.backoff import Backoff
from midstream.connection import Connection
from midstream.errors import MidstreamError, Unavailable, from_call, from_outcome
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse

_METHOD: Final = "/midstream.v1.WorkerService/Work"


_NOT_WELCOME: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class LinkUser(Protocol):
    """Who speaks over the link."""

    def open_frame(self) -> WorkRequest:
        """The first frame of a call."""
        ...

    def received(self, frame: WorkResponse, data: bytes) -> None:
        """A frame, parsed and as it came."""
        ...

    def broken(self, error: MidstreamError, retry_us: int) -> None:
        """The call ended or could not be made; the next one is in `retry_us` microseconds."""
        ...


class Link:
    """One call at a time. What is sent while there is none is dropped: a new call begins with what still matters."""

    def __init__(self, connection: Connection, user: LinkUser) -> None:
        self._connection = connection
        self._user = user
        self._outgoing: asyncio.Queue[bytes | None] | None = None
        self._call: Any = None
        self._ending = asyncio.Event()
        self._ended = asyncio.Event()
        self._open = asyncio.Event()
        self._reopening = False
        self._call_was_open = False

    def send(self, frame: bytes) -> bool:
        """False: there is no call."""
        if self._outgoing is None:
            return False
        self._outgoing.put_nowait(frame)
        return True

    async def run(self) -> None:
        """Until `end`. Raises MidstreamError where the first call is refused for good, or any one's credentials are."""
        backoff = Backoff()
        was_open = False
        try:
            while not self._ending.is_set():
                self._reopening = False
                error = await self._one_call(backoff)
                if self._ending.is_set():
                    return
                if self._reopening:
                    continue
                was_open = was_open or self._call_was_open
                await self._pause(backoff, error, last_word=not was_open)
        finally:
            self._ended.set()

    async def wait_until_open(self) -> None:
        """Returns while there is a call, and so `send` works."""
        await self._open.wait()

    def reopen(self) -> None:
        """Ends the call, and makes another at once."""
        self._reopening = True
        self._outgoing = None
        self._open.clear()
        if self._call is not None:
            self._call.cancel()

    async def end(self, seconds: float) -> None:
        """Ends the call; what was said before still goes out, for so long."""
        self._ending.set()
        if self._outgoing is not None:
            self._outgoing.put_nowait(None)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
        if self._call is not None:
            self._call.cancel()

    async def _one_call(self, backoff: Backoff) -> MidstreamError:
        """Reads until the call ends, and returns why."""
        self._call_was_open = False
        bearer = await self._connection.bearer.metadata()
        work: Any = self._connection.channel.stream_stream(_METHOD)
        call = self._call = work(metadata=bearer)
        outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        outgoing.put_nowait(self._user.open_frame().SerializeToString())
        writer = asyncio.get_running_loop().create_task(_write(call, outgoing))
        try:
            while (data := await call.read()) is not grpc.aio.EOF:
                frame = WorkResponse.FromString(data)
                if frame.HasField("opened"):
                    self._call_was_open = True
                    backoff.reset()
                    self._outgoing = outgoing
                    self._open.set()
                self._user.received(frame, data)
            code = await call.code()
            if code is grpc.StatusCode.OK:
                return Unavailable("the server ended the call", code="UNAVAILABLE")
            return from_outcome(code, await call.details(), await call.trailing_metadata())
        except grpc.aio.AioRpcError as failed:
            return from_call(failed)
        except asyncio.CancelledError:
            # `reopen` and `end` cancel the call, which reads like a cancelled task.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return Unavailable("the call was cancelled", code="UNAVAILABLE")
        finally:
            self._outgoing = None
            self._open.clear()
            self._call = None
            writer.cancel()
            call.cancel()

    async def _pause(self, backoff: Backoff, error: MidstreamError, *, last_word: bool) -> None:
        now_us = self._connection.clock.now_us()
        delay_us = backoff.delay_us(error, now_us=now_us)
        if delay_us is None:
            if last_word or error.code in _NOT_WELCOME:
                raise error
            # A refusal amid good work, of one frame perhaps: the runs that go on are worth another call.
            delay_us = backoff.delay_us(Unavailable(error.message, code="UNAVAILABLE"), now_us=now_us) or 0
        self._user.broken(error, delay_us)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_us / 1e6):
                await self._ending.wait()


async def _write(call: Any, outgoing: "asyncio.Queue[bytes | None]") -> None:
    try:
        while (frame := await outgoing.get()) is not None:
            await call.write(frame)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
        pass  # reading tells why
