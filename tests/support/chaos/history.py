"""What clients saw: an append-only history, the only thing besides a final read that the checker knows.

All clients of a test share one process and one event loop, so the place in the history is a true order: whatever stands
earlier was over before the later thing began.
"""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SeenRecord:
    """A record as a client saw it. `payload` is its raw bytes as hex, `accept_time_us` microseconds since 1970."""

    run_id: str
    stream_id: str
    seq: int
    offset: int
    key: str
    payload: str
    accept_time_us: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A sender is about to send. Within one `lane` records are sent in order.

    A retry is another Sent, unless `retries_by_itself`: then the client may send it again without a word.
    """

    lane: str
    run_id: str
    stream_id: str
    key: str
    payload: str
    retries_by_itself: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A receipt: the server says that the record is on disk."""

    run_id: str
    stream_id: str
    key: str
    seq: int
    offset: int
    accept_time_us: int | None
    """None where the client does not tell it to the microsecond."""
    deduplicated: bool


@dataclass(frozen=True, slots=True)
class SendRefused:
    """A receipt: the server says that nothing was stored."""

    run_id: str
    stream_id: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Opening:
    """A holder is about to subscribe (or to call Receive, which is a subscription of one answer)."""

    subscription: int
    holder: str
    run_id: str
    stream_id: str
    holder_epoch: int
    after_seq: int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """The server's first answer. `last_seq` is None where the answer does not tell it."""

    subscription: int
    holder_epoch: int
    cursor: int
    last_seq: int | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A holder received a record."""

    subscription: int
    record: SeenRecord


@dataclass(frozen=True, slots=True)
class Acking:
    """A holder is about to acknowledge: with a frame of its subscription, or with the unary Ack numbered `call`."""

    subscription: int
    through_seq: int
    call: int = 0


@dataclass(frozen=True, slots=True)
class Acked:
    """The server says that the cursor is on disk. `call` is that of its Acking; 0 is a frame of the subscription."""

    subscription: int
    cursor: int
    call: int = 0


@dataclass(frozen=True, slots=True)
class AckRefused:
    """The server says that the unary Ack `call` changed nothing."""

    subscription: int
    call: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tailed:
    """An observer, which resumes behind the last offset it saw, was given a record."""

    observer: str
    record: SeenRecord


@dataclass(frozen=True, slots=True)
class Handled:
    """An attached process, which lives on all the time, was given a record's value by the midstream client."""

    run_id: str
    stream_id: str
    payload: str


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A call answered with this state of a run."""

    run_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Started:
    """The server says that a run with these first records is on disk."""

    run_id: str
    stream_id: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stuck:
    """Nothing ailed any more, and for a long time nothing happened that had to happen. `waits_for` tells what."""

    run_id: str
    state: str
    waits_for: str


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault begins or ends, for the reader of the history: no rule asks for it."""

    fault: str


@dataclass(frozen=True, slots=True)
class Surprise:
    """An answer that no promise allows; whoever got it has stopped."""

    who: str
    run_id: str
    answer: str


Event = (
    Sent
    | Accepted
    | SendRefused
    | Opening
    | Opened
    | Delivered
    | Acking
    | Acked
    | AckRefused
    | Tailed
    | Handled
    | RunSeen
    | Started
    | Stuck
    | Struck
    | Surprise
)

ANSWERS = (Accepted, Delivered, Acked, Handled)
"""Events that come from the server and mean progress."""


class History:
    """Events in the order in which the clients saw them."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._began = time.monotonic()
        self._seconds: list[float] = []
        self._answers = 0
        self._numbers = 0
        self._waiters: dict[asyncio.Future[None], Callable[[], bool]] = {}

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> None:
        """Appends, and wakes whoever waits for what has become true."""
        self._events.append(event)
        self._seconds.append(time.monotonic() - self._began)
        self._answers += isinstance(event, ANSWERS)
        for waiter, condition in self._waiters.items():
            if not waiter.done() and condition():
                waiter.set_result(None)

    def new_number(self) -> int:
        """A number that no other subscription and no other Ack call has."""
        self._numbers += 1
        return self._numbers

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds; it is asked after every event."""
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = condition
        try:
            await waiter
        finally:
            del self._waiters[waiter]

    async def until_answers(self, number: int) -> None:
        """Waits until the server has answered `number` more things: receipts, records, confirmed cursors."""
        goal = self._answers + number
        await self.until(lambda: self._answers >= goal)

    def write(self, path: Path) -> None:
        """Writes one JSON object a line, for a person who looks into a violation. `at` is in seconds."""
        with path.open("w", encoding="utf-8") as file:
            for event, seconds in zip(self._events, self._seconds, strict=True):
                file.write(json.dumps({"at": round(seconds, 3), "event": type(event).__name__} | asdict(event)) + "\n")

    def told(self, concerns: Collection[str], *, last: int) -> list[str]:
        """The last events of these runs, and all faults among them, as lines for a person."""
        lines = [
            f"{seconds:8.3f} s  {_as_text(event)}"
            for event, seconds in zip(self._events, self._seconds, strict=True)
            if isinstance(event, Struck) or getattr(event, "run_id", None) in concerns
        ]
        return lines[-last:]


def _as_text(event: Event) -> str:
    if isinstance(event, Struck):
        return f"*** {event.fault}"
    fields = [f"{name}={value}" for name, value in asdict(event).items() if name not in ("payload", "accept_time_us")]
    return f"{type(event).__name__} {' '.join(fields)}"


@dataclass(frozen=True, slots=True)
class FinalStream:
    """A stream as GetRun shows it at the end."""

    last_seq: int
    cursor: int
    unread_count: int


@dataclass(frozen=True, slots=True)
class FinalEntry:
    """An entry of a managed run's log. `key` names the operation and attempt of what a worker asked for.

    `epoch` is that of the worker, where the entry tells it; `time_us` microseconds since 1970.
    """

    offset: int
    time_us: int
    fact: str
    key: str = ""
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class FinalAssignment:
    """The time in which one worker had the run. Microseconds since 1970; None: it still has it."""

    epoch: int
    worker: str
    began_us: int
    ended_us: int | None


@dataclass(frozen=True, slots=True)
class FinalWork:
    """What a managed run has come to: its log, its assignments, and what it returned or why it is blocked."""

    entries: tuple[FinalEntry, ...]
    assignments: tuple[FinalAssignment, ...]
    result: object
    failure: str = ""


@dataclass(frozen=True, slots=True)
class FinalRun:
    """A run at the end: GetRun's state and streams, and every page of ListRecords. `work` is a managed run's."""

    state: str
    streams: dict[str, FinalStream]
    records: tuple[SeenRecord, ...]
    work: FinalWork | None = None


FinalRead = dict[str, FinalRun]
"""The final read, by run id: through the public API, after the last restart."""
