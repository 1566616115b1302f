"""Every store: what holds of all calls together."""

import asyncio

import pytest

from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Reason
from midstream_server.domain.run import State, TimerKind
from midstream_server.store import Change, CommitReport, HandlerFailure, Store
from store.engines import (
    NAMESPACE,
    NOW_US,
    Engine,
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
    short,
)


async def test_calls_are_applied_in_the_order_in_which_they_were_made(store: Store) -> None:
    created = asyncio.ensure_future(store.create_run(new_run(), now_us=NOW_US))
    first = asyncio.ensure_future(append(store, draft(b"1", key="k")))
    held = asyncio.ensure_future(hold(store))
    moved = asyncio.ensure_future(ack(store, 1, epoch=1))
    ended = asyncio.ensure_future(store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US))
    late = asyncio.ensure_future(append(store, draft(b"2")))
    again = asyncio.ensure_future(append(store, draft(b"1", key="k")))
    assert (await created)[1]
    assert (short(await first), await held, await moved) == ([1], 1, 1)
    assert (await ended).state is State.COMPLETED
    assert (short(await late), short(await again)) == ([Reason.RUN_FINISHED], [1])


async def test_a_refused_call_harms_no_other(store: Store) -> None:
    await create(store)
    results = await asyncio.gather(
        append(store, draft(b"1")),
        append(store, draft(), run_id="unknown"),
        store.hold(NAMESPACE, "run", "s", holder_epoch=9, after_seq=None),
        append(store, draft(b"2")),
        return_exceptions=True,
    )
    assert results[0] == [Accepted(1, 2, NOW_US)]
    assert results[3] == [Accepted(2, 3, NOW_US)]
    assert [getattr(results[number], "reason", None) for number in (1, 2)] == [Reason.RUN_NOT_FOUND, Reason.FENCED]


async def test_what_was_written_is_seen_at_once(store: Store) -> None:
    run = await create(store)
    epoch = await hold(store)
    for number in range(1, 30):
        await append(store, draft(b"%d" % number))
        look = await store.look(run.no, "s", after_seq=number - 1, max_records=9, max_bytes=99)
        assert look is not None
        assert payloads(look.records) == [b"%d" % number]
        assert (await page(store, run)).last_offset == number + 1
        newest, unread, _ = await store.newest(NAMESPACE, "run", "s")
        assert newest is not None
        assert (newest.seq, unread) == (number, 1)
        await ack(store, number, epoch=epoch)
        assert (await store.get_run(NAMESPACE, "run")).streams[0].cursor == number


async def test_watchers_hear_of_a_change_when_it_can_be_seen(engine: Engine) -> None:
    changes: list[Change] = []

    def heard(report: CommitReport) -> None:
        changes.extend(sorted(report.changes, key=str))

    store = await engine.open(on_commit=heard)
    run = await create(store)
    here, run_itself = Change(run.no, "s"), Change(run.no, None)
    epoch_calls = [
        (append(store, *drafts(3)), [here]),
        (append(store, *drafts(0)), []),
        (hold(store), [here]),
        (ack(store, 1, epoch=1), [here]),
        (ack(store, 1, epoch=1), []),
        (ack(store, 1, epoch=1, failures=[HandlerFailure(1, "h", b"")]), [here]),
        (store.request_cancel(NAMESPACE, "run", now_us=NOW_US), [run_itself]),
        (store.request_cancel(NAMESPACE, "run", now_us=NOW_US), []),
        (store.finish(NAMESPACE, "run", State.CANCELLED, b"", now_us=NOW_US), [run_itself]),
        (store.finish(NAMESPACE, "run", State.CANCELLED, b"", now_us=NOW_US), []),
    ]
    assert changes == [run_itself]
    for call, expected in epoch_calls:
        changes.clear()
        await call
        assert changes == expected
    await store.close()


async def test_a_reader_is_told_before_the_sender(engine: Engine) -> None:
    told: list[str] = []

    def heard(report: CommitReport) -> None:
        told.append("reader")

    store = await engine.open(on_commit=heard)
    await create(store)
    told.clear()
    sending = asyncio.create_task(append(store, draft()))
    sending.add_done_callback(lambda _: told.append("sender"))
    await sending
    await asyncio.sleep(0)
    assert told == ["reader", "sender"]
    await store.close()


async def test_reopening_keeps_everything(engine: Engine) -> None:
    store = await engine.open()
    run = await create(store, max_duration_us=10**9)
    await create(store, "ended")
    await store.finish(NAMESPACE, "ended", State.FAILED, b"why", now_us=NOW_US)
    await fill(store, 20)
    await fill(store, 5, stream_id="t")
    await ack(store, 7, epoch=await hold(store), failures=[HandlerFailure(7, "h", b"failure")])
    await store.request_cancel(NAMESPACE, "run", now_us=NOW_US)

    async def everything(store: Store) -> list[object]:
        return [
            await store.list_runs(NAMESPACE, task=None, states=(), before_no=None, limit=9),
            await store.get_run(NAMESPACE, "run"),
            await page(store, run),
            await store.look(run.no, "s", after_seq=0, max_records=99, max_bytes=9_999),
            await store.newest(NAMESPACE, "run", "t"),
            await store.next_due_us(),
            await store.snapshot(),
        ]

    before = await everything(store)
    await store.close()
    store = await engine.open()
    assert await everything(store) == before
    assert short(await append(store, draft())) == [21]
    assert (await create(store, "third")).no > run.no
    await store.close()


async def test_numbers_of_deleted_runs_are_not_used_again(engine: Engine) -> None:
    store = await engine.open()
    run = await create(store)
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    while await store.purge(now_us=NOW_US * 2, limit=9):
        continue
    await store.close()
    store = await engine.open()
    assert (await create(store)).no > run.no
    await store.close()


async def test_closing_completes_what_was_begun(engine: Engine) -> None:
    store = await engine.open()
    await create(store)
    begun = [asyncio.ensure_future(append(store, *drafts(50))) for _ in range(60)]
    await asyncio.sleep(0)
    await store.close()
    assert [short(await each)[0] for each in begun] == list(range(1, 3_001, 50))
    assert await refusal(append(store, draft())) is Reason.STORE_UNAVAILABLE
    store = await engine.open()
    assert (await store.get_run(NAMESPACE, "run")).last_offset == 3_001
    await store.close()


@pytest.mark.parametrize("runs", [0, 3])
async def test_an_empty_store_has_nothing_due(store: Store, runs: int) -> None:
    for number in range(runs):
        await create(store, f"run{number}")
    snapshot = await store.snapshot()
    assert snapshot.timers_by_kind == ({TimerKind.UNHELD: runs} if runs else {})
    assert (await store.next_due_us() is None) == (not runs)
    assert await store.fire_due(now_us=NOW_US, last_held_us=lambda _: None, limit=9) == []
    assert not await store.purge(now_us=NOW_US, limit=9)
