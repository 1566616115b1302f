"""The checker itself: a good history passes, and each kind of bad history is caught by the rule made for it."""

from dataclasses import replace

import pytest

from midstream.v1.record_pb2 import Payload
from support.chaos.checker import RULES, check
from support.chaos.history import (
    Accepted,
    Acked,
    Acking,
    AckRefused,
    Delivered,
    Event,
    FinalAssignment,
    FinalEntry,
    FinalRead,
    FinalRun,
    FinalStream,
    FinalWork,
    Handled,
    History,
    Opened,
    Opening,
    RunSeen,
    SeenRecord,
    SendRefused,
    Sent,
    Started,
    Stuck,
    Surprise,
    Tailed,
)

RUN, STREAM = "run-1", "words"


def record(seq: int, *, key: str = "", payload: str = "", offset: int = 0, accept_time_us: int = 0) -> SeenRecord:
    return SeenRecord(
        RUN, STREAM, seq, offset or seq + 1, key or f"k{seq}", payload or f"p{seq}", accept_time_us or 1000 + seq
    )


def sent(number: int, *, lane: str = "lane", payload: str = "") -> Sent:
    return Sent(lane, RUN, STREAM, f"k{number}", payload or f"p{number}")


def accepted(number: int, *, seq: int = 0, deduplicated: bool = False) -> Accepted:
    seq = seq or number
    return Accepted(RUN, STREAM, f"k{number}", seq, seq + 1, 1000 + seq, deduplicated)


def opening(subscription: int, holder: str, epoch: int = 0, after_seq: int | None = None) -> Opening:
    return Opening(subscription, holder, RUN, STREAM, epoch, after_seq)


GOOD: tuple[Event, ...] = (
    Started(RUN, STREAM, ("k1", "k2", "k3", "k4")),
    RunSeen(RUN, "RUNNING"),
    *(sent(number) for number in (1, 2, 3, 4)),
    opening(1, "first"),
    Opened(1, 1, 0, 0),
    *(accepted(number) for number in (1, 2, 3)),
    sent(3),  # its receipt was late: sent again
    accepted(3, deduplicated=True),
    *(Delivered(1, record(seq)) for seq in (1, 2, 3)),
    Acking(1, 2),
    Acked(1, 2),
    # The connection broke: the same holder goes on behind the cursor, then behind what it received.
    opening(2, "first", 1),
    Opened(2, 1, 2, 3),
    Delivered(2, record(3)),
    opening(3, "first", 1, 3),
    Opened(3, 1, 2, 3),
    accepted(4),
    Delivered(3, record(4)),
    # Another holder takes over; what the old one says late is refused.
    opening(4, "second"),
    Opened(4, 2, 2, 4),
    Acking(3, 4, 10),
    AckRefused(3, 10, "FENCED"),
    Delivered(4, record(3)),
    Acking(4, 3),
    Acking(4, 99, 11),
    AckRefused(4, 11, "ACK_AHEAD"),
    Acked(4, 3),
    Acking(4, 1, 12),  # long done: no effect
    Acked(4, 3, 12),
    *(Tailed("observer", record(seq)) for seq in (1, 2, 3, 4)),
    RunSeen(RUN, "COMPLETED"),
    sent(5),
    SendRefused(RUN, STREAM, "k5", "RUN_FINISHED"),
    sent(4),
    accepted(4, deduplicated=True),
)
STORED = tuple(record(seq) for seq in (1, 2, 3, 4))


def final(records: tuple[SeenRecord, ...] = STORED, *, cursor: int = 3, state: str = "COMPLETED") -> FinalRead:
    last_seq = len(records)
    return {RUN: FinalRun(state, {STREAM: FinalStream(last_seq, cursor, last_seq - cursor)}, records)}


def rules_of(events: tuple[Event, ...], final_read: FinalRead) -> set[str]:
    history = History()
    for event in events:
        history.add(event)
    return {violation.split(":", 1)[0] for violation in check(history, final_read)}


def test_a_good_history_passes() -> None:
    assert rules_of(GOOD, final()) == set()


HANDLED = tuple(Handled(RUN, STREAM, f"p{seq}") for seq in (1, 2, 3, 4))


def test_a_good_history_of_the_client_passes() -> None:
    assert rules_of((*GOOD, *HANDLED), final()) == set()
    assert rules_of((*GOOD, *HANDLED[:3]), final()) == set()


def after(*events: Event, upto: Event | None = None) -> tuple[Event, ...]:
    """The good history, or its part through `upto`, and then these events."""
    good = GOOD if upto is None else GOOD[: GOOD.index(upto) + 1]
    return (*good, *events)


OPEN = (opening(5, "third"), Opened(5, 3, 3, 4))

BAD_HISTORIES: dict[str, tuple[str, tuple[Event, ...]]] = {
    "a call fails that must not": ("answers_as_promised", after(Surprise("sender", RUN, "INTERNAL"))),
    "a key has two seqs": ("one_seq_for_one_key", after(sent(1), accepted(1, seq=4, deduplicated=True))),
    "a seq has two keys": ("one_record_for_one_seq", after(sent(6), accepted(6, seq=4))),
    "a retry counts as new": ("receipts_tell_duplicates", after(sent(1), accepted(1))),
    "a new record counts as a retry": ("receipts_tell_duplicates", after(sent(6), accepted(6, deduplicated=True))),
    "an ended run takes a record": ("ended_runs_stay_ended", after(sent(6), accepted(6))),
    "an ended run runs again": ("ended_runs_stay_ended", after(RunSeen(RUN, "RUNNING"))),
    "an observer sees a record twice": ("observers_see_everything_once", after(Tailed("observer", record(4)))),
    "an observer misses a record": ("observers_see_everything_once", after(Tailed("other", record(2)))),
    "a payload changes on its way": ("stored_was_sent_unchanged", after(*OPEN, Delivered(5, record(4, payload="x")))),
    "a record comes from nowhere": ("stored_was_sent_unchanged", after(*OPEN, Delivered(5, record(4, key="x")))),
    "a delivery skips a record": (
        "deliveries_in_order",
        after(opening(5, "third"), Opened(5, 3, 2, 4), Delivered(5, record(4))),
    ),
    "a delivery repeats a record": ("deliveries_in_order", after(Delivered(4, record(3)))),
    "a reader is told an old end": ("deliveries_in_order", after(opening(5, "third"), Opened(5, 3, 3, 2))),
    "a delivered record was never stored": ("delivered_is_stored", after(*OPEN, Delivered(5, record(5, key="k1")))),
    "the cursor is behind at the next opening": (
        "cursor_never_goes_back",
        after(opening(5, "third"), Opened(5, 3, 2, 4)),
    ),
    "a done record is delivered again": (
        "cursor_never_goes_back",
        after(opening(5, "third"), Opened(5, 3, 3, 4), Delivered(5, record(3))),
    ),
    "a late acknowledgement moves the cursor back": (
        "cursor_never_goes_back",
        after(Acking(4, 1, 13), Acked(4, 1, 13)),
    ),
    "a frame tells an older cursor": ("cursor_never_goes_back", after(Acked(4, 2))),
    "what is not yet delivered is acknowledged": (
        "only_delivered_is_acknowledged",
        after(Acking(4, 99, 13), Acked(4, 99, 13)),
    ),
    "the cursor is beyond every delivery": (
        "only_delivered_is_acknowledged",
        after(opening(5, "third"), Opened(5, 3, 9, 9)),
    ),
    "a fenced holder's call counts": (
        "only_the_newest_holder_acknowledges",
        after(Acking(3, 4, 13), Acked(3, 4, 13)),
    ),
    "a fenced holder's frame counts": ("only_the_newest_holder_acknowledges", after(Acking(3, 4), Acked(3, 4))),
    "two holders have one epoch": (
        "only_the_newest_holder_acknowledges",
        after(opening(5, "third"), Opened(5, 2, 3, 4)),
    ),
    "a fenced holder may go on": (
        "only_the_newest_holder_acknowledges",
        after(opening(5, "first", 1), Opened(5, 1, 3, 4)),
    ),
    "a process handles a record twice": ("a_living_process_handles_everything_once", after(*HANDLED, HANDLED[0])),
    "a process misses a record": ("a_living_process_handles_everything_once", after(*HANDLED[:2], HANDLED[3])),
    "a process handles in another order": (
        "a_living_process_handles_everything_once",
        after(HANDLED[1], HANDLED[0], *HANDLED[2:]),
    ),
    "a record is consumed unhandled": ("a_living_process_handles_everything_once", after(*HANDLED[:2])),
    "an epoch changes under its holder": (
        "only_the_newest_holder_acknowledges",
        after(opening(5, "second", 2), Opened(5, 3, 3, 4)),
    ),
}


@pytest.mark.parametrize("name", BAD_HISTORIES)
def test_a_bad_history_is_caught(name: str) -> None:
    rule, events = BAD_HISTORIES[name]
    assert rule in rules_of(events, final())


BAD_FINALS: dict[str, tuple[str, FinalRead]] = {
    "a started run is gone": ("started_runs_are_whole", {}),
    "a started run has lost a record": ("started_runs_are_whole", final(STORED[:3])),
    "an acknowledged record is gone": ("acknowledged_is_stored", final(STORED[:3])),
    "a run is gone": ("acknowledged_is_stored", {}),
    "an acknowledged record has another place": (
        "acknowledged_is_stored",
        final((*STORED[:3], replace(STORED[3], offset=9))),
    ),
    "another record stands in its place": ("acknowledged_is_stored", final((*STORED[:3], record(4, key="k5")))),
    "a refused record is there": ("refused_is_not_stored", final((*STORED, record(5)))),
    "a record is there twice": ("one_seq_for_one_key", final((*STORED, record(5, key="k1", payload="p1")))),
    "a stored payload changed": ("stored_was_sent_unchanged", final((*STORED[:3], record(4, payload="x")))),
    "a seq is missing": ("seqs_without_gaps", final((*STORED[:2], STORED[3]))),
    "the run counts otherwise": (
        "seqs_without_gaps",
        {RUN: replace(final()[RUN], streams={STREAM: FinalStream(5, 3, 2)})},
    ),
    "offsets go back": ("log_order", final((*STORED[:3], replace(STORED[3], offset=2)))),
    "time goes back": ("log_order", final((*STORED[:3], replace(STORED[3], accept_time_us=1)))),
    "a sender's order is lost": (
        "senders_order",
        final((record(1, key="k2", payload="p2"), record(2, key="k1", payload="p1"), *STORED[2:])),
    ),
    "an ended run is running": ("ended_runs_stay_ended", final(state="RUNNING")),
    "a delivered record is gone": ("delivered_is_stored", final(STORED[:3])),
    "an observed record is gone": ("observers_see_everything_once", final(STORED[:3])),
    "a confirmed cursor is gone": ("cursor_never_goes_back", final(cursor=2)),
    "unread records are miscounted": (
        "delivered_or_unread",
        {RUN: replace(final()[RUN], streams={STREAM: FinalStream(4, 3, 2)})},
    ),
}


@pytest.mark.parametrize("name", BAD_FINALS)
def test_a_bad_end_is_caught(name: str) -> None:
    rule, final_read = BAD_FINALS[name]
    assert rule in rules_of(GOOD, final_read)


RECORDS_HEARD = tuple(
    SeenRecord("managed", stream_id, seq, 2 + place, key, Payload(json=f'"{word}"').SerializeToString().hex(), 1000)
    for place, (stream_id, seq, key, word) in enumerate(
        (
            *(("words", 1, "k1", "a"), ("steer", 1, "k2", "left"), ("words", 2, "k3", "b"), ("words", 3, "k4", "c")),
            *(("words", 4, "k5", "stop"), ("steer", 2, "k6", "late")),
        )
    )
)
LOG = (
    FinalEntry(1, 1000, "created", "created"),
    *(FinalEntry(record.offset, 1000, "record") for record in RECORDS_HEARD),
    FinalEntry(8, 1001, "step_began", "step 1 began", epoch=1),
    FinalEntry(9, 1002, "step_ended", "step 1 ended, attempt 1"),
    FinalEntry(10, 1002, "step_began", "step 2 began", epoch=2),
    FinalEntry(11, 1003, "ended", "ended"),
)
ASSIGNED = (FinalAssignment(1, "first", 1000, 1001), FinalAssignment(2, "second", 1001, 1003))
REMEMBERED = {"heard": ["a", "b", "c"], "notes": ["left"], "echoes": [3]}


def managed(
    *,
    entries: tuple[FinalEntry, ...] = LOG,
    assignments: tuple[FinalAssignment, ...] = ASSIGNED,
    result: object = REMEMBERED,
    failure: str = "",
    read_words: int = 4,
) -> FinalRead:
    streams = {"words": FinalStream(4, read_words, 4 - read_words), "steer": FinalStream(2, 1, 1)}
    work = FinalWork(entries, assignments, result, failure)
    return {"managed": FinalRun("COMPLETED", streams, RECORDS_HEARD, work)}


MANAGED: tuple[Event, ...] = (
    Started("managed", "none", ()),
    *(
        Sent(f"lane {record.key}", record.run_id, record.stream_id, record.key, record.payload)
        for record in RECORDS_HEARD
    ),
    RunSeen("managed", "COMPLETED"),
)


def test_a_good_managed_run_passes() -> None:
    assert rules_of(MANAGED, managed()) == set()


BAD_WORK: dict[str, tuple[str, FinalRead]] = {
    "nobody knows what to make of it": ("managed_runs_end_well", managed(result=None, failure="REPLAY_DIVERGED")),
    "a record is missing from memory": (
        "memory_is_the_fold_of_the_log",
        managed(result=REMEMBERED | {"heard": ["a", "c"], "echoes": []}),
    ),
    "a record is there twice": (
        "memory_is_the_fold_of_the_log",
        managed(result=REMEMBERED | {"notes": ["left", "left"]}),
    ),
    "a step is missing from memory": ("memory_is_the_fold_of_the_log", managed(result=REMEMBERED | {"echoes": []})),
    "it ended before it was told to": ("memory_is_the_fold_of_the_log", managed(read_words=3)),
    "an entry is missing": ("logs_have_one_order", managed(entries=LOG[:-2] + LOG[-1:])),
    "time goes back": ("logs_have_one_order", managed(entries=(*LOG[:-1], replace(LOG[-1], time_us=1)))),
    "a step has ended twice": (
        "logs_have_one_order",
        managed(entries=(*LOG, FinalEntry(12, 1004, "step_ended", "step 1 ended, attempt 1"))),
    ),
    "two workers have it at once": (
        "one_epoch_at_a_time",
        managed(assignments=(replace(ASSIGNED[0], ended_us=1002), ASSIGNED[1])),
    ),
    "a worker never lost it": (
        "one_epoch_at_a_time",
        managed(assignments=(replace(ASSIGNED[0], ended_us=None), ASSIGNED[1])),
    ),
    "an epoch comes again": ("one_epoch_at_a_time", managed(assignments=(ASSIGNED[0], replace(ASSIGNED[1], epoch=1)))),
    "a former worker is listened to": (
        "one_epoch_at_a_time",
        managed(entries=(*LOG[:-1], FinalEntry(11, 1003, "step_began", "step 3 began", epoch=1))),
    ),
}


@pytest.mark.parametrize("name", BAD_WORK)
def test_bad_work_is_caught(name: str) -> None:
    rule, final_read = BAD_WORK[name]
    assert rule in rules_of(MANAGED, final_read)


def test_a_stuck_run_is_caught() -> None:
    stuck = Stuck("managed", "SUSPENDED", "its end")
    assert "no_run_is_stuck" in rules_of((*MANAGED[:-1], stuck), managed())


def test_a_record_that_nobody_was_given_must_be_unread() -> None:
    undelivered = tuple(event for event in GOOD if not (isinstance(event, Delivered) and event.record.seq == 1))
    assert "delivered_or_unread" in rules_of(undelivered, final())


def test_every_rule_is_tested() -> None:
    tested = {rule for rule, _ in (*BAD_HISTORIES.values(), *BAD_FINALS.values(), *BAD_WORK.values())}
    tested.add("no_run_is_stuck")
    assert {rule.__name__ for rule in RULES} == tested


def test_violations_are_sentences_with_ids() -> None:
    history = History()
    for event in GOOD:
        history.add(event)
    assert check(history, final(STORED[:3]))[0] == (
        "acknowledged_is_stored: run-1/words key k4 was acknowledged as seq 4 and is lost"
    )
