"""Reading output streams: records, what takes some of them back, and the list of those that count."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from midstream.models import Record
from midstream.timestamps import to_datetime
from midstream.v1 import record_pb2


class SeqRange(NamedTuple):
    """Seqs without gaps, both ends included."""

    first_seq: int
    last_seq: int


@dataclass(frozen=True)
class Rewound:
    """Earlier records of a stream do not count any more: the step that appended them runs again.

    Stands among the records, with a seq and an offset of its own.
    """

    run_id: str
    stream_id: str
    seq: int
    offset: int
    accept_time: datetime
    ranges: tuple[SeqRange, ...]

    def covers(self, record: Record) -> bool:
        """Whether the record does not count any more."""
        return record.stream_id == self.stream_id and any(
            first_seq <= record.seq <= last_seq for first_seq, last_seq in self.ranges
        )

    @classmethod
    def from_proto(cls, record: record_pb2.Record) -> Self:
        return cls(
            run_id=record.run_id,
            stream_id=record.stream_id,
            seq=record.seq,
            offset=record.offset,
            accept_time=to_datetime(record.accept_time),
            ranges=tuple(SeqRange(each.first_seq, each.last_seq) for each in record.rewound.ranges),
        )


OutputEvent = Record | Rewound
"""What `client.tail_output` yields."""


def event_of(record: record_pb2.Record) -> OutputEvent:
    return Rewound.from_proto(record) if record.HasField("rewound") else Record.from_proto(record)


@dataclass
class OutputView:
    """What counts of a run's output, kept up to date by `apply`. `offset` is that of the last event."""

    records: list[Record] = field(default_factory=list)
    offset: int = 0

    @property
    def values(self) -> list[Any]:
        """The records' values, in offset order."""
        return [record.value for record in self.records]

    def apply(self, event: OutputEvent) -> None:
        """Adds a record, or drops what is taken back. Events at or before `offset` are known, and change nothing."""
        if event.offset <= self.offset:
            return
        self.offset = event.offset
        if isinstance(event, Rewound):
            self.records = [record for record in self.records if not event.covers(record)]
        else:
            self.records.append(event)
