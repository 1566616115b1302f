"""One stream's Subscribe call: reconnects by itself, without a gap or a repeat, and acknowledges."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import grpc

from midstream.attached.failures import UnrecordedFailures
from midstream.attached.tasks import Tasks
from midstream.backoff import Backoff
from midstream.connection import Connection
from midstream.errors import MidstreamError, RunFinished, from_call
from midstream.models import Record
from midstream.receiving import StreamBuffer
from midstream.v1.stream_service_pb2 import AckRequest, PeekRequest, SubscribeRequest, SubscribeResponse

if TYPE_CHECKING:
    _Call = grpc.aio.StreamStreamCall[SubscribeRequest, SubscribeResponse]

WINDOW: Final = 1_000
"""How many records the process holds at most before it has handled some: the server keeps the others."""

ACK_PAUSE_S: Final = 0.05
"""Between two acknowledgements: so that they come in batches and leave the server's commits to the senders."""


class Subscription:
    """Puts a stream's records into the buffer, and tells the server what became of them.

    Grants credit as the buffer empties, not as it fills. One acknowledgement is under way at a time.
    """

    def __init__(
        self,
        connection: Connection,
        run_id: str,
        stream_id: str,
        buffer: StreamBuffer[Record],
        failures: UnrecordedFailures,
        *,
        tasks: Tasks,
        broken: Callable[[Exception], None],
    ) -> None:
        """`broken` hears of an error that no reconnecting helps against, such as Fenced."""
        self._connection = connection
        self._run_id = run_id
        self._stream_id = stream_id
        self._buffer = buffer
        self._failures = failures
        self._tasks = tasks
        self._broken = broken
        self._backoff = Backoff()
        self._started = False
        self._look: asyncio.Task[object] | None = None
        self._holder_epoch = 0
        self._last_known_seq = 0
        self._credit = 0
        self._acked = 0
        self._ack_sent = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._ack_is_due = False
        self._frame_is_due = asyncio.Event()

    def start(self) -> None:
        """Subscribes, the first time it is called."""
        if not self._started:
            self._started = True
            self._tasks.start(self._run())

    @property
    def caught_up(self) -> bool:
        """Whether all that was stored has arrived, or as much as the window takes."""
        if self._holder_epoch == 0 or self._look is not None:
            return False
        return self._buffer.received_seq >= self._last_known_seq or self._buffer.backlog >= WINDOW

    def progressed(self) -> None:
        """Records were handed out or finished: there may be something to acknowledge, or credit to grant."""
        if self._ack_timer is None and self._ack_sent <= self._acked < self._buffer.tracker.cursor:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_PAUSE_S, self._ack_now)
        if self._grantable() >= WINDOW // 2:
            self._frame_is_due.set()

    def look_if_held_back(self) -> None:
        """Where the window is full, asks what is newest beyond it: peek is to show that."""
        if self._holder_epoch and self._credit == 0 and self._look is None:
            self._look = self._tasks.start(self._look_beyond())

    async def acknowledge(self) -> None:
        """Acknowledges what is finished, on disk when this returns. Raises MidstreamError."""
        cursor = self._buffer.tracker.cursor
        failures = self._failures.through(cursor)
        if self._holder_epoch == 0 or (cursor <= self._acked and not failures):
            return
        request = AckRequest(
            run_id=self._run_id,
            stream_id=self._stream_id,
            holder_epoch=self._holder_epoch,
            through_seq=cursor,
            failures=failures,
        )
        response = await self._connection.unary(self._connection.streams.Ack, request)
        self._note_acked(response.cursor, through_seq=cursor)

    async def _run(self) -> None:
        while True:
            try:
                await self._subscribe()
                return
            except grpc.aio.AioRpcError as failed:
                error = from_call(failed)
            except MidstreamError as closed:
                error = closed
            if isinstance(error, RunFinished):
                return  # The run's watch sees it too, and knows how it ended.
            delay_us = self._backoff.delay_us(error, now_us=0)
            if delay_us is None:
                self._broken(error)
                return
            await asyncio.sleep(delay_us / 1_000_000)

    async def _subscribe(self) -> None:
        """One call; returns when the run has ended."""
        self._credit = max(WINDOW - self._buffer.backlog, 1)
        self._frame_is_due.clear()
        bearer = await self._connection.bearer.metadata()
        call = self._connection.streams.Subscribe(metadata=bearer)
        writing = self._tasks.start(self._write(call, self._open()))
        try:
            while True:
                with self._connection.cut_off_by_close():
                    response = await call.read()
                # EOF without a last frame: whoever cut the call off, the stream is not over.
                if not isinstance(response, SubscribeResponse):
                    raise MidstreamError("the server ended the subscription without a word", code="UNAVAILABLE")
                if self._take_frame(response):
                    return
        finally:
            writing.cancel()
            call.cancel()

    def _open(self) -> SubscribeRequest:
        opening = SubscribeRequest.Open(
            run_id=self._run_id, stream_id=self._stream_id, holder_epoch=self._holder_epoch, credit=self._credit
        )
        if self._holder_epoch:
            opening.after_seq = self._buffer.received_seq
        return SubscribeRequest(open=opening)

    async def _write(self, call: "_Call", opening: SubscribeRequest) -> None:
        """Writes the frames that are due, as they become due. Not an iterator for gRPC: that would outlive the call."""
        try:
            await call.write(opening)
            while True:
                await self._frame_is_due.wait()
                self._frame_is_due.clear()
                if self._ack_is_due:
                    self._ack_is_due = False
                    self._ack_sent = through_seq = self._buffer.tracker.cursor
                    failures = self._failures.through(through_seq)
                    ack = SubscribeRequest.Ack(through_seq=through_seq, failures=failures)
                    await call.write(SubscribeRequest(ack=ack))
                if (records := self._grantable()) >= WINDOW // 2:
                    self._credit += records
                    await call.write(SubscribeRequest(credit=SubscribeRequest.Credit(records=records)))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # The call is over; whoever reads from it learns why.

    def _take_frame(self, response: SubscribeResponse) -> bool:
        """True: it was the last frame."""
        match response.WhichOneof("frame"):
            case "records":
                records = [Record.from_proto(record) for record in response.records.records]
                self._credit -= len(records)
                self._buffer.put(records)
                self.look_if_held_back()
            case "acked":
                self._note_acked(response.acked.cursor, through_seq=self._ack_sent)
            case "opened":
                self._backoff.reset()
                self._holder_epoch = response.opened.holder_epoch
                self._last_known_seq = response.opened.last_seq
                self._buffer.start_behind(response.opened.cursor)
                # What an acknowledgement of the call before came to, if anything, shows in the cursor.
                self._ack_sent = 0
                self._note_acked(response.opened.cursor, through_seq=0)
                self._buffer.wake()
            case "run_ended":
                return True
        return False

    def _note_acked(self, cursor: int, *, through_seq: int) -> None:
        """`through_seq`: what was acknowledged. Dropped records may have moved the cursor beyond."""
        self._acked = max(self._acked, cursor)
        self._failures.recorded(min(cursor, through_seq))
        self.progressed()

    def _ack_now(self) -> None:
        self._ack_timer = None
        self._ack_is_due = True
        self._frame_is_due.set()

    def _grantable(self) -> int:
        return WINDOW - self._buffer.backlog - self._credit

    async def _look_beyond(self) -> None:
        try:
            request = PeekRequest(run_id=self._run_id, stream_id=self._stream_id)
            response = await self._connection.unary(self._connection.streams.Peek, request)
            if response.HasField("record"):
                newest = Record.from_proto(response.record)
                self._last_known_seq = max(self._last_known_seq, newest.seq)
                self._buffer.glimpse(newest)
        except MidstreamError:
            pass  # The subscription hears of it, too.
        finally:
            self._look = None
            self._buffer.wake()
