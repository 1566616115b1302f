"""Sends records, pipelined: one `Send` call for the whole client, opened when needed and again when it breaks."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import grpc

from midstream import ulid
from midstream.backoff import Backoff
from midstream.connection import Connection, closed_error
from midstream.credentials import Metadata
from midstream.errors import MidstreamError, Unavailable, from_outcome
from midstream.models import Receipt, SendResult
from midstream.outbox import Outbox, Sink
from midstream.v1.record_pb2 import Payload
from midstream.v1.stream_service_pb2 import Receipt as ReceiptMessage
from midstream.v1.stream_service_pb2 import SendRequest, SendResponse

MAX_UNANSWERED_RECORDS: Final = 16_000
MAX_UNANSWERED_BYTES: Final = 16 * 1024 * 1024
_SendCall = grpc.aio.StreamStreamCall[SendRequest, SendResponse]


class One:
    """The answer to a single record."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[Receipt]) -> None:
        self.future = future

    def accept(self, receipts: Sequence[ReceiptMessage]) -> None:
        result = SendResult.from_proto(receipts[0])
        if self.future.done():
            return
        if result.receipt is not None:
            self.future.set_result(result.receipt)
        elif result.error is not None:
            self.future.set_exception(result.error)

    def fail(self, count: int, error: MidstreamError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Many:
    """The answers to many records of one stream, in order."""

    def __init__(self) -> None:
        self.results: list[SendResult] = []
        self._awaited: tuple[int, asyncio.Future[None]] | None = None

    async def all_of(self, count: int) -> list[SendResult]:
        """Waits until `count` answers are here."""
        if len(self.results) < count:
            future = asyncio.get_running_loop().create_future()
            self._awaited = (count, future)
            await future
        return self.results

    def accept(self, receipts: Sequence[ReceiptMessage]) -> None:
        self.results.extend(map(SendResult.from_proto, receipts))
        self._notify()

    def fail(self, count: int, error: MidstreamError) -> None:
        self.results.extend([SendResult(error=error)] * count)
        self._notify()

    def _notify(self) -> None:
        if self._awaited is not None and len(self.results) >= self._awaited[0] and not self._awaited[1].done():
            self._awaited[1].set_result(None)


class Sender:
    """Puts records into the outbox, and has one task that carries it to the server.

    Every record has an idempotency key, so what got no answer before the connection broke is simply sent again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._queue_for_room: deque[asyncio.Future[None]] = deque()
        self._emptied: asyncio.Future[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._closing = False

    async def send(
        self,
        stream: tuple[str, str],
        payload: Payload,
        *,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Returns when the record for `stream` (run id, stream id) is on disk.

        Cancelled, it leaves open whether the record is stored.
        """
        await self.room()
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.put(stream, payload, One(answer), key=key, metadata=metadata)
        return await answer

    def put(
        self,
        stream: tuple[str, str],
        payload: Payload,
        sink: Sink,
        *,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Sends a record on its way; `sink` hears of it. To be called right after `room` has returned."""
        self._outbox.put(
            stream, payload, ulid.new() if key is None else key, metadata, sink, now_us=self._connection.clock.now_us
        )
        self._wake.set()
        if self._pump is None:
            self._pump = asyncio.create_task(self._carry(), name="midstream-sender")

    @property
    def is_crowded(self) -> bool:
        """Whether `room` would wait, or raise because the client is being closed."""
        return bool(self._queue_for_room) or self._closing or self._is_full()

    async def room(self) -> None:
        """Waits while too much is unanswered; first come, first served. Raises MidstreamError on a closed client."""
        self._check_usable()
        if not self.is_crowded:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue_for_room.append(turn)
        try:
            await turn
        finally:
            # Only now: whoever asks between the call and the going on must queue up behind.
            self._queue_for_room.remove(turn)
            asyncio.get_running_loop().call_soon(self._call_next)
        self._check_usable()

    async def close(self, *, drain_us: int) -> None:
        """Waits at most `drain_us` for the answers that are out, then fails what is left."""
        self._closing = True
        try:
            if self._outbox.record_count and drain_us > 0:
                self._emptied = asyncio.get_running_loop().create_future()
                await asyncio.wait([self._emptied], timeout=drain_us / 1_000_000)
        finally:
            if self._pump is not None:
                self._pump.cancel()
            problem = "the client was closed before the server answered; the record may be stored"
            self._outbox.fail_all(Unavailable(problem, code="CANCELLED"))
            self._call_next()
        if self._pump is not None:
            await asyncio.wait([self._pump])

    def _is_full(self) -> bool:
        return self._outbox.record_count >= MAX_UNANSWERED_RECORDS or self._outbox.size_bytes >= MAX_UNANSWERED_BYTES

    def _check_usable(self) -> None:
        self._connection.check_usable()
        if self._closing:
            raise closed_error()

    def _call_next(self) -> None:
        if self._queue_for_room and (self._closing or not self._is_full()) and not self._queue_for_room[0].done():
            self._queue_for_room[0].set_result(None)

    def _after_answers(self) -> None:
        self._call_next()
        if self._emptied is not None and not self._outbox.record_count and not self._emptied.done():
            self._emptied.set_result(None)

    async def _carry(self) -> None:
        """Opens a call whenever there is something to send, until cancelled."""
        backoff = Backoff()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox.record_count:
                    error = await self._serve_one_call(backoff)
                    await self._recover(backoff, error)
        except Exception as fault:
            # Nobody may wait for ever because of a mistake in here.
            self._outbox.fail_all(MidstreamError(f"the sender failed: {fault!r}", code="INTERNAL"))
            self._after_answers()
            self._pump = None
            raise

    async def _recover(self, backoff: Backoff, error: MidstreamError) -> None:
        """The call ended with `error`: fails what cannot be helped, and waits before the rest is sent again."""
        clock, limit_us = self._connection.clock, self._connection.retry_timeout_us
        now_us = clock.now_us()
        delay_us = backoff.delay_us(error, now_us=now_us)
        if delay_us is None:
            # The server does not say which record it is about, so everything that it may have seen is failed.
            self._outbox.fail_written(error)
            delay_us = 0
        self._outbox.unwrite()
        if limit_us is not None:
            self._outbox.fail_older(now_us + delay_us - limit_us, error)
        self._after_answers()
        await clock.sleep_until(now_us + delay_us)

    async def _serve_one_call(self, backoff: Backoff) -> MidstreamError:
        """Writes and reads until the call ends, and says why it did."""
        try:
            bearer = await self._connection.bearer.metadata()
        except MidstreamError as no_token:
            self._outbox.fail_all(no_token)
            return no_token
        call = self._connection.streams.Send(metadata=bearer)
        reading = asyncio.create_task(self._read(call, backoff, bearer))
        writing = asyncio.create_task(self._write(call, reading))
        tasks = [reading, writing, asyncio.create_task(self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            error = done.pop().result()
            if self._connection.bearer.renews(error, bearer):
                return Unavailable("the access token was renewed", code="UNAVAILABLE", retry_after_us=0)
            return error
        finally:
            for task in tasks:
                task.cancel()
            call.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, call: _SendCall, reading: asyncio.Task[MidstreamError]) -> MidstreamError:
        while True:
            while (frame := self._outbox.next_to_write()) is not None:
                try:
                    await call.write(frame.request)
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    return await reading  # there may be receipts to read still, and then the reason
            self._wake.clear()
            await self._wake.wait()

    async def _read(self, call: _SendCall, backoff: Backoff, bearer: Metadata) -> MidstreamError:
        while True:
            try:
                response = await call.read()
            except grpc.aio.AioRpcError:
                return await _why_ended(call)
            if not isinstance(response, SendResponse):
                return await _why_ended(call)
            if not self._outbox.accept(response.receipts):
                return MidstreamError("the server's receipts fit no request", code="INTERNAL")
            backoff.reset()
            self._connection.bearer.worked(bearer)
            self._after_answers()

    async def _watch(self) -> MidstreamError:
        """Returns when a record has waited for too long on a call that is still open."""
        clock, limit_us = self._connection.clock, self._connection.retry_timeout_us
        if limit_us is None:
            await asyncio.Event().wait()
            raise AssertionError("an event that nobody can set")
        while True:
            oldest_us = self._outbox.oldest_us
            now_us = clock.now_us()
            if oldest_us is not None and oldest_us + limit_us <= now_us:
                return Unavailable("the server did not answer in time; the record may be stored", code="UNAVAILABLE")
            await clock.sleep_until((now_us if oldest_us is None else oldest_us) + limit_us)


async def _why_ended(call: _SendCall) -> MidstreamError:
    """The call's status. A server that ends it without an error is going, and will be back or replaced."""
    code = await call.code()
    if code is grpc.StatusCode.OK:
        return Unavailable("the server ended the call", code="UNAVAILABLE")
    return from_outcome(code, await call.details(), await call.trailing_metadata())
