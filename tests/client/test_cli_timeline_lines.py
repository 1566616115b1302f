"""The words of a timeline, and the order of what happened in one moment."""

from datetime import UTC, datetime, timedelta

import pytest

from midstream import Assignment, AssignmentEnd, Direction, Entry, Failure, Record, Run, RunKind, RunState, Sender
from midstream.cli import happening, text
from midstream.cli.history import History
from midstream.cli.log_shapes import history as history_shape
from midstream.cli.timeline import timeline
from midstream.entry import CancelRequested, Created, Ended, Fact, RecordsDropped, Started, StepEnded, TimerFired
from midstream.v1.record_pb2 import Payload

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=-1), "0 ms"),
        (timedelta(microseconds=499), "0 ms"),
        (timedelta(milliseconds=999), "999 ms"),
        (timedelta(milliseconds=1_240), "1.2 s"),
        (timedelta(seconds=59.4), "59 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(minutes=4, seconds=3), "4 min 3 s"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=23, minutes=59, seconds=59), "23 h 59 min"),
        (timedelta(days=3, hours=4, minutes=59), "3 d 4 h"),
        (timedelta(days=1_000), "1,000 d"),
    ],
)
def test_how_long(length: timedelta, words: str) -> None:
    assert text.span(length) == words


@pytest.mark.parametrize(("whole", "shown"), [("12345", "12345"), ("123456", "1234…"), ("", "")])
def test_cutting(whole: str, shown: str) -> None:
    assert text.cut(whole, 5) == shown


def run(state: RunState = RunState.RUNNING) -> Run:
    return Run(
        id="run_1",
        task="agent",
        kind=RunKind.MANAGED,
        state=state,
        failure=None,
        create_time=NOON,
        start_time=NOON,
        finish_time=NOON if state.is_final else None,
        deadline=None,
        cancel_time=None,
        delete_time=None,
        last_offset=0,
        streams=(),
        handler_failure_count=0,
        handler_failures=(),
        metadata={},
        payload_proto=None,
        result_proto=None,
    )


def log(*facts: Fact, time: datetime = NOON) -> list[Entry]:
    return [Entry(offset, time, fact, None) for offset, fact in enumerate(facts, 1)]


def record(value: str = "1", sender: Sender | None = None) -> Record:
    anonymous = Sender("ANONYMOUS", "")
    payload = Payload(json=value)
    return Record(
        "run_1", "notes", 1, 1, payload, anonymous if sender is None else sender, NOON, "", {}, Direction.INPUT, 0
    )


def step(attempt: int = 1, failure: Failure | None = None, name: str = "search") -> StepEnded:
    return StepEnded(7, name, attempt, None, failure, Payload() if failure is not None else Payload(json="null"))


def assignment(
    epoch: int, end: AssignmentEnd | None = None, *, begin: datetime = NOON, until: datetime = NOON
) -> Assignment:
    return Assignment(epoch, f"w{epoch}", "1", begin, None if end is None else until, end)


CREATED = Created({}, Payload())


def test_of_one_moment_causes_come_before_their_effects() -> None:
    entries = log(CREATED, Started(), step(), record(), step(), TimerFired(8, NOON), Ended(RunState.COMPLETED))
    assignments = [
        assignment(1, AssignmentEnd.SUSPENDED),
        assignment(2, AssignmentEnd.SUSPENDED),
        assignment(3, AssignmentEnd.FINISHED),
    ]
    words = [each.word for each in timeline(run(RunState.COMPLETED), History(entries, assignments))]
    assert words == [
        *("created", "started", "step", "suspended", "record", "resumed"),
        *("step", "suspended", "timer", "resumed", "completed"),
    ]


def test_a_suspension_says_how_long_there_was_no_process() -> None:
    waiting = [assignment(1, AssignmentEnd.SUSPENDED)]
    resumed = [*waiting, assignment(2, begin=NOON + 3 * DAY + timedelta(hours=4))]
    entries = log(CREATED, Started())
    still = timeline(run(RunState.SUSPENDED), History(entries, waiting), NOON + 2 * DAY)[-1]
    assert (still.what, still.remark) == ("its process is gone", "no process since then: 2 d")
    over = timeline(run(), History(entries, resumed), NOON + 9 * DAY)[-2]
    assert over.remark == "no process for 3 d 4 h"


def test_the_oldest_assignments_may_be_missing() -> None:
    lines = timeline(run(), History(log(CREATED, Started()), [assignment(7, begin=NOON + DAY)]), NOON)
    assert [(line.word, line.offset) for line in lines] == [("created", 1), ("started", 2), ("resumed", None)]


def test_only_a_step_s_attempts_that_another_one_followed_were_tried_again() -> None:
    failed = Failure("ValueError", "no\nsuch topic")
    entries = log(CREATED, step(1, failed), step(2, failed), step(3))
    lines = timeline(run(), History(entries, []))
    assert [line.remark for line in lines[1:]] == ["tried again", "attempt 2, tried again", "attempt 3"]
    assert lines[1].what == r"search raised ValueError: no\nsuch topic"
    assert timeline(run(), History(entries[:3], []))[-1].remark == "attempt 2"


def test_a_step_without_a_name_is_told_by_its_number() -> None:
    assert happening.of_entry(log(step(name=""))[0]).what == "operation 7 → null"


def test_long_values_are_cut_and_cannot_steer_the_terminal() -> None:
    line = happening.of_entry(log(record('"\\u001b[2J' + "x" * 10_000 + '"'))[0])
    assert len(line.what) < 120
    assert line.what.isprintable()
    assert line.what.endswith("…")


@pytest.mark.parametrize(
    ("fact", "what", "remark"),
    [
        (record(sender=Sender("API_KEY", "reporter")), "notes #1  1", "from api key reporter"),
        (CancelRequested(deadline_passed=True), "its deadline has passed", ""),
        (TimerFired(3, NOON - DAY), "came due (operation 3)", "1 d late"),
        (RecordsDropped("mouse", 3, 3), "mouse #3", "1 unread record made room for the next one"),
        (RecordsDropped("mouse", 3, 1_004), "mouse #3 to #1004", "1,002 unread records made room for the next one"),
    ],
)
def test_words(fact: Fact, what: str, remark: str) -> None:
    line = happening.of_entry(log(fact)[0])
    assert (line.what, line.remark) == (what, remark)


def test_a_drop_that_wakes_a_run_comes_before_its_worker() -> None:
    entries = log(CREATED, Started(), RecordsDropped("notes", 1, 1), record())
    assignments = [assignment(1, AssignmentEnd.SUSPENDED), assignment(2)]
    words = [each.word for each in timeline(run(), History(entries, assignments))]
    assert words == ["created", "started", "suspended", "dropped", "record", "resumed"]
    shape = history_shape(History(entries, []))["log"]
    assert shape[2]["records_dropped"] == {"stream_id": "notes", "first_seq": 1, "last_seq": 1}


def test_an_entry_of_a_newer_server_is_shown_as_such() -> None:
    unknown = Entry(1, NOON, None, None)
    assert happening.of_entry(unknown).word == "unknown"
    assert history_shape(History([unknown], []))["log"] == [
        {"offset": 1, "append_time": "2026-11-22T12:00:00.000000Z", "applied_offset": None}
    ]
