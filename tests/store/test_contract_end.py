"""Every store: runs are cancelled, finished, expired by their timers, and deleted."""

from collections.abc import Callable, Sequence

import pytest

from midstream_server.domain.errors import Reason
from midstream_server.domain.limits import Periods
from midstream_server.domain.run import Kind, Run, State, TimerKind
from midstream_server.store import Fired, HandlerFailure, Store
from store.engines import (
    MIB,
    NAMESPACE,
    NOW_US,
    SECOND_US,
    Engine,
    append,
    create,
    draft,
    drafts,
    fill,
    hold,
    new_run,
    page,
    purge_all,
    refusal,
    short,
)

PERIODS = Periods()
EXPIRY_US = PERIODS.unheld_expiry_us
GRACE_US = PERIODS.cancel_grace_us
RETENTION_US = PERIODS.retention_us


def unheld(run_no: int) -> None:
    """Nobody has held any run."""


async def fire(
    store: Store, now_us: int, *, held: Callable[[int], int | None] = unheld, limit: int = 100
) -> Sequence[Fired]:
    return await store.fire_due(now_us=now_us, last_held_us=held, limit=limit)


async def get(store: Store, run_id: str = "run") -> Run:
    return await store.get_run(NAMESPACE, run_id)


async def test_a_queued_run_is_cancelled_at_once(store: Store) -> None:
    await create(store, kind=Kind.MANAGED)
    run = await store.request_cancel(NAMESPACE, "run", now_us=NOW_US + 1)
    assert (run.state, run.cancel_us, run.finished_us) == (State.CANCELLED, NOW_US + 1, NOW_US + 1)
    assert run.delete_us == NOW_US + 1 + RETENTION_US
    assert run.last_offset == 3
    assert await store.next_due_us() == run.delete_us


async def test_any_other_run_is_asked_once(store: Store) -> None:
    await create(store)
    first = await store.request_cancel(NAMESPACE, "run", now_us=NOW_US + 1)
    assert (first.state, first.cancel_us, first.last_offset) == (State.RUNNING, NOW_US + 1, 2)
    assert await store.next_due_us() == NOW_US + 1 + GRACE_US
    assert await store.request_cancel(NAMESPACE, "run", now_us=NOW_US + 2) == first
    assert short(await append(store, draft())) == [1], "it still takes records"


async def test_an_ended_run_is_not_cancelled(store: Store) -> None:
    await create(store)
    ended = await store.finish(NAMESPACE, "run", State.COMPLETED, b"r", now_us=NOW_US)
    assert await store.request_cancel(NAMESPACE, "run", now_us=NOW_US + 1) == ended
    assert await refusal(store.request_cancel(NAMESPACE, "unknown", now_us=NOW_US)) is Reason.RUN_NOT_FOUND


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_finishing_is_idempotent(store: Store, state: State) -> None:
    await create(store, max_duration_us=1)
    ended = await store.finish(NAMESPACE, "run", state, b"outcome", now_us=NOW_US + 1)
    assert (ended.state, ended.outcome, ended.finished_us) == (state, b"outcome", NOW_US + 1)
    assert (ended.delete_us, ended.last_offset) == (NOW_US + 1 + RETENTION_US, 2)
    assert await store.finish(NAMESPACE, "run", state, b"outcome", now_us=NOW_US + 2) == ended
    for other in {State.COMPLETED, State.FAILED, State.CANCELLED} - {state}:
        assert await refusal(store.finish(NAMESPACE, "run", other, b"outcome", now_us=NOW_US)) is Reason.RUN_FINISHED
    assert await get(store) == ended
    assert await fire(store, NOW_US + 10 * EXPIRY_US) == []


async def test_finishing_with_another_outcome_is_refused(store: Store) -> None:
    await create(store)
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"1", now_us=NOW_US)
    assert await refusal(store.finish(NAMESPACE, "run", State.COMPLETED, b"2", now_us=NOW_US)) is Reason.RUN_FINISHED


async def test_a_run_cancelled_by_its_grace_may_still_say_that_it_was_cancelled(store: Store) -> None:
    await create(store)
    await store.request_cancel(NAMESPACE, "run", now_us=NOW_US)
    await fire(store, NOW_US + GRACE_US)
    run = await store.finish(NAMESPACE, "run", State.CANCELLED, b"cancelled", now_us=NOW_US + GRACE_US)
    assert run.state is State.CANCELLED
    assert await refusal(store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)) is Reason.RUN_FINISHED


async def test_only_attached_runs_are_finished_from_outside(store: Store) -> None:
    await create(store, kind=Kind.MANAGED)
    assert await refusal(store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)) is Reason.RUN_MANAGED
    assert await refusal(store.finish(NAMESPACE, "no", State.COMPLETED, b"", now_us=NOW_US)) is Reason.RUN_NOT_FOUND


async def test_unconsumed_records_stay_listed(store: Store) -> None:
    await create(store)
    await fill(store, 3)
    ended = await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    assert [(stream.last_seq, stream.cursor, stream.unread) for stream in ended.streams] == [(3, 0, 3)]


async def test_time_in_the_log_never_goes_backwards(store: Store) -> None:
    await create(store)
    await append(store, draft(), now_us=NOW_US + 50)
    asked = await store.request_cancel(NAMESPACE, "run", now_us=NOW_US + 10)
    ended = await store.finish(NAMESPACE, "run", State.CANCELLED, b"", now_us=NOW_US + 20)
    assert (asked.cancel_us, ended.finished_us) == (NOW_US + 50, NOW_US + 50)


@pytest.mark.parametrize(
    ("timer", "after_us", "state"),
    [
        (TimerKind.DEADLINE, 60 * SECOND_US, State.EXPIRED),
        (TimerKind.CANCEL_GRACE, GRACE_US, State.CANCELLED),
        (TimerKind.UNHELD, EXPIRY_US, State.EXPIRED),
    ],
)
@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart"])
async def test_a_due_timer_ends_its_run(
    engine: Engine, timer: TimerKind, after_us: int, state: State, restart: bool
) -> None:
    store = await engine.open()
    run = await create(store, max_duration_us=60 * SECOND_US if timer is TimerKind.DEADLINE else None)
    if timer is TimerKind.CANCEL_GRACE:
        await store.request_cancel(NAMESPACE, "run", now_us=NOW_US)
    if restart:
        await store.close()
        store = await engine.open()
    assert await store.next_due_us() == NOW_US + after_us
    assert await fire(store, NOW_US + after_us - 1) == []
    assert await fire(store, NOW_US + after_us) == [Fired(run.no, "run", timer, state)]
    ended = await get(store)
    assert (ended.state, ended.finished_us, ended.outcome) == (state, NOW_US + after_us, None)
    assert await fire(store, NOW_US + 10 * EXPIRY_US) == []
    assert await store.next_due_us() == NOW_US + after_us + RETENTION_US
    await store.close()


async def test_a_deadline_ends_a_queued_run_too(store: Store) -> None:
    await create(store, kind=Kind.MANAGED, max_duration_us=1)
    assert len(await fire(store, NOW_US + 1)) == 1
    assert (await get(store)).state is State.EXPIRED


async def test_a_run_whose_timers_are_due_together_ends_once(store: Store) -> None:
    run = await create(store, max_duration_us=SECOND_US + GRACE_US)
    await store.request_cancel(NAMESPACE, "run", now_us=NOW_US)
    fired = await fire(store, NOW_US + 2 * EXPIRY_US)
    assert fired == [Fired(run.no, "run", TimerKind.CANCEL_GRACE, State.CANCELLED)], "the earliest alone"
    ended = await get(store)
    assert (ended.state, ended.last_offset) == (State.CANCELLED, 3)


async def test_timers_fire_earliest_first_and_at_most_so_many(store: Store) -> None:
    for number in (3, 1, 2):
        await create(store, f"run{number}", max_duration_us=number)
    fired = [[each.run_id for each in await fire(store, NOW_US + 9, limit=2)] for _ in range(3)]
    assert fired == [["run1", "run2"], ["run3"], []]


async def test_a_held_run_does_not_expire(store: Store) -> None:
    run = await create(store)
    held_us = NOW_US + EXPIRY_US - 1
    due_us = NOW_US + EXPIRY_US
    put_off = Fired(run.no, "run", TimerKind.UNHELD, None)
    assert await fire(store, due_us, held={run.no: held_us}.get) == [put_off]
    assert (await get(store)).state is State.RUNNING
    assert await store.next_due_us() == held_us + EXPIRY_US
    assert await fire(store, due_us, held={run.no: held_us}.get) == []
    assert await fire(store, held_us + EXPIRY_US, held={run.no: held_us}.get) == [put_off._replace(state=State.EXPIRED)]


async def test_held_runs_do_not_hide_others_that_are_due(store: Store) -> None:
    runs = [await create(store, f"run{number}", now_us=NOW_US + number) for number in range(5)]
    held = {run.no: NOW_US + EXPIRY_US for run in runs[:4]}
    fired: list[Fired] = []
    while batch := await fire(store, NOW_US + EXPIRY_US + 9, held=held.get, limit=2):
        fired += batch
    assert [each.run_id for each in fired if each.state is not None] == ["run4"]
    assert len(fired) == 5


async def test_expiry_is_put_off_after_the_server_was_away(store: Store) -> None:
    await create(store, "old", max_duration_us=SECOND_US)
    await create(store, "new", now_us=NOW_US + 2 * EXPIRY_US)
    await store.postpone_unheld(due_us=NOW_US + 2 * EXPIRY_US)
    assert [each.timer for each in await fire(store, NOW_US + EXPIRY_US)] == [TimerKind.DEADLINE]
    assert await fire(store, NOW_US + 3 * EXPIRY_US - 1) == []
    assert [each.run_id for each in await fire(store, NOW_US + 3 * EXPIRY_US)] == ["new"]


async def test_retention_is_not_fired(store: Store) -> None:
    await create(store)
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    assert await fire(store, NOW_US + 2 * RETENTION_US) == []


async def ended_run(store: Store, records: int = 10, run_id: str = "run") -> Run:
    """A run with records on two streams, a held one and a failure, ended at NOW_US."""
    await create(store, run_id)
    for stream_id in ("s", "t"):
        await append(store, *drafts(records // 2, keys="k"), run_id=run_id, stream_id=stream_id)
    epoch = await hold(store, run_id=run_id)
    await store.ack(
        NAMESPACE,
        run_id,
        "s",
        holder_epoch=epoch,
        through_seq=1,
        delivered_seq=None,
        failures=[HandlerFailure(1, "h", b"")],
        now_us=NOW_US,
    )
    return await store.finish(NAMESPACE, run_id, State.COMPLETED, b"", now_us=NOW_US)


async def test_an_ended_run_is_kept_for_its_retention(store: Store) -> None:
    run = await ended_run(store)
    assert not await store.purge(now_us=NOW_US + RETENTION_US - 1, limit=500)
    assert await get(store) == run


async def test_a_run_is_deleted_in_slices_and_gone_from_the_first_one_on(store: Store) -> None:
    run = await ended_run(store)
    other = await ended_run(store, run_id="other")
    over_us = NOW_US + RETENTION_US
    assert await store.purge(now_us=over_us, limit=5)

    assert await refusal(get(store)) is Reason.RUN_NOT_FOUND
    assert await refusal(store.resolve(NAMESPACE, "run")) is Reason.RUN_NOT_FOUND
    assert await refusal(append(store, draft())) is Reason.RUN_NOT_FOUND
    assert await refusal(store.newest(NAMESPACE, "run", "s")) is Reason.RUN_NOT_FOUND
    for stream_id in (None, "s"):
        assert await store.read_log(run.no, stream_id, after_offset=0, max_records=9, max_bytes=9) is None
    assert await store.look(run.no, "s", after_seq=0, max_records=9, max_bytes=9) is None
    listed = await store.list_runs(NAMESPACE, task=None, states=(), before_no=None, limit=9)
    assert [each.run_id for each in listed] == ["other"]

    again, created = await store.create_run(new_run(digest=b"other"), now_us=over_us)
    assert created, "the id is free while the rest is being deleted"
    assert again.no not in (run.no, other.no)
    assert short(await append(store, *drafts(2, keys="k"))) == [1, 2]

    await purge_all(store, now_us=over_us, limit=5)
    assert await refusal(get(store, "other")) is Reason.RUN_NOT_FOUND
    assert (await get(store)).last_offset == 3
    assert len((await page(store, again)).records) == 2
    snapshot = await store.snapshot()
    assert snapshot.runs_by_state == {State.RUNNING: 1}
    assert snapshot.timers_by_kind == {TimerKind.UNHELD: 1}


@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_slices_are_bounded_by_entries(store: Store, limit: int) -> None:
    await ended_run(store)
    slices = await purge_all(store, now_us=NOW_US + RETENTION_US, limit=limit)
    assert slices >= 12 / limit


async def test_slices_are_bounded_by_bytes(store: Store) -> None:
    await create(store)
    for _ in range(4):
        await append(store, *(draft(b"x" * MIB) for _ in range(5)))
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    assert await store.purge(now_us=NOW_US + RETENTION_US, limit=500)
    assert await store.purge(now_us=NOW_US + RETENTION_US, limit=500)
    assert (await store.snapshot()).timers_by_kind == {TimerKind.RETENTION: 1}, "20 MiB were deleted in two slices"
    await purge_all(store, now_us=NOW_US + RETENTION_US)
    assert (await store.snapshot()).timers_by_kind == {}


async def test_deleting_goes_on_after_a_restart(engine: Engine) -> None:
    store = await engine.open()
    await ended_run(store)
    await store.purge(now_us=NOW_US + RETENTION_US, limit=2)
    await store.close()
    store = await engine.open()
    assert await refusal(get(store)) is Reason.RUN_NOT_FOUND
    await purge_all(store, now_us=NOW_US + RETENTION_US)
    assert (await store.snapshot()).runs_by_state == {}
    await store.close()


async def test_the_disk_gets_its_space_back(engine: Engine) -> None:
    store = await engine.open()
    await create(store)
    await append(store, *(draft(b"x" * MIB) for _ in range(10)))
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    await store.close()
    before = engine.size_bytes()
    store = await engine.open()
    await purge_all(store, now_us=NOW_US + RETENTION_US)
    await store.close()
    assert before > 10 * MIB
    assert engine.size_bytes() < 4 * MIB
