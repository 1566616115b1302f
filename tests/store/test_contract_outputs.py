"""Every store: what runs append to output streams is stored once, and taken back where a step runs again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from midstream_server.domain.errors import Reason, field_invalid
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.output import MAX_RANGES, OutputDraft
from midstream_server.domain.record import Direction
from midstream_server.domain.run import Kind, OutputStatus, State
from midstream_server.store import Change, CommitReport
from midstream_server.store.managed import Appended, EndedAttempt, Fenced
from midstream_server.store.outputs import Stored
from store.engines import ENGINES, NAMESPACE, NOW_US, SECOND_US, Engine, create, draft, purge_all, refusal, short
from store.managed_runs import Desks, Yard, applied, open_yard
from store.outputs import Outputs, ranges_of, tokens, written
from support.postgres import Databases


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path, databases: Databases) -> Iterator[Engine]:
    """The engines that have output streams."""
    with ENGINES[request.param](tmp_path, databases) as engine:
        yield engine


@pytest.fixture
def outputs(yard: Yard) -> Outputs:
    return Outputs(yard.store)


async def test_records_have_an_order_of_their_own(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    await yard.send()
    assert await outputs.append(claim, written("a", "1"), written("b", "2", operation=1), now_us=NOW_US + 5) == Stored(
        []
    )
    await yard.append(claim)
    assert await outputs.append(claim, written("a", "3", operation=2)) == Stored([])
    page = await outputs.page(claim.run_no)
    assert [(record.stream_id, record.seq, record.offset, record.at_us) for record in page.records] == [
        ("a", 1, 1, NOW_US + 5),
        ("b", 1, 2, NOW_US + 5),
        ("a", 2, 3, NOW_US + 5),
    ]
    assert (page.through_offset, page.last_offset, page.run_state) == (3, 3, State.RUNNING)
    run = await yard.get()
    assert run.last_offset == 4, "they are no entries of the log"
    assert run.outputs == (OutputStatus("a", 2), OutputStatus("b", 1))
    assert [stream.stream_id for stream in run.streams] == ["s"]


async def test_what_is_said_again_is_stored_once(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    batch = [written("out", "x", operation=3), *tokens("ab"), written("out", "y", operation=8)]
    for _ in range(3):
        assert await outputs.append(claim, *batch) == Stored([])
    await asyncio.gather(*(outputs.append(claim, *tokens("abcd")) for _ in range(3)))
    assert await outputs.counting(claim.run_no, "out") == ["x", "a", "b", "y", "c", "d"]
    assert len((await outputs.page(claim.run_no)).records) == 6


async def test_a_replay_under_another_epoch_says_what_is_outside_of_steps_again(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running(credit=2)
    await outputs.append(claim, written("out", "x", operation=0), written("out", "y", operation=4))
    await yard.release(claim)
    claim = yard.claimed()
    await outputs.append(claim, written("out", "x"), written("out", "y", operation=4), written("out", "z", operation=5))
    assert await outputs.all(claim.run_no) == ["out:x", "out:y", "out:z"]


async def test_another_attempt_takes_back_what_the_former_one_appended(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    await outputs.append(claim, written("out", "x"), *tokens("hal"), *tokens("q", stream_id="other", place=3))
    await outputs.append(claim, *tokens("half", attempt=2))
    everything = await outputs.all(claim.run_no)
    assert everything[:5] == ["out:x", "out:h", "out:a", "out:l", "other:q"]
    assert sorted(everything[5:7]) == ["other:-1-1", "out:-2-4"]
    assert everything[7:] == ["out:h", "out:a", "out:l", "out:f"]
    assert await outputs.counting(claim.run_no, "out") == list("xhalf")
    assert await outputs.counting(claim.run_no, "other") == []
    assert (await yard.get()).outputs == (OutputStatus("other", 2), OutputStatus("out", 9))


async def test_another_epoch_takes_back_what_the_former_one_appended(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running(credit=2)
    await outputs.append(claim, *tokens("hal"))
    await yard.release(claim)
    later = yard.claimed()
    assert await outputs.append(claim, *tokens("f", place=3)) == Fenced()
    await outputs.append(later, *tokens("half"))
    assert await outputs.counting(later.run_no, "out") == list("half")


async def test_attempts_in_one_batch_supersede_each_other(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    await outputs.append(claim, *tokens("ab"), *tokens("c", attempt=2), *tokens("de", attempt=3), *tokens("x", place=2))
    assert await outputs.counting(claim.run_no, "out") == list("de")


async def test_only_the_step_itself_is_taken_back(yard: Yard, outputs: Outputs) -> None:
    """Two steps append by turns; one of them fails and is tried again."""
    claim = await yard.running()
    for place, (mine, its) in enumerate(zip("abc", "123", strict=True)):
        await outputs.append(claim, *tokens(mine, operation=1, place=place), *tokens(its, operation=2, place=place))
    await outputs.append(claim, *tokens("A", operation=1, attempt=2))
    assert await outputs.counting(claim.run_no, "out") == list("123A")
    (mark,) = [record for record in (await outputs.page(claim.run_no)).records if ranges_of(record)]
    assert ranges_of(mark) == [(1, 1), (3, 3), (5, 5)]


async def test_a_step_that_says_nothing_the_second_time_takes_back_all_the_same(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    await outputs.append(claim, *tokens("hal"))
    assert await yard.append(claim, "1", ended=EndedAttempt(7, 1, returned=False)) == Appended(3)
    assert await outputs.counting(claim.run_no, "out") == list("hal"), "nothing has taken its place yet"
    assert await yard.append(claim, "2", ended=EndedAttempt(7, 2, returned=True)) == Appended(4)
    assert await outputs.counting(claim.run_no, "out") == []
    await yard.append(claim, "2", ended=EndedAttempt(7, 2, returned=True))
    assert len((await outputs.page(claim.run_no)).records) == 4


async def test_what_the_attempt_that_returned_has_appended_stays(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    await outputs.append(claim, *tokens("half"))
    await yard.append(claim, "1", ended=EndedAttempt(7, 1, returned=True))
    await outputs.append(claim, *tokens("half"))
    await yard.append(claim, "2", ended=EndedAttempt(8, 1, returned=True))
    assert await outputs.all(claim.run_no) == ["out:h", "out:a", "out:l", "out:f"]


async def test_a_late_end_under_an_old_epoch_takes_back_nothing(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running(credit=2)
    await yard.release(claim)
    later = yard.claimed()
    await outputs.append(later, *tokens("half"))
    assert await yard.append(claim, "1", ended=EndedAttempt(7, 2, returned=True)) == Fenced()
    assert await outputs.counting(later.run_no, "out") == list("half")


async def test_a_generation_begins_its_operations_anew(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    await outputs.append(claim, written("out", "x"), *tokens("ab"))
    await yard.restart(claim)
    await outputs.append(claim, written("out", "y"), *tokens("cd"))
    later = applied(claim, 3)
    assert await yard.append(claim, "1", ended=EndedAttempt(7, 2, returned=True), progress=later) == Appended(4)
    assert await outputs.counting(claim.run_no, "out") == list("xaby")


@pytest.mark.parametrize("epoch", [0, 2, -1, 2**62])
async def test_another_epoch_stores_nothing(yard: Yard, outputs: Outputs, epoch: int) -> None:
    claim = await yard.running()
    assert await outputs.append(claim, written("out"), epoch=epoch) == Fenced()
    assert await outputs.append(claim._replace(run_no=99), written("out")) == Fenced()
    assert (await outputs.page(claim.run_no)).records == []
    assert (await yard.get()).outputs == ()


async def test_only_a_running_run_appends(yard: Yard, outputs: Outputs) -> None:
    suspended = await yard.suspended()
    assert await outputs.append(suspended, written("out")) == Fenced()
    ended = await yard.running("other")
    await yard.finish(ended)
    assert await outputs.append(ended, written("out")) == Fenced()


async def test_one_that_cannot_be_stored_is_told_and_the_others_are_stored(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    flaw = field_invalid("payload", "is wrong")
    batch = [written("out", "1"), written("out", "2", operation=1, flaw=flaw), written("out", "3", operation=2)]
    assert await outputs.append(claim, *batch) == Stored([flaw])
    assert await outputs.append(claim, *batch) == Stored([])
    assert await outputs.counting(claim.run_no, "out") == ["1", "3"]


async def test_streams_are_bounded(engine: Engine) -> None:
    desks = Desks()
    yard = Yard(await engine.open(seats=desks, limits=Limits(max_streams_per_run=2)), desks)
    outputs = Outputs(yard.store)
    claim = await yard.running()
    stored = await outputs.append(claim, *(written(f"s{number}", operation=number) for number in range(4)))
    assert isinstance(stored, Stored)
    assert [refused.reason for refused in stored.refused] == [Reason.TOO_MANY_STREAMS] * 2
    await yard.send("s1")
    assert [output.stream_id for output in (await yard.get()).outputs] == ["s0", "s1"]
    await create(yard.store, "attached")
    for number in range(2):
        await outputs.attached(draft(), run_id="attached", stream_id=f"s{number}")
    assert await refusal(outputs.attached(draft(), run_id="attached", stream_id="s2")) is Reason.TOO_MANY_STREAMS
    await yard.store.close()


async def test_pages(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    await outputs.append(claim, *(written(f"s{number % 3}", str(number), operation=number) for number in range(30)))
    page = await outputs.page(claim.run_no, after=4, max_records=2)
    assert [(record.offset, record.body) for record in page.records] == [(5, b"4+envelope"), (6, b"5+envelope")]
    assert (page.through_offset, page.last_offset) == (6, 30)
    page = await outputs.page(claim.run_no, "s1", after=5, max_records=3)
    assert [record.offset for record in page.records] == [8, 11, 14]
    assert [record.offset for record in (await outputs.page(claim.run_no, max_bytes=1)).records] == [1]
    assert await outputs.page(claim.run_no, "none") == ([], 30, 30, State.RUNNING, Direction.OUTPUT)
    assert await outputs.page(claim.run_no, after=99) == ([], 99, 30, State.RUNNING, Direction.OUTPUT)
    assert await outputs.store.read_outputs(99, None, after_offset=0, max_records=1, max_bytes=1) is None


async def test_a_mark_is_bounded(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running()
    count = MAX_RANGES + 5
    for start in range(0, count, 250):
        mixed = [
            each
            for place in range(start, min(start + 250, count))
            for each in (*tokens("a", operation=1, place=place), *tokens("b", operation=2, place=place))
        ]
        await outputs.append(claim, *mixed)
    await outputs.append(claim, *tokens("A", operation=1, attempt=2))
    marks = [ranges_of(record) for record in (await outputs.page(claim.run_no)).records if ranges_of(record)]
    assert [len(mark) for mark in marks] == [MAX_RANGES, 5]
    assert await outputs.counting(claim.run_no, "out") == [*"b" * count, "A"]


async def test_who_watches_a_stream_is_told(engine: Engine) -> None:
    changes: list[Change] = []

    def on_commit(report: CommitReport) -> None:
        changes.extend(report.changes)

    desks = Desks()
    yard = Yard(await engine.open(seats=desks, on_commit=on_commit), desks)
    claim = await yard.running()
    changes.clear()
    await Outputs(yard.store).append(claim, written("a"), written("b", operation=1))
    await Outputs(yard.store).append(claim, written("a"))
    assert set(changes) == {Change(claim.run_no, "a", Direction.OUTPUT), Change(claim.run_no, "b", Direction.OUTPUT)}
    assert len(changes) == 2
    await yard.store.close()


# Attached runs.


async def test_an_attached_run_appends_with_keys(yard: Yard, outputs: Outputs) -> None:
    run = await create(yard.store)
    flaw = field_invalid("payload", "is wrong")
    first = await outputs.attached(draft(b"1", key="a"), draft(b"2", flaw=flaw), draft(b"3"), draft(b"1", key="a"))
    assert short(first) == [1, Reason.FIELD_INVALID, 2, 1]
    again = await outputs.attached(draft(b"1", key="a"), draft(b"other", key="a"), draft(b"4", key="b"))
    assert short(again) == [1, Reason.IDEMPOTENCY_KEY_REUSED, 3]
    assert await outputs.counting(run.no, "out") == ["1", "3", "4"]
    assert (await yard.get()).outputs == (OutputStatus("out", 3),)
    await yard.store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    assert short(await outputs.attached(draft(b"1", key="a"), draft(b"5"))) == [1, Reason.RUN_FINISHED]


async def test_only_an_attached_run_is_appended_to_from_outside(yard: Yard, outputs: Outputs) -> None:
    await create(yard.store, "managed", kind=Kind.MANAGED)
    assert await refusal(outputs.attached(draft(), run_id="managed")) is Reason.RUN_MANAGED
    assert await refusal(outputs.attached(draft(), run_id="nobody")) is Reason.RUN_NOT_FOUND
    await create(yard.store, "ended")
    await yard.store.finish(NAMESPACE, "ended", State.COMPLETED, b"", now_us=NOW_US)
    assert short(await outputs.attached(draft(), run_id="ended")) == [Reason.RUN_FINISHED]
    assert (await yard.store.get_run(NAMESPACE, "ended")).outputs == ()


# How long they are kept.


async def test_the_oldest_go_where_there_are_too_many(engine: Engine) -> None:
    desks = Desks()
    yard = Yard(await engine.open(seats=desks, limits=Limits(max_output_bytes=100)), desks)
    outputs = Outputs(yard.store)
    claim = await yard.running()
    for number in range(100):
        await outputs.append(claim, written("out", "0123456789a", operation=number))  # with its envelope 20 bytes
    page = await outputs.page(claim.run_no)
    assert [record.seq for record in page.records] == [96, 97, 98, 99, 100]
    assert [record.seq for record in (await outputs.page(claim.run_no, "out", after=97)).records] == [98, 99, 100]
    assert (await outputs.page(claim.run_no, "out", after=3)).records[0].seq == 96
    await outputs.append(claim, written("out", "again", operation=5))
    await outputs.append(claim, written("out", "x" * 200, operation=200))
    assert [record.seq for record in (await outputs.page(claim.run_no)).records] == [101]
    await yard.store.close()


async def test_outputs_go_some_time_after_the_end_of_their_run(engine: Engine) -> None:
    desks = Desks()
    periods = Periods(retention_us=10 * SECOND_US, output_retention_us=2 * SECOND_US)
    yard = Yard(await engine.open(seats=desks, periods=periods), desks)
    outputs = Outputs(yard.store)
    claim = await yard.running()
    await outputs.append(claim, *(written("out", operation=number) for number in range(30)))
    assert await purge_all(yard.store, now_us=NOW_US + 100 * SECOND_US) == 1, "the run has not ended"
    await yard.finish(claim)
    assert await yard.fire(NOW_US + 3 * SECOND_US) == []
    await purge_all(yard.store, now_us=NOW_US + 2 * SECOND_US - 1)
    assert len((await outputs.page(claim.run_no)).records) == 30
    assert await purge_all(yard.store, now_us=NOW_US + 2 * SECOND_US, limit=10) == 5
    assert await outputs.page(claim.run_no) == ([], 0, 0, State.COMPLETED, Direction.OUTPUT)
    assert (await yard.get()).outputs == (OutputStatus("out", 30),)
    await purge_all(yard.store, now_us=NOW_US + 10 * SECOND_US)
    assert await outputs.store.read_outputs(claim.run_no, None, after_offset=0, max_records=1, max_bytes=1) is None
    await yard.store.close()


async def test_outputs_go_with_their_run_at_the_latest(yard: Yard, outputs: Outputs) -> None:
    claim = await yard.running(credit=2)
    await outputs.append(claim, *tokens("ab"))
    await yard.finish(claim)
    far_us = NOW_US + Periods().retention_us
    await purge_all(yard.store, now_us=far_us, limit=1)
    again = await yard.running()
    assert (await yard.get()).outputs == ()
    await outputs.append(again, *tokens("cd"))
    assert await outputs.all(again.run_no) == ["out:c", "out:d"]


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_fails_readers_see_what_was_meant(engine: Engine, seed: int) -> None:
    """Steps append by turns, fail, are lost with their epoch, and everything is said more than once."""
    random = Random(seed)
    yard = await open_yard(engine)
    outputs = Outputs(yard.store)
    claim = await yard.running(credit=1_000)
    attempts = dict.fromkeys(range(1, 4), 1)
    places = dict.fromkeys(attempts, 0)
    said: list[OutputDraft] = []
    while any(place < 10 for place in places.values()):
        operation = random.choice([each for each, place in places.items() if place < 10])
        chance = random.random()
        if chance < 0.05:
            await yard.release(claim)
            claim = yard.claimed()
            places = {each: place if place == 10 else 0 for each, place in places.items()}
            said = []
        elif chance < 0.15:
            attempts[operation] += 1
            places[operation] = 0
        else:
            text = f"{operation}.{places[operation]}"
            each = written("out", text, operation=operation, attempt=attempts[operation], place=places[operation])
            said.append(each)
            await outputs.append(claim, *said[-random.randint(1, 4) :])
            places[operation] += 1
    counting = await outputs.counting(claim.run_no, "out")
    for operation in attempts:
        mine = [text for text in counting if text.startswith(f"{operation}.")]
        assert mine == [f"{operation}.{place}" for place in range(10)]
    await yard.store.close()
