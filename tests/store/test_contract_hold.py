"""Every store: holders, cursors and handler failures."""

import asyncio

import pytest

from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.run import Kind, State, StreamStatus
from midstream_server.store import HandlerFailure, Hold, Store
from store.engines import NAMESPACE, NOW_US, Engine, ack, append, create, draft, fill, hold, refusal


def failures(*seqs: int, handler: str = "h") -> list[HandlerFailure]:
    return [HandlerFailure(seq, handler, b"%d %s" % (seq, handler.encode())) for seq in seqs]


async def test_the_newest_holder_wins(store: Store) -> None:
    run = await create(store)
    await fill(store, 3)
    first = await store.hold(NAMESPACE, "run", "s", holder_epoch=0, after_seq=None)
    assert first == Hold(run.no, 1, 0, 3)
    second = await store.hold(NAMESPACE, "run", "s", holder_epoch=0, after_seq=None)
    assert second.holder_epoch == 2
    with pytest.raises(Refused) as refused:
        await store.hold(NAMESPACE, "run", "s", holder_epoch=1, after_seq=None)
    assert refused.value.reason is Reason.FENCED
    assert refused.value.metadata["current_epoch"] == "2"
    assert await store.hold(NAMESPACE, "run", "s", holder_epoch=2, after_seq=None) == second


async def test_a_stream_may_be_held_before_its_first_record(store: Store) -> None:
    run = await create(store)
    assert await store.hold(NAMESPACE, "run", "s", holder_epoch=0, after_seq=None) == Hold(run.no, 1, 0, 0)
    assert (await store.get_run(NAMESPACE, "run")).streams == (StreamStatus("s", 0, 0, 0),)
    await fill(store, 1)


async def test_an_epoch_that_was_never_given_is_fenced(store: Store) -> None:
    await create(store)
    for epoch in (1, 7, -1):
        assert await refusal(store.hold(NAMESPACE, "run", "s", holder_epoch=epoch, after_seq=None)) is Reason.FENCED
    assert (await store.get_run(NAMESPACE, "run")).streams == ()


async def test_each_stream_has_its_own_holder(store: Store) -> None:
    await create(store)
    assert [await hold(store, stream_id=name) for name in ("a", "a", "b")] == [1, 2, 1]


async def test_concurrent_holders_get_different_epochs(store: Store) -> None:
    await create(store)
    assert sorted(await asyncio.gather(*(hold(store) for _ in range(20)))) == list(range(1, 21))


async def test_a_position_must_have_been_stored(store: Store) -> None:
    await create(store)
    await fill(store, 3)
    await store.hold(NAMESPACE, "run", "s", holder_epoch=0, after_seq=3)
    with pytest.raises(Refused) as refused:
        await store.hold(NAMESPACE, "run", "s", holder_epoch=0, after_seq=4)
    assert refused.value.reason is Reason.FIELD_INVALID
    assert list(refused.value.fields) == ["after_seq"]
    held = await store.hold(NAMESPACE, "run", "s", holder_epoch=1, after_seq=0)
    assert held.holder_epoch == 1, "the refused one took over"


async def test_only_attached_runs_that_have_not_ended_are_held(store: Store) -> None:
    await create(store, "managed", kind=Kind.MANAGED)
    await create(store, "ended")
    epoch = await hold(store, run_id="ended")
    await store.finish(NAMESPACE, "ended", State.FAILED, b"", now_us=NOW_US)
    for run_id, reason in (
        ("managed", Reason.RUN_MANAGED),
        ("ended", Reason.RUN_FINISHED),
        ("unknown", Reason.RUN_NOT_FOUND),
    ):
        assert await refusal(hold(store, run_id=run_id)) is reason
        assert await refusal(ack(store, 0, epoch=epoch, run_id=run_id)) is reason


async def test_an_ack_moves_the_cursor_forward_only(store: Store) -> None:
    await create(store)
    await fill(store, 5)
    epoch = await hold(store)
    assert [await ack(store, through, epoch=epoch) for through in (0, 3, 3, 1, 0, 5)] == [0, 3, 3, 3, 3, 5]
    assert (await store.hold(NAMESPACE, "run", "s", holder_epoch=0, after_seq=None)).cursor == 5


async def test_an_ack_of_the_future_moves_nothing(store: Store) -> None:
    await create(store)
    await fill(store, 5)
    epoch = await hold(store)
    assert await refusal(ack(store, 6, epoch=epoch)) is Reason.ACK_AHEAD
    assert await refusal(ack(store, 3, epoch=epoch, delivered_seq=2)) is Reason.ACK_AHEAD
    assert await refusal(ack(store, 1, epoch=epoch, delivered_seq=0, failures=failures(1))) is Reason.ACK_AHEAD
    assert await refusal(ack(store, 2**63 - 1, epoch=epoch)) is Reason.ACK_AHEAD
    run = await store.get_run(NAMESPACE, "run")
    assert run.streams == (StreamStatus("s", 5, 0, 5),)
    assert run.handler_failure_count == 0
    assert await ack(store, 2, epoch=epoch, delivered_seq=2) == 2


async def test_an_old_holder_cannot_acknowledge(store: Store) -> None:
    await create(store)
    await fill(store, 5)
    old, new = await hold(store), await hold(store)
    assert await refusal(ack(store, 1, epoch=old, failures=failures(1))) is Reason.FENCED
    assert await ack(store, 2, epoch=new) == 2
    assert await refusal(ack(store, 1, epoch=old)) is Reason.FENCED
    assert (await store.get_run(NAMESPACE, "run")).handler_failure_count == 0


async def test_nobody_acknowledges_without_holding(store: Store) -> None:
    await create(store)
    await fill(store, 5)
    assert await refusal(ack(store, 1, epoch=0)) is Reason.FIELD_INVALID
    assert await refusal(ack(store, 0, epoch=0, stream_id="none", failures=failures(1))) is Reason.FIELD_INVALID
    assert await refusal(ack(store, 1, epoch=1)) is Reason.FENCED
    assert (await store.get_run(NAMESPACE, "run")).streams[0].cursor == 0


async def test_unread_is_counted_from_the_cursor(store: Store) -> None:
    await create(store)
    await append(store, draft(size=100), draft(size=20), draft(size=3))
    epoch = await hold(store)
    seen = []
    for through in range(4):
        await ack(store, through, epoch=epoch)
        (stream,) = (await store.get_run(NAMESPACE, "run")).streams
        seen.append((stream.unread, stream.unread_bytes))
    assert seen == [(3, 123), (2, 23), (1, 3), (0, 0)]
    await append(store, draft(size=7))
    assert (await store.get_run(NAMESPACE, "run")).streams == (StreamStatus("s", 4, 3, 7),)


async def test_a_failure_is_recorded_once(store: Store) -> None:
    await create(store)
    await fill(store, 5)
    epoch = await hold(store)
    for _ in range(2):
        await ack(store, 2, epoch=epoch, failures=failures(1, 2))
    await ack(store, 2, epoch=epoch, failures=failures(2, handler="other"), now_us=NOW_US + 1)
    run = await store.get_run(NAMESPACE, "run")
    assert run.handler_failure_count == 3
    assert run.handler_failures == (("s", NOW_US, b"1 h"), ("s", NOW_US, b"2 h"), ("s", NOW_US + 1, b"2 other"))


async def test_the_same_seq_may_fail_on_two_streams(store: Store) -> None:
    await create(store)
    for name in ("a", "b"):
        await fill(store, 1, stream_id=name)
        await ack(store, 1, epoch=await hold(store, stream_id=name), stream_id=name, failures=failures(1))
    assert (await store.get_run(NAMESPACE, "run")).handler_failure_count == 2


@pytest.mark.parametrize("at_once", [True, False])
async def test_all_failures_are_counted_and_the_newest_shown(store: Store, at_once: bool) -> None:
    await create(store)
    await fill(store, 250)
    epoch = await hold(store)
    if at_once:
        await ack(store, 250, epoch=epoch, failures=failures(*range(1, 251)))
    else:
        for seq in range(1, 251):
            await ack(store, seq, epoch=epoch, failures=failures(seq), now_us=NOW_US + seq)
    run = await store.get_run(NAMESPACE, "run")
    assert run.handler_failure_count == 250
    assert [body for _, _, body in run.handler_failures] == [b"%d h" % seq for seq in range(231, 251)]


async def test_failures_are_left_out_of_lists(store: Store) -> None:
    await create(store)
    await fill(store, 1)
    await ack(store, 1, epoch=await hold(store), failures=failures(1))
    (run,) = await store.list_runs(NAMESPACE, task=None, states=(), before_no=None, limit=5)
    assert (run.handler_failure_count, run.handler_failures) == (1, ())


async def test_holders_and_cursors_survive_a_restart(engine: Engine) -> None:
    store = await engine.open()
    await create(store)
    await fill(store, 5)
    await hold(store)
    epoch = await hold(store)
    await ack(store, 3, epoch=epoch, failures=failures(3))
    before = await store.get_run(NAMESPACE, "run")
    await store.close()
    store = await engine.open()
    assert await store.get_run(NAMESPACE, "run") == before
    assert await refusal(ack(store, 4, epoch=1)) is Reason.FENCED
    assert await ack(store, 4, epoch=epoch, failures=failures(3)) == 4
    assert (await store.get_run(NAMESPACE, "run")).handler_failure_count == 1
    await store.close()
