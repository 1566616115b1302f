"""One stream of a managed run, as the input stream uses it: drives the pure buffer from the log."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from midstream.models import Record
from midstream.receiving import HandlerQueue, Receive, StreamBuffer

if TYPE_CHECKING:
    from midstream.runtime.receiver import ManagedReceiver


class ManagedInbox:
    """Hands out records when the turn is dry. A record is consumed in the turn in which it is taken."""

    def __init__(self, receiver: "ManagedReceiver", stream_id: str) -> None:
        self.stream_id = stream_id
        self.buffer = StreamBuffer[Record](wake=self._wake)
        self.reported_cursor = 0
        self._receiver = receiver

    # What an input stream asks for.

    def on(self, handle: Callable[[Record], object], *, name: str) -> Callable[[], None]:
        receiver = self._receiver
        receiver.refuse_when_closed()
        receiver.operations.issue("on", self.stream_id)
        # Handlers see the context variables of the place that attached them, the run among them.
        context = copy_context()

        def begin(record: Record) -> object:
            self.buffer.tracker.finish(record.seq)
            return context.run(handle, record)

        def finished(record: Record, error: BaseException | None) -> None:
            if error is not None:
                receiver.handler_failed(self.stream_id, record.seq, name, error)

        handler = HandlerQueue[Record](begin, spawn=partial(receiver.start_call, context=context), finished=finished)
        self.buffer.attach(handler)
        return lambda: self.buffer.detach(handler)

    def once(self, timeout_us: int | None) -> Coroutine[Any, Any, Record | None]:
        return self._receiver.take_one("once", self, timeout_us)

    def wait(self, timeout_us: int | None) -> Coroutine[Any, Any, Record | None]:
        return self._receiver.take_one("wait", self, timeout_us)

    async def drain(self) -> list[Record]:
        return await self._receiver.take("drain", (self,), 0, everything=True)

    def newest(self) -> Record | None:
        return self.buffer.newest()

    def give_back(self, records: Sequence[Record]) -> None:
        self._receiver.untake(self, records)
        self.buffer.give_back(records)

    async def ack(self) -> None:
        """Nothing to do: the log itself says what was consumed."""

    # What the receiver asks for.

    def receive(self, future: "asyncio.Future[None]", *, immediate: bool, everything: bool = False) -> Receive[Record]:
        def settle() -> bool:
            if future.done():
                return False
            future.set_result(None)
            return True

        return self.buffer.receive(settle, immediate=immediate, everything=everything)

    def _wake(self) -> None:
        self._receiver.woken[self] = None
