"""One handler and the records that it was handed: handled one at a time, in order."""

from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Generic, Protocol, TypeVar


class Sequenced(Protocol):
    """What a buffer and its handlers need to know of a record."""

    @property
    def seq(self) -> int: ...


R = TypeVar("R", bound=Sequenced)

Ended = Callable[[BaseException | None], None]
"""Called once, when an awaitable has ended: with its error, or None."""

Spawn = Callable[[Awaitable[object], Ended], None]
"""Runs an awaitable in the background, on whatever loop the run lives on."""


class HandlerQueue(Generic[R]):
    """Calls `handle` with each record, the next one only when the call before has ended.

    What `handle` returns is awaited where it is awaitable, else ignored. `finished` hears of every call that ended,
    with the error that it raised, or None. A raising call holds nothing up.
    """

    def __init__(
        self,
        handle: Callable[[R], object],
        *,
        spawn: Spawn,
        finished: Callable[[R, BaseException | None], None],
    ) -> None:
        self._handle = handle
        self._spawn = spawn
        self._finished = finished
        self._waiting: deque[R] = deque()
        self._busy = False

    def __len__(self) -> int:
        """How many records it has not finished."""
        return len(self._waiting) + self._busy

    def offer(self, record: R) -> None:
        """Handles the record, now or when its turn comes."""
        self._waiting.append(record)
        self._work()

    def close(self) -> list[R]:
        """Begins no further call; one that has begun goes on. Returns the records whose turn had not come."""
        never_begun = list(self._waiting)
        self._waiting.clear()
        return never_begun

    def drop(self, through_seq: int) -> list[R]:
        """Takes away the records up to this one whose turn has not come, and returns them."""
        dropped: list[R] = []
        while self._waiting and self._waiting[0].seq <= through_seq:
            dropped.append(self._waiting.popleft())
        return dropped

    def _work(self) -> None:
        while self._waiting and not self._busy:
            record = self._waiting.popleft()
            self._busy = True
            try:
                outcome = self._handle(record)
            # Not every BaseException: an interrupt from the keyboard is not the handler's failure.
            except (Exception, CancelledError) as error:
                self._end(record, error)
                continue
            if isawaitable(outcome):
                self._spawn(outcome, partial(self._end_and_go_on, record))
            else:
                self._end(record, None)

    def _end_and_go_on(self, record: R, error: BaseException | None) -> None:
        self._end(record, error)
        self._work()

    def _end(self, record: R, error: BaseException | None) -> None:
        self._busy = False
        self._finished(record, error)
