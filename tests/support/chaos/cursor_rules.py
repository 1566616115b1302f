"""What must hold for holders, deliveries and cursors."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

from support.chaos.history import Accepted, Acked, Acking, Delivered, FinalRead, Handled, History, Opened, Opening

Stream = tuple[str, str]
"""Run, stream."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An acknowledgement that was sent, with what was known by then."""

    call: int
    through_seq: int
    confirmed: int
    """The highest confirmed cursor of the stream."""
    fenced: bool
    """Whether a newer holder had been opened."""


@dataclass(slots=True)
class Subscription:
    """What is known of one subscription while the history is read."""

    opening: Opening
    confirmed_before: int
    """The highest cursor of this stream that was confirmed before it was opened."""
    stored_before: int
    """The highest seq of this stream that was acknowledged to a sender before it was opened."""
    newest_epoch_before: int
    opened: Opened | None = None
    last_seq: int = 0
    """Where delivery stands: starts at the place asked for."""
    told_cursor: int = 0
    """The cursor that its newest frame told."""
    attempts: list[Attempt] = field(default_factory=list)

    def causes(self, acked: Acked) -> list[Attempt]:
        """Which acknowledgements may have had this answer: a unary one is known, a frame answers any that reach it."""
        if acked.call != 0:
            return [attempt for attempt in self.attempts if attempt.call == acked.call]
        return [attempt for attempt in self.attempts if attempt.call == 0 and attempt.through_seq >= acked.cursor]

    @property
    def stream(self) -> Stream:
        return self.opening.run_id, self.opening.stream_id

    @property
    def name(self) -> str:
        opening = self.opening
        epoch = "?" if self.opened is None else self.opened.holder_epoch
        where = f"{opening.run_id}/{opening.stream_id}"
        return f"{where} {opening.holder} (subscription {opening.subscription}, epoch {epoch})"


@dataclass(slots=True)
class Reading:
    """The state of one pass over the history, shared by the rules below."""

    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    confirmed: dict[Stream, int] = field(default_factory=lambda: defaultdict(int))
    stored: dict[Stream, int] = field(default_factory=lambda: defaultdict(int))
    delivered: dict[Stream, int] = field(default_factory=lambda: defaultdict(int))
    newest_epoch: dict[Stream, int] = field(default_factory=lambda: defaultdict(int))


Step = Opening | Opened | Delivered | Acking | Acked


def read(history: History) -> Iterator[tuple[Reading, Subscription, Step]]:
    """Each step of a holder, with what was known *before* it."""
    reading = Reading()
    for event in history:
        match event:
            case Accepted():
                stream = (event.run_id, event.stream_id)
                reading.stored[stream] = max(reading.stored[stream], event.seq)
            case Opening():
                stream = (event.run_id, event.stream_id)
                subscription = Subscription(
                    event, reading.confirmed[stream], reading.stored[stream], reading.newest_epoch[stream]
                )
                reading.subscriptions[event.subscription] = subscription
                yield reading, subscription, event
            case Opened():
                subscription = reading.subscriptions[event.subscription]
                subscription.opened = event
                subscription.last_seq = max(event.cursor, subscription.opening.after_seq or 0)
                yield reading, subscription, event
                stream = subscription.stream
                reading.newest_epoch[stream] = max(reading.newest_epoch[stream], event.holder_epoch)
            case Delivered():
                subscription = reading.subscriptions[event.subscription]
                yield reading, subscription, event
                subscription.last_seq = event.record.seq
                stream = subscription.stream
                reading.delivered[stream] = max(reading.delivered[stream], event.record.seq)
            case Acking():
                subscription = reading.subscriptions[event.subscription]
                yield reading, subscription, event
                assert subscription.opened is not None, "nobody can acknowledge before it is opened"
                stream = subscription.stream
                fenced = reading.newest_epoch[stream] > subscription.opened.holder_epoch
                attempt = Attempt(event.call, event.through_seq, reading.confirmed[stream], fenced)
                subscription.attempts.append(attempt)
            case Acked():
                subscription = reading.subscriptions[event.subscription]
                yield reading, subscription, event
                stream = subscription.stream
                reading.confirmed[stream] = max(reading.confirmed[stream], event.cursor)
                if event.call == 0:
                    subscription.told_cursor = event.cursor


def deliveries_in_order(history: History, final: FinalRead) -> Iterator[str]:
    """A subscription begins behind the cursor, or where it asked, and goes on record by record."""
    for _, subscription, event in read(history):
        match event:
            case Opened(last_seq=int(last_seq)) if last_seq < subscription.stored_before:
                yield (
                    f"{subscription.name} was told last_seq {last_seq} "
                    f"when seq {subscription.stored_before} had been acknowledged"
                )
            case Delivered() if event.record.seq != subscription.last_seq + 1:
                yield f"{subscription.name} was given seq {event.record.seq} where {subscription.last_seq + 1} was due"


def delivered_is_stored(history: History, final: FinalRead) -> Iterator[str]:
    """What was delivered is on disk: it is there at the end."""
    stored = {(r.run_id, r.stream_id, r.seq, r.offset, r.key) for run in final.values() for r in run.records}
    for event in history:
        if isinstance(event, Delivered):
            record = event.record
            if (record.run_id, record.stream_id, record.seq, record.offset, record.key) not in stored:
                yield (
                    f"{record.run_id}/{record.stream_id} seq {record.seq} (offset {record.offset}, key {record.key}) "
                    "was delivered and is lost"
                )


def cursor_never_goes_back(history: History, final: FinalRead) -> Iterator[str]:
    """A confirmed cursor is durable: no later answer is below it, nothing at or below it is delivered again."""
    confirmed: dict[Stream, int] = {}
    for reading, subscription, event in read(history):
        confirmed = reading.confirmed
        before = subscription.confirmed_before
        match event:
            case Opened() if event.cursor < before:
                yield f"{subscription.name} was opened with cursor {event.cursor} after {before} had been confirmed"
            case Delivered() if event.record.seq <= before:
                yield f"{subscription.name} was given seq {event.record.seq} again after {before} had been confirmed"
            case Acked():
                # An answer may have been on its way for long: only what was confirmed before it was caused counts.
                known = min((attempt.confirmed for attempt in subscription.causes(event)), default=before)
                floor = max(known, before, subscription.told_cursor if event.call == 0 else 0)
                if event.cursor < floor:
                    yield f"{subscription.name} was told cursor {event.cursor} after {floor} had been confirmed"
    for (run_id, stream_id), cursor in confirmed.items():
        status = final[run_id].streams.get(stream_id) if run_id in final else None
        now = 0 if status is None else status.cursor
        if now < cursor:
            yield f"{run_id}/{stream_id} has cursor {now} at the end after {cursor} had been confirmed"


def only_delivered_is_acknowledged(history: History, final: FinalRead) -> Iterator[str]:
    """No confirmed cursor is beyond what some holder was given."""
    for reading, subscription, event in read(history):
        if isinstance(event, Acked | Opened) and event.cursor > reading.delivered[subscription.stream]:
            yield (
                f"{subscription.name} was told cursor {event.cursor} "
                f"when only seq {reading.delivered[subscription.stream]} had been delivered"
            )


def only_the_newest_holder_acknowledges(history: History, final: FinalRead) -> Iterator[str]:
    """Epochs tell holders apart, and an acknowledgement that a holder sent after it was followed is not confirmed."""
    for _, subscription, event in read(history):
        match event:
            case Opened() if subscription.opening.holder_epoch not in (0, event.holder_epoch):
                yield f"{subscription.name} asked to go on with epoch {subscription.opening.holder_epoch}"
            case Opened() if subscription.opening.holder_epoch == 0:
                before = subscription.newest_epoch_before
                if event.holder_epoch <= before:
                    yield f"{subscription.name} is a new holder; epoch {before} existed before"
            case Opened() if event.holder_epoch < subscription.newest_epoch_before:
                yield f"{subscription.name} was opened after epoch {subscription.newest_epoch_before} had taken over"
            case Acked():
                causes = subscription.causes(event)
                if causes and all(attempt.fenced for attempt in causes):
                    yield f"{subscription.name} had cursor {event.cursor} confirmed after another holder had taken over"


def delivered_or_unread(history: History, final: FinalRead) -> Iterator[str]:
    """Every stored record was delivered to a holder or still counts as unread."""
    delivered: dict[Stream, set[int]] = defaultdict(set)
    handled: set[Stream] = set()
    """Their deliveries are the client's own; see the next rule."""
    for event in history:
        match event:
            case Delivered(record=record):
                delivered[record.run_id, record.stream_id].add(record.seq)
            case Handled():
                handled.add((event.run_id, event.stream_id))
    for run_id, run in final.items():
        # A managed run's were given to its worker: what that has made of them tells, see the rules of managed runs.
        for record in run.records if run.work is None else ():
            status = run.streams.get(record.stream_id)
            consumed = status is not None and record.seq <= status.cursor and (run_id, record.stream_id) not in handled
            if consumed and record.seq not in delivered[run_id, record.stream_id]:
                where = f"{run_id}/{record.stream_id} seq {record.seq} (key {record.key})"
                yield f"{where} counts as read and was never delivered"
        for stream_id, status in run.streams.items():
            if status.unread_count != status.last_seq - status.cursor:
                yield (
                    f"{run_id}/{stream_id} says {status.unread_count} unread "
                    f"with last_seq {status.last_seq} and cursor {status.cursor}"
                )


def a_living_process_handles_everything_once(history: History, final: FinalRead) -> Iterator[str]:
    """What the client handed over is what is stored, in order, each once; all that was consumed was handed over."""
    handled: dict[Stream, list[str]] = defaultdict(list)
    for event in history:
        if isinstance(event, Handled):
            handled[event.run_id, event.stream_id].append(event.payload)
    for (run_id, stream_id), payloads in handled.items():
        run = final.get(run_id)
        stored = [] if run is None else [r.payload for r in run.records if r.stream_id == stream_id]
        for seq, (got, due) in enumerate(zip_longest(payloads, stored[: len(payloads)]), start=1):
            if got != due:
                yield f"{run_id}/{stream_id} handled {got} as number {seq}, where {due} is stored"
                break
        status = None if run is None else run.streams.get(stream_id)
        if status is not None and status.cursor > len(payloads):
            yield f"{run_id}/{stream_id} has cursor {status.cursor} and handled only {len(payloads)}"
