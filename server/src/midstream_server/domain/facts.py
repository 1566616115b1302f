"""Facts that the server itself appends, encoded without their place: entries of a log, and marks among outputs."""

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from midstream.v1.entry_pb2 import Entry
from midstream.v1.record_pb2 import Record, Rewound, Sender
from midstream_server.domain.output import Range
from midstream_server.domain.run import State


def started(seed: bytes, runtime: str) -> bytes:
    return Entry(started=Entry.Started(seed=seed, runtime=runtime)).SerializeToString()


def ended(state: State) -> bytes:
    return Entry(ended=Entry.Ended(state=state.value)).SerializeToString()  # type: ignore[arg-type]


def cancel_requested(*, deadline_passed: bool) -> bytes:
    return Entry(cancel_requested=Entry.CancelRequested(deadline_passed=deadline_passed)).SerializeToString()


def timer_fired(operation: int, due_us: int) -> bytes:
    seconds, us = divmod(due_us, 1_000_000)
    due = Timestamp(seconds=seconds, nanos=us * 1_000)
    return Entry(timer_fired=Entry.TimerFired(operation=operation, due_time=due)).SerializeToString()


def records_dropped(stream_id: str, first_seq: int, last_seq: int) -> bytes:
    fact = Entry.RecordsDropped(stream_id=stream_id, first_seq=first_seq, last_seq=last_seq)
    return Entry(records_dropped=fact).SerializeToString()


def rewound(run_id: str, ranges: Iterable[Range]) -> bytes:
    """A Record."""
    record = Record(rewound=Rewound(), sender=Sender(kind=Sender.KIND_RUN, subject=run_id))
    for first_seq, last_seq in ranges:
        record.rewound.ranges.add(first_seq=first_seq, last_seq=last_seq)
    return record.SerializeToString()
