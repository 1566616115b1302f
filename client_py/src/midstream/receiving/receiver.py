"""What a run offers to the input streams that are used in it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from midstream.models import Record


class Inbox(Protocol):
    """One stream of one run, in records; the input stream turns them into values. Timeouts are in microseconds."""

    def on(self, handle: Callable[[Record], object], *, name: str) -> Callable[[], None]:
        """Hands every record to `handle`, known as `name` in failures. Returns what switches it off."""
        ...

    async def once(self, timeout_us: int | None) -> Record | None:
        """The oldest unconsumed record or the next to arrive; None where the timeout passed first."""
        ...

    async def wait(self, timeout_us: int | None) -> Record | None:
        """The same, and the process may go in between."""
        ...

    async def drain(self) -> list[Record]:
        """All unconsumed records."""
        ...

    def newest(self) -> Record | None:
        """The newest unconsumed record, which stays unconsumed."""
        ...

    def give_back(self, records: Sequence[Record]) -> None:
        """Undoes that `once`, `wait` or `drain` took these just now."""
        ...

    async def ack(self) -> None:
        """Acknowledges, on disk, what was taken."""
        ...


class Receiver(Protocol):
    """A run, as its input streams see it."""

    def inbox(self, stream_id: str) -> Inbox:
        """The stream's inbox in this run, always the same one."""
        ...

    async def wait_any(self, stream_ids: Sequence[str], timeout_us: int | None) -> Record | None:
        """The unconsumed record with the lowest offset on these streams, or the next to arrive; the process may go.

        None where the timeout passed first. Streams that it does not take from lose nothing.
        """
        ...
