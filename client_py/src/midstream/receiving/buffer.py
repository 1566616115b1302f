"""The records of one stream that a run has received and not consumed, and the four views of them."""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from midstream.receiving.ack_tracker import AckTracker
from midstream.receiving.handler_queue import HandlerQueue, Sequenced

R = TypeVar("R", bound=Sequenced)


class Receive(Generic[R]):
    """A call that waits for a record, or takes all there are.

    `settle` tells the caller that `records` is final; it returns False where the caller has gone and gets nothing.
    `immediate`: ends when the turn is dry and nothing is left to hand out. `everything`: goes on taking until then.
    """

    __slots__ = ("everything", "immediate", "records", "settle")

    def __init__(self, settle: Callable[[], bool], *, immediate: bool, everything: bool) -> None:
        self.settle = settle
        self.immediate = immediate
        self.everything = everything
        self.records: list[R] = []


class StreamBuffer(Generic[R]):
    """Handlers, receives and peek see one buffer: changing between them never loses or repeats a record.

    Nothing is handed out before `hand_out` is called, which is when the turn's ready queue is dry: so everything that
    one turn attached shares what it finds. `wake` is called whenever `hand_out` may have something to do. `caught_up`
    tells whether all that was stored has been put; an immediate receive ends only then.
    """

    def __init__(self, *, wake: Callable[[], None], caught_up: Callable[[], bool] = lambda: True) -> None:
        self.tracker = AckTracker()
        self.wake = wake
        self._caught_up = caught_up
        self._records: deque[R] = deque()
        self._received_seq = 0
        self._glimpsed: R | None = None
        # Both are dicts for their order and for removal in constant time.
        self._handlers: dict[HandlerQueue[R], None] = {}
        self._receives: dict[Receive[R], None] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many unconsumed records have been received."""
        return len(self._records)

    @property
    def received_seq(self) -> int:
        """The newest record that was put; the next one is the one behind it."""
        return self._received_seq

    @property
    def backlog(self) -> int:
        """How many records wait here or for the slowest handler."""
        return len(self._records) + max(map(len, self._handlers), default=0)

    @property
    def oldest(self) -> R | None:
        """The record that is handed out next."""
        return self._records[0] if self._records else None

    @property
    def listening(self) -> bool:
        """True where somebody waits for a record."""
        return bool(self._handlers or self._receives)

    def start_behind(self, cursor: int) -> None:
        """The first record to come is the one behind the cursor."""
        self.tracker.start_behind(cursor)
        self._received_seq = max(self._received_seq, cursor)

    def put(self, records: Iterable[R]) -> None:
        """Takes records as they arrive, in seq order. One that was put before is left out: delivery may repeat it.

        Seqs between two of them were dropped by the stream, which keeps only the newest.
        """
        for record in records:
            if record.seq > self._received_seq:
                if record.seq > self._received_seq + 1:
                    self.tracker.skip(self._received_seq + 1, record.seq - 1)
                self._received_seq = record.seq
                self._records.append(record)
        self.wake()

    def drop(self, first_seq: int, last_seq: int) -> None:
        """The stream has dropped these: who has not begun with one does not get it, nor does a busy handler's queue.

        What lies before `first_seq` was consumed.
        """
        while self._records and self._records[0].seq <= last_seq:
            self._records.popleft()
        for handler in self._handlers:
            for record in handler.drop(last_seq):
                self.tracker.release(record.seq)
        self.tracker.skip(first_seq, last_seq)

    def glimpse(self, newest: R) -> None:
        """The newest stored record, seen from afar: peek shows it until it is put itself."""
        if self._glimpsed is None or newest.seq > self._glimpsed.seq:
            self._glimpsed = newest

    def newest(self) -> R | None:
        """Peek: the newest unconsumed record, which stays where it is."""
        if self._glimpsed is not None and self._glimpsed.seq > self._received_seq:
            return self._glimpsed
        return self._records[-1] if self._records else None

    def attach(self, handler: HandlerQueue[R]) -> None:
        """The handler gets every record from now on, first the buffered ones."""
        self._handlers[handler] = None
        self.wake()

    def detach(self, handler: HandlerQueue[R]) -> None:
        """The handler gets no more. Records that waited for its turn, and for nobody else's, are unconsumed again."""
        if handler in self._handlers:
            del self._handlers[handler]
            self.give_back(handler.close())

    def receive(self, settle: Callable[[], bool], *, immediate: bool = False, everything: bool = False) -> Receive[R]:
        """Joins the queue: first come, first served."""
        receive: Receive[R] = Receive(settle, immediate=immediate, everything=everything)
        self._receives[receive] = None
        self.wake()
        return receive

    def expire(self, receive: Receive[R]) -> None:
        """The receive's timeout has passed: it ends without a record, unless it has one."""
        if receive in self._receives:
            del self._receives[receive]
            receive.settle()

    def cancel(self, receive: Receive[R]) -> None:
        """The receive leaves the queue. A record that it got already goes back to its place."""
        self._receives.pop(receive, None)
        records, receive.records = receive.records, []
        self.give_back(records)

    def give_back(self, records: Iterable[R]) -> None:
        """Undoes that these were taken. What a handler has too stays consumed."""
        for record in records:
            if self.tracker.release(record.seq):
                insort(self._records, record, key=lambda each: each.seq)
        self.wake()

    def hand_out(self) -> bool:
        """Hands out the oldest record to every handler, then to the oldest receive. False: there was nothing to do.

        Call it when the turn is dry, and again when what it set going has run, until it returns False.
        """
        if self._closed:
            return False
        if self._records and (self._handlers or self._receives):
            self._hand_out(self._records.popleft())
            return True
        return bool(self._receives) and self._caught_up() and self._end_immediate()

    def close(self) -> None:
        """The run's function has ended: nothing more is handed out, and no handler's call begins any more."""
        self._closed = True
        for handler in tuple(self._handlers):
            self.detach(handler)
        self._receives.clear()

    def _hand_out(self, record: R) -> None:
        if not self._handlers:
            if not self._hand_to_receive(record):
                self._records.appendleft(record)
            return
        # Our own use, so that a quick handler does not finish the record before the others have it.
        self.tracker.use(record.seq)
        for handler in tuple(self._handlers):
            if handler in self._handlers:  # the handler before may have switched it off
                self.tracker.use(record.seq)
                handler.offer(record)
        self._hand_to_receive(record)
        if self.tracker.release(record.seq):
            self._records.appendleft(record)

    def _hand_to_receive(self, record: R) -> bool:
        while self._receives:
            receive = next(iter(self._receives))
            receive.records.append(record)
            self.tracker.use(record.seq)
            if receive.everything:
                return True
            del self._receives[receive]
            if receive.settle():
                return True
            receive.records.clear()
            self.tracker.release(record.seq)
        return False

    def _end_immediate(self) -> bool:
        ending = [receive for receive in self._receives if receive.immediate]
        for receive in ending:
            del self._receives[receive]
            if not receive.settle():
                self.cancel(receive)
        return bool(ending)
