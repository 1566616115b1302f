"""Every store: streams that drop their oldest do so with the record that needs the room."""

import asyncio

import pytest

from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Reason
from midstream_server.domain.limits import Limits
from midstream_server.domain.policy import Policy
from midstream_server.domain.run import EntryKind, Kind, State, StreamStatus
from midstream_server.store import Store
from midstream_server.store.managed import Progress, Suspended
from store.engines import (
    MUCH,
    NAMESPACE,
    NOW_US,
    Engine,
    WholeStore,
    ack,
    append,
    create,
    draft,
    drafts,
    fill,
    hold,
    new_run,
    page,
    payloads,
    refusal,
)
from store.managed_runs import Yard, applied, fact, failure

LATEST = Policy(None, 1, True, False)
THREE = Policy(None, 3, True, False)


async def status(store: Store, run_id: str = "run") -> StreamStatus:
    (stream,) = (await store.get_run(NAMESPACE, run_id)).streams
    return stream


async def log(store: WholeStore, run_no: int) -> list[str]:
    """What is in a log, in short: `3` for a record, `-1-2` for records 1 to 2 that were dropped."""
    found = await store.managed.read_log(run_no, after_offset=0, max_entries=1_000, max_bytes=MUCH)
    assert found is not None
    assert [entry.offset for entry in found.entries] == list(range(1, len(found.entries) + 1))
    short = []
    for entry in found.entries:
        if entry.kind is EntryKind.RECORD:
            short.append(str(entry.seq))
        elif entry.kind is EntryKind.RECORDS_DROPPED:
            assert (entry.stream_id, entry.seq) == (None, None)
            dropped = fact(entry).records_dropped
            assert dropped.stream_id == "s"
            short.append(f"-{dropped.first_seq}-{dropped.last_seq}")
    return short


def dropped(outcomes: list[object]) -> list[int]:
    return [each.dropped for each in outcomes if isinstance(each, Accepted)]


async def test_only_the_latest_counts(store: WholeStore) -> None:
    run = await create(store)
    receipts = [dropped([*await append(store, draft(b"%d" % n), policy=LATEST)]) for n in range(3)]
    assert receipts == [[0], [1], [1]]
    assert await log(store, run.no) == ["1", "-1-1", "2", "-2-2", "3"]
    assert (await status(store))[1:] == (3, 2, 1)
    newest, unread, offset = await store.newest(NAMESPACE, "run", "s")
    assert newest is not None
    assert (newest.seq, newest.offset, unread, offset) == (3, 6, 1, 6)
    assert payloads((await page(store, run)).records) == [b"0", b"1", b"2"], "the log keeps them"


@pytest.mark.parametrize("batches", [[5, 4], [9], [3, 3, 3], [1] * 9, [2, 5, 2]])
async def test_what_stays_does_not_depend_on_the_batches(store: WholeStore, batches: list[int]) -> None:
    run = await create(store)
    counts = [dropped([*await append(store, *drafts(count, size=7), policy=THREE)]) for count in batches]
    assert sum(map(sum, counts)) == 6
    assert all(not any(batch[:-1]) for batch in counts), "told on the last record of a batch"
    assert await status(store) == StreamStatus("s", 9, 6, 21)
    entries = await log(store, run.no)
    assert entries[-2].startswith("-"), "right in front of the newest record"
    epoch = await hold(store)
    look = await store.look(run.no, "s", after_seq=0, max_records=9, max_bytes=MUCH)
    assert look is not None
    assert [record.seq for record in look.records] == [7, 8, 9]
    assert await ack(store, 4, epoch=epoch) == 6, "what was delivered before may be acknowledged"
    assert await ack(store, 8, epoch=epoch) == 8
    assert await status(store) == StreamStatus("s", 9, 8, 7)


async def test_batches_that_share_a_transaction(store: WholeStore) -> None:
    run = await create(store)
    await fill(store, 2)
    sends = [append(store, *drafts(count), policy=policy) for count, policy in ((2, THREE), (1, LATEST), (4, THREE))]
    outcomes = await asyncio.gather(*sends)
    assert [dropped([*each]) for each in outcomes] == [[0, 1], [3], [0, 0, 0, 2]]
    assert await log(store, run.no) == ["1", "2", "3", "-1-1", "4", "-2-4", "5", "6", "7", "8", "-5-6", "9"]
    assert await status(store) == StreamStatus("s", 9, 6, 3)


async def test_bytes_are_made_room_for_too(engine: Engine) -> None:
    store = await engine.open(limits=Limits(max_unread_bytes=10))
    run = await create(store)
    policy = Policy(None, None, True, False)
    await append(store, *drafts(4, size=2), policy=policy)
    assert dropped([*await append(store, draft(size=5), policy=policy)]) == [2]
    assert dropped([*await append(store, draft(size=10), policy=policy)]) == [3]
    assert [getattr(each, "reason", None) for each in await append(store, draft(size=11), policy=policy)] == [
        Reason.STREAM_FULL
    ]
    assert await log(store, run.no) == ["1", "2", "3", "4", "-1-2", "5", "-3-5", "6"]
    assert await status(store) == StreamStatus("s", 6, 5, 10)
    await store.close()


async def test_a_retry_drops_nothing(store: WholeStore) -> None:
    run = await create(store)
    for key in ("a", "b", "a", "b"):
        await append(store, draft(key=key), policy=LATEST)
    assert await log(store, run.no) == ["1", "-1-1", "2"]


async def test_what_is_too_large_for_the_stream_is_refused_and_makes_none(store: WholeStore) -> None:
    await create(store)
    (outcome,) = await append(store, draft(size=9), policy=Policy(8, 1, True, False))
    assert getattr(outcome, "reason", None) is Reason.PAYLOAD_TOO_LARGE
    assert (await store.get_run(NAMESPACE, "run")).streams == ()


async def test_what_the_holder_has_consumed_is_not_dropped_again(store: WholeStore) -> None:
    run = await create(store)
    await append(store, *drafts(3), policy=THREE)
    await ack(store, 2, epoch=await hold(store))
    assert dropped([*await append(store, *drafts(2), policy=THREE)]) == [0, 0]
    assert dropped([*await append(store, draft(), policy=THREE)]) == [1]
    assert await log(store, run.no) == ["1", "2", "3", "4", "5", "-3-3", "6"]


async def test_first_records_of_a_run(store: WholeStore) -> None:
    records = [("s", draft(b"%d" % number)) for number in range(3)]
    new = new_run(kind=Kind.MANAGED, first_records=records, policies={"s": LATEST})
    run, _ = await store.create_run(new, now_us=NOW_US)
    assert await log(store, run.no) == ["1", "-1-1", "2", "-2-2", "3"]
    small = new_run("other", kind=Kind.MANAGED, first_records=records, policies={"s": Policy(0, None, False, False)})
    assert await refusal(store.create_run(small, now_us=NOW_US)) is Reason.PAYLOAD_TOO_LARGE


async def test_a_drop_on_a_stream_that_nobody_listens_to_does_not_keep_a_run_warm(yard: Yard) -> None:
    claim = await yard.running()
    await append(yard.store, *drafts(3), policy=LATEST)
    assert await yard.suspend(claim, listening=["other"]) == Suspended()
    await append(yard.store, draft(), policy=LATEST)
    assert (await yard.state(), yard.nothing_claimed()) == (State.SUSPENDED, True)


async def test_the_new_record_wakes_a_run_that_listens(yard: Yard) -> None:
    claim = await yard.running()
    await append(yard.store, draft(), policy=LATEST)
    assert await yard.suspend(claim, listening=["s"], progress=applied(claim, 3)) == Suspended()
    yard.desks.by_no[next(iter(yard.desks.by_no))].credit = 1
    await append(yard.store, draft(), policy=LATEST)
    assert await yard.state() is State.RUNNING
    assert await log(yard.store, claim.run_no) == ["1", "-1-1", "2"]


async def test_a_new_generation_begins_behind_what_was_dropped(yard: Yard) -> None:
    claim = await yard.running()
    await append(yard.store, *drafts(5), policy=THREE)
    await yard.restart(claim, progress=Progress(claim.last_offset, consumed=[("s", 1)]))
    found = await yard.page(claim.run_no)
    assert [entry.seq for entry in found.entries if entry.kind is EntryKind.RECORD] == [3, 4, 5]
    await append(yard.store, draft(), policy=THREE)
    found = await yard.page(claim.run_no)
    assert [entry.kind for entry in found.entries][-2:] == [EntryKind.RECORDS_DROPPED, EntryKind.RECORD]


async def test_a_failure_on_a_record_that_was_dropped_meanwhile_is_recorded(yard: Yard) -> None:
    """The task had taken the record before the server heard of it."""
    claim = await yard.running()
    await append(yard.store, *drafts(4), policy=LATEST)
    progress = Progress(claim.last_offset, consumed=[("s", 2)], failures=[("s", failure(1)), ("s", failure(2))])
    for _ in range(2):
        await yard.store.managed.note_progress(claim.run_no, claim.epoch, progress, now_us=NOW_US)
    run = await yard.get()
    assert (run.handler_failure_count, run.streams[0].cursor) == (2, 3)
