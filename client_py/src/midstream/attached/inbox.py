"""One stream of an attached run, as the input stream uses it: drives the pure buffer from asyncio's loop."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import NoReturn

from midstream.attached.failures import UnrecordedFailures
from midstream.attached.subscription import Subscription
from midstream.attached.tasks import Tasks
from midstream.connection import Connection
from midstream.models import Record
from midstream.receiving import HandlerQueue, Receive, StreamBuffer


class AttachedInbox:
    """Hands out records at the end of the turn in which they arrived or were asked for, one record a turn."""

    def __init__(
        self,
        connection: Connection,
        run_id: str,
        stream_id: str,
        *,
        tasks: Tasks,
        calls: Tasks,
        broken: Callable[[str, Exception], None],
    ) -> None:
        """`tasks` are the run's own, `calls` those of its async handlers. `broken` hears of a final error."""
        self.stream_id = stream_id
        self._connection = connection
        self._tasks = tasks
        self._calls = calls
        self._buffer = StreamBuffer[Record](wake=self._wake, caught_up=lambda: self._subscription.caught_up)
        self._failures = UnrecordedFailures(run_id, stream_id)
        self._subscription = Subscription(
            connection, run_id, stream_id, self._buffer, self._failures, tasks=tasks, broken=partial(broken, stream_id)
        )
        self._turn_is_due = False
        self._pending: set[asyncio.Future[None]] = set()
        self._taken: list[Record] = []
        self._closed_by: Exception | None = None

    # What an input stream asks for.

    def on(self, handle: Callable[[Record], object], *, name: str) -> Callable[[], None]:
        self._use()
        # Handlers see the context variables of the place that attached them, the run among them.
        context = copy_context()

        def finished(record: Record, error: BaseException | None) -> None:
            if error is not None:
                self._failures.add(record.seq, name, error)
            self._buffer.tracker.finish(record.seq)
            self._subscription.progressed()

        handler = HandlerQueue[Record](
            lambda record: context.run(handle, record),
            spawn=partial(self._calls.start_call, context=context),
            finished=finished,
        )
        self._buffer.attach(handler)
        return lambda: self._buffer.detach(handler)

    async def once(self, timeout_us: int | None) -> Record | None:
        self._use()
        self._finish_taken()
        records = await self._take(timeout_us)
        return records[0] if records else None

    async def wait(self, timeout_us: int | None) -> NoReturn:
        raise RuntimeError(
            f"an attached run cannot wait on {self.stream_id!r}: nothing could restart this process; "
            "use once(), or make it a task that a worker executes"
        )

    async def drain(self) -> list[Record]:
        self._use()
        self._finish_taken()
        return await self._take(0, everything=True)

    def newest(self) -> Record | None:
        self._use()
        self._subscription.look_if_held_back()
        return self._buffer.newest()

    def give_back(self, records: Sequence[Record]) -> None:
        returned = {record.seq for record in records}
        self._taken = [record for record in self._taken if record.seq not in returned]
        self._buffer.give_back(records)

    async def ack(self) -> None:
        self._use()
        self._finish_taken()
        await self._subscription.acknowledge()

    # What the run asks for.

    def glimpse(self, newest: Record) -> None:
        """The newest unconsumed record as the run was attached: peek shows it before the subscription brings it."""
        self._buffer.glimpse(newest)

    def close(self, error: Exception) -> None:
        """Begins no further handler call. Pending receives, and whoever asks from now on, get `error`."""
        if self._closed_by is not None:
            return
        self._closed_by = error
        self._buffer.close()
        for future in self._pending:
            if not future.done():
                future.set_exception(error)
                future.exception()  # Somebody who is cancelled just now will not look at it: that is no leak to log.

    async def acknowledge(self, *, taken: bool) -> None:
        """The last acknowledgement, on disk when this returns. `taken`: what receives took is done with, too."""
        if taken:
            self._finish_taken()
        await self._subscription.acknowledge()

    def _use(self) -> None:
        if self._closed_by is not None:
            raise self._closed_by
        self._subscription.start()

    def _wake(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        if self._buffer.hand_out():
            self._subscription.progressed()
            # What the record set going runs before the next one is handed out.
            self._wake()

    async def _take(self, timeout_us: int | None, *, everything: bool = False) -> list[Record]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle() -> bool:
            if future.done():
                return False
            future.set_result(None)
            return True

        receive = self._buffer.receive(settle, immediate=timeout_us == 0, everything=everything)
        timer: asyncio.Task[object] | None = None
        if timeout_us:
            timer = self._tasks.start(self._expire(receive, self._connection.clock.now_us() + timeout_us))
        self._pending.add(future)
        try:
            await future
        except BaseException:
            self._buffer.cancel(receive)
            raise
        finally:
            self._pending.discard(future)
            if timer is not None:
                timer.cancel()
        self._taken += receive.records
        return receive.records

    async def _expire(self, receive: Receive[Record], deadline_us: int) -> None:
        await self._connection.clock.sleep_until(deadline_us)
        self._buffer.expire(receive)

    def _finish_taken(self) -> None:
        """Whoever asks for more is done with what it took before."""
        taken, self._taken = self._taken, []
        for record in taken:
            self._buffer.tracker.finish(record.seq)
        if taken:
            self._subscription.progressed()
