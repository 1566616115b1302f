"""What must hold for records, keys, seqs, offsets and runs."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from support.chaos.history import (
    Accepted,
    Delivered,
    FinalRead,
    History,
    RunSeen,
    SeenRecord,
    SendRefused,
    Sent,
    Started,
    Surprise,
    Tailed,
)

Place = tuple[str, str, int]
"""Run, stream, seq."""
Key = tuple[str, str, str]
"""Run, stream, idempotency key."""

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "EXPIRED"})


def stored_records(final: FinalRead) -> Iterator[SeenRecord]:
    for run in final.values():
        yield from run.records


def seen_records(history: History, final: FinalRead) -> Iterator[tuple[str, SeenRecord]]:
    """Every whole record that any client saw, with how it was seen."""
    for event in history:
        match event:
            case Delivered(record=record):
                yield "delivered", record
            case Tailed(record=record):
                yield "tailed", record
    for record in stored_records(final):
        yield "stored", record


def named(record: SeenRecord) -> str:
    return f"{record.run_id}/{record.stream_id} seq {record.seq} (offset {record.offset}, key {record.key})"


def answers_as_promised(history: History, final: FinalRead) -> Iterator[str]:
    """No call was answered with something that the contract does not allow there."""
    for event in history:
        if isinstance(event, Surprise):
            yield f"{event.who} on {event.run_id} was answered {event.answer}"


def acknowledged_is_stored(history: History, final: FinalRead) -> Iterator[str]:
    """An acknowledged record is there at the end, at the place that its receipt named."""
    stored = {(r.run_id, r.stream_id, r.seq): r for r in stored_records(final)}
    for event in history:
        if not isinstance(event, Accepted):
            continue
        where = f"{event.run_id}/{event.stream_id} key {event.key}"
        record = stored.get((event.run_id, event.stream_id, event.seq))
        if record is None:
            yield f"{where} was acknowledged as seq {event.seq} and is lost"
        elif record.key != event.key:
            yield f"{where} was acknowledged as seq {event.seq}, where now stands key {record.key}"
        elif (record.offset, record.accept_time_us) != (event.offset, event.accept_time_us or record.accept_time_us):
            yield (
                f"{where} was acknowledged at offset {event.offset}, time {event.accept_time_us}, "
                f"and now has offset {record.offset}, time {record.accept_time_us}"
            )


def refused_is_not_stored(history: History, final: FinalRead) -> Iterator[str]:
    """A record that was refused leaves nothing behind."""
    stored = {(r.run_id, r.stream_id, r.key): r for r in stored_records(final)}
    for event in history:
        if isinstance(event, SendRefused):
            record = stored.get((event.run_id, event.stream_id, event.key))
            if record is not None:
                yield f"{named(record)} is stored though it was refused with {event.reason}"


def stored_was_sent_unchanged(history: History, final: FinalRead) -> Iterator[str]:
    """Nobody sees a record that nobody sent, or other bytes than were sent."""
    sent: dict[Key, str] = {(e.run_id, e.stream_id, e.key): e.payload for e in history if isinstance(e, Sent)}
    for how, record in seen_records(history, final):
        payload = sent.get((record.run_id, record.stream_id, record.key))
        if payload is None:
            yield f"{named(record)} was {how} and never sent there"
        elif payload != record.payload:
            yield f"{named(record)} was {how} with payload {record.payload}, sent was {payload}"


def one_seq_for_one_key(history: History, final: FinalRead) -> Iterator[str]:
    """A key stands for one record, whoever looks: never answered with two seqs, never stored or delivered twice."""
    first: dict[Key, tuple[int, str]] = {}
    for how, run_id, stream_id, key, seq in _placed_keys(history, final):
        known_seq, known_how = first.setdefault((run_id, stream_id, key), (seq, how))
        if known_seq != seq:
            yield f"{run_id}/{stream_id} key {key} was {known_how} as seq {known_seq} and {how} as seq {seq}"


def one_record_for_one_seq(history: History, final: FinalRead) -> Iterator[str]:
    """A seq stands for one record: never given again after a crash."""
    first: dict[Place, tuple[str, str]] = {}
    for how, run_id, stream_id, key, seq in _placed_keys(history, final):
        known_key, known_how = first.setdefault((run_id, stream_id, seq), (key, how))
        if known_key != key:
            yield f"{run_id}/{stream_id} seq {seq} was {known_how} for key {known_key} and {how} for key {key}"


def _placed_keys(history: History, final: FinalRead) -> Iterator[tuple[str, str, str, str, int]]:
    """How, run, stream, key and seq of every receipt and every record."""
    for event in history:
        if isinstance(event, Accepted):
            yield "acknowledged", event.run_id, event.stream_id, event.key, event.seq
    for how, record in seen_records(history, final):
        yield how, record.run_id, record.stream_id, record.key, record.seq


def receipts_tell_duplicates(history: History, final: FinalRead) -> Iterator[str]:
    """A receipt says `deduplicated` if the key had a receipt before, and not if it was sent for the first time."""
    sent: dict[Key, int] = defaultdict(int)
    acknowledged: set[Key] = set()
    for event in history:
        match event:
            case Sent():
                sent[event.run_id, event.stream_id, event.key] += 2 if event.retries_by_itself else 1
            case Accepted():
                key = (event.run_id, event.stream_id, event.key)
                where = f"{event.run_id}/{event.stream_id} key {event.key} (seq {event.seq})"
                if key in acknowledged and not event.deduplicated:
                    yield f"{where} was acknowledged as new a second time"
                if sent[key] == 1 and event.deduplicated:
                    yield f"{where} was sent once and answered as a duplicate"
                acknowledged.add(key)


def seqs_without_gaps(history: History, final: FinalRead) -> Iterator[str]:
    """The seqs of a stream are 1, 2, 3, ... and the run's own count agrees."""
    for run_id, run in final.items():
        by_stream: dict[str, list[int]] = defaultdict(list)
        for record in run.records:
            by_stream[record.stream_id].append(record.seq)
        for stream_id, seqs in by_stream.items():
            for expected, seq in enumerate(seqs, start=1):
                if seq != expected:
                    yield f"{run_id}/{stream_id} lists seq {seq} where {expected} was due"
                    break
        for stream_id in by_stream.keys() | run.streams.keys():
            listed, status = by_stream.get(stream_id, []), run.streams.get(stream_id)
            last_seq = 0 if status is None else status.last_seq
            if last_seq != len(listed):
                yield f"{run_id}/{stream_id} has {len(listed)} records listed and last_seq {last_seq}"


def log_order(history: History, final: FinalRead) -> Iterator[str]:
    """Along a run's log offsets grow strictly and times never go back."""
    for run in final.values():
        for before, after in pairwise(run.records):
            if after.offset <= before.offset:
                yield f"{named(after)} is listed behind {named(before)}"
            if after.accept_time_us < before.accept_time_us:
                early = before.accept_time_us - after.accept_time_us
                yield f"{named(after)} was accepted {early} us before {named(before)}"


def senders_order(history: History, final: FinalRead) -> Iterator[str]:
    """What one sender sent in order has seqs in that order."""
    seqs = {(r.run_id, r.stream_id, r.key): r.seq for r in stored_records(final)}
    last: dict[tuple[str, str, str], tuple[int, str]] = {}
    started: set[Key] = set()
    for event in history:
        if not isinstance(event, Sent):
            continue
        key = (event.run_id, event.stream_id, event.key)
        if key in started or key not in seqs:
            continue
        started.add(key)
        lane = (event.lane, event.run_id, event.stream_id)
        before_seq, before_key = last.get(lane, (0, ""))
        if seqs[key] < before_seq:
            yield (
                f"{event.run_id}/{event.stream_id} {event.lane} sent {before_key} before {event.key}, "
                f"their seqs are {before_seq} and {seqs[key]}"
            )
        last[lane] = (seqs[key], event.key)


def started_runs_are_whole(history: History, final: FinalRead) -> Iterator[str]:
    """A run that was started is there, with all its first records."""
    for event in history:
        if not isinstance(event, Started):
            continue
        if event.run_id not in final:
            yield f"{event.run_id} was started and is lost"
            continue
        keys = tuple(record.key for record in final[event.run_id].records if record.stream_id == event.stream_id)
        if keys != event.keys:
            yield f"{event.run_id}/{event.stream_id} was started with keys {event.keys} and has {keys}"


def ended_runs_stay_ended(history: History, final: FinalRead) -> Iterator[str]:
    """An ended run keeps its state and takes no new record."""
    ended: dict[str, str] = {}
    late: set[Key] = set()
    started: set[Key] = set()
    for event in history:
        match event:
            case RunSeen():
                before = ended.get(event.run_id)
                if before is not None and before != event.state:
                    yield f"{event.run_id} was {before} and then {event.state}"
                if event.state in ENDED:
                    ended[event.run_id] = event.state
            case Sent():
                key = (event.run_id, event.stream_id, event.key)
                if key not in started and event.run_id in ended:
                    late.add(key)
                started.add(key)
            case Accepted() if (event.run_id, event.stream_id, event.key) in late:
                yield f"{event.run_id}/{event.stream_id} key {event.key} was accepted after the run had ended"
    for run_id, state in ended.items():
        now = final[run_id].state if run_id in final else "gone"
        if now != state:
            yield f"{run_id} was {state} and is {now} at the end"


def observers_see_everything_once(history: History, final: FinalRead) -> Iterator[str]:
    """An observer sees records once, in offset order, over all its reconnects; all of them, if the run has ended."""
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in history:
        if isinstance(event, Tailed):
            seen[event.observer, event.record.run_id].append(event.record.offset)
    for (observer, run_id), offsets in seen.items():
        for before, after in pairwise(offsets):
            if after <= before:
                yield f"{observer} of {run_id} saw offset {after} after offset {before}"
        stored = {record.offset for record in final[run_id].records} if run_id in final else set()
        missed = sorted(stored - set(offsets))
        if missed and final[run_id].state in ENDED:
            yield f"{observer} of {run_id} never saw {len(missed)} records, the first at offset {missed[0]}"
        invented = sorted(set(offsets) - stored)
        if invented:
            yield f"{observer} of {run_id} saw {len(invented)} records that are gone, the first at offset {invented[0]}"
