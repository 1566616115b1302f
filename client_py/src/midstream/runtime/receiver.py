"""All input streams of a managed run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Final, Literal

from midstream.models import Record
from midstream.runtime.failures import handler_failure_of
from midstream.runtime.inbox import ManagedInbox
from midstream.runtime.loop import TurnLoop
from midstream.runtime.operations import Operations
from midstream.runtime.timers import Timers
from midstream.v1 import entry_pb2, record_pb2
from midstream.v1.handler_failure_pb2 import HandlerFailure

_log: Final = logging.getLogger("midstream")
_LAST: Final = 1 << 62


class ManagedReceiver:
    """Puts the log's records into the streams' buffers, and hands them out one at a time, the oldest first."""

    def __init__(self, run_id: str, operations: Operations, timers: Timers, loop: TurnLoop) -> None:
        self.operations = operations
        self.woken: dict[ManagedInbox, None] = {}
        self.calls: dict[asyncio.Task[Any], None] = {}
        self.cancel_requested = False
        self.new_failures: list[HandlerFailure] = []
        self._run_id = run_id
        self._timers = timers
        self._loop = loop
        self._inboxes: dict[str, ManagedInbox] = {}
        self._receiving: dict[asyncio.Future[None], bool] = {}
        self._taken: list[tuple[ManagedInbox, Record]] = []
        self._closed = False

    @property
    def inboxes(self) -> Sequence[ManagedInbox]:
        return tuple(self._inboxes.values())

    @property
    def pending_once(self) -> bool:
        """Whether a receive is under way that needs this process."""
        return not all(self._receiving.values())

    @property
    def pending_waits(self) -> bool:
        """Whether a receive is under way during which the process may go."""
        return any(self._receiving.values())

    @property
    def listening(self) -> frozenset[str]:
        """The streams that a handler or a pending receive waits on."""
        return frozenset(inbox.stream_id for inbox in self._inboxes.values() if inbox.buffer.listening)

    def inbox(self, stream_id: str) -> ManagedInbox:
        inbox = self._inboxes.get(stream_id)
        if inbox is None:
            inbox = self._inboxes[stream_id] = ManagedInbox(self, stream_id)
        return inbox

    def put(self, record: record_pb2.Record) -> None:
        buffer = self.inbox(record.stream_id).buffer
        received = Record.from_proto(record)
        if not buffer.received_seq:
            # Where a generation's first record is not the stream's, what lies before it was consumed by earlier ones.
            buffer.start_behind(received.seq - 1)
        buffer.put((received,))

    def drop(self, dropped: entry_pb2.Entry.RecordsDropped) -> None:
        self.inbox(dropped.stream_id).buffer.drop(dropped.first_seq, dropped.last_seq)

    def hand_out(self) -> bool:
        """Hands out the oldest record that anyone asked for, of all streams. False: there is none."""
        woken = self.woken
        while woken:
            (inbox,) = woken if len(woken) == 1 else (min(woken, key=_oldest_offset),)
            if inbox.buffer.hand_out():
                return True
            del woken[inbox]
        return False

    async def wait_any(self, stream_ids: Sequence[str], timeout_us: int | None) -> Record | None:
        records = await self.take("wait_any", tuple(map(self.inbox, stream_ids)), timeout_us)
        return records[0] if records else None

    async def take_one(
        self, kind: Literal["once", "wait"], inbox: ManagedInbox, timeout_us: int | None
    ) -> Record | None:
        """As `take`, of one stream. Nearly every receive is this one, and a replay does little else."""
        self.refuse_when_closed()
        operation = self.operations.issue(kind, inbox.stream_id)
        future: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        receive = inbox.receive(future, immediate=timeout_us == 0)
        if timeout_us:
            self._expire_later(operation, timeout_us, future)
        self._receiving[future] = kind == "wait"
        try:
            await future
        except BaseException:
            # What this turn had handed over goes back to its place.
            inbox.buffer.cancel(receive)
            raise
        finally:
            self._receiving.pop(future, None)
            if timeout_us:
                self._timers.disarm(operation)
        if not receive.records:
            inbox.buffer.cancel(receive)
            return None
        record = receive.records[0]
        self._taken.append((inbox, record))
        return record

    async def take(
        self,
        kind: Literal["drain", "wait_any"],
        inboxes: tuple[ManagedInbox, ...],
        timeout_us: int | None,
        *,
        everything: bool = False,
    ) -> list[Record]:
        """One receive on each inbox, of which one gets something; none where the timeout came first."""
        self.refuse_when_closed()
        operation = self.operations.issue(kind, " ".join(inbox.stream_id for inbox in inboxes))
        future: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        receives = [
            (inbox, inbox.receive(future, immediate=timeout_us == 0, everything=everything)) for inbox in inboxes
        ]
        if timeout_us:
            self._expire_later(operation, timeout_us, future)
        self._receiving[future] = kind == "wait_any"
        try:
            await future
        except BaseException:
            # Whatever this turn had handed over goes back to its place.
            for inbox, receive in receives:
                inbox.buffer.cancel(receive)
            raise
        finally:
            self._receiving.pop(future, None)
            self._timers.disarm(operation)
        taken: list[Record] = []
        for inbox, receive in receives:
            if receive.records:
                self._taken += [(inbox, record) for record in receive.records]
                taken += receive.records
            else:
                inbox.buffer.cancel(receive)
        return taken

    def _expire_later(self, operation: int, timeout_us: int, future: "asyncio.Future[None]") -> None:
        def expire() -> None:
            if not future.done():
                future.set_result(None)

        self._timers.arm(operation, self._loop.now_us + timeout_us, expire)

    def untake(self, inbox: ManagedInbox, records: Sequence[Record]) -> None:
        """These were taken in this turn and go back."""
        returned = {record.seq for record in records}
        self._taken = [each for each in self._taken if each[0] is not inbox or each[1].seq not in returned]

    def turn_ended(self) -> None:
        """What was taken in this turn is consumed now."""
        if self._taken:
            taken, self._taken = self._taken, []
            for inbox, record in taken:
                inbox.buffer.tracker.finish(record.seq)

    def close(self) -> None:
        """The run's function has ended: nothing more is handed out, and pending receives raise."""
        self._closed = True
        for inbox in self._inboxes.values():
            inbox.buffer.close()
        for future in list(self._receiving):
            if not future.done():
                future.set_exception(self._ended())
        self.woken.clear()

    def refuse_when_closed(self) -> None:
        if self._closed:
            raise self._ended()

    def start_call(
        self, awaitable: Awaitable[object], ended: Callable[[BaseException | None], None], *, context: Context
    ) -> None:
        """Awaits an async handler in a task of its own."""

        def done(task: asyncio.Task[Any]) -> None:
            del self.calls[task]
            if not task.cancelled():
                ended(task.exception())
            else:
                ended(None if self.cancel_requested else asyncio.CancelledError("the handler's call was cancelled"))

        coroutine = awaitable if isinstance(awaitable, Coroutine) else _await(awaitable)
        task = self._loop.create_task(coroutine, context=context)
        self.calls[task] = None
        task.add_done_callback(done)

    def handler_failed(self, stream_id: str, seq: int, handler: str, error: BaseException) -> None:
        if self._loop.quiet():
            return  # the checkpoint that ends the quiet has reported it
        _log.error(
            "handler %s raised on record %d of stream %s, run %s; delivery goes on",
            *(handler, seq, stream_id, self._run_id),
            exc_info=error,
        )
        self.new_failures.append(handler_failure_of(stream_id, seq, handler, error))

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"the function of run {self._run_id} has ended: it receives no more records")


def _oldest_offset(inbox: ManagedInbox) -> int:
    oldest = inbox.buffer.oldest
    return _LAST if oldest is None else oldest.offset


async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable
