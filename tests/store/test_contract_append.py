"""Every store: records get their place, once."""

import asyncio

from midstream_server.domain import errors
from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Reason
from midstream_server.domain.limits import Limits
from midstream_server.domain.run import State, StreamStatus
from midstream_server.store import Store
from store.engines import (
    MIB,
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
    page,
    payloads,
    refusal,
    short,
)

TOO_LARGE = errors.payload_too_large(2, 1)


async def test_records_get_their_places(store: Store) -> None:
    await create(store)
    assert await append(store, draft(), draft()) == [Accepted(1, 2, NOW_US), Accepted(2, 3, NOW_US)]
    assert await append(store, draft(), stream_id="t", now_us=NOW_US + 1) == [Accepted(1, 4, NOW_US + 1)]
    assert await append(store, draft(), now_us=NOW_US - 9) == [Accepted(3, 5, NOW_US + 1)], "time went backwards"


async def test_an_unknown_run_takes_nothing(store: Store) -> None:
    assert await refusal(append(store, draft())) is Reason.RUN_NOT_FOUND
    await create(store, namespace="other")
    assert await refusal(append(store, draft())) is Reason.RUN_NOT_FOUND


async def test_a_key_counts_once_however_often_it_comes(store: Store) -> None:
    run = await create(store)
    (first,) = await append(store, draft(b"1", key="k"))
    assert isinstance(first, Accepted)
    again = await append(store, draft(b"1", key="k"), draft(b"2", key="k"), draft(b"3"), now_us=NOW_US + 9)
    assert again[0] == first._replace(deduplicated=True)
    assert short(again) == [1, Reason.IDEMPOTENCY_KEY_REUSED, 2]
    assert payloads((await page(store, run)).records) == [b"1", b"3"]


async def test_payloads_are_compared_without_what_follows_them(store: Store) -> None:
    await create(store)
    await append(store, draft(b"1", key="k"))
    retry = draft(b"1", key="k")._replace(envelope=b"another sender")
    longer = draft(b"1+", key="k")._replace(envelope=b"envelope")
    assert short(await append(store, retry, longer)) == [1, Reason.IDEMPOTENCY_KEY_REUSED]


async def test_keys_belong_to_one_stream_of_one_run(store: Store) -> None:
    await create(store)
    await create(store, "other")
    for run_id, stream_id in (("run", "s"), ("run", "t"), ("other", "s")):
        (outcome,) = await append(store, draft(run_id.encode(), key="k"), run_id=run_id, stream_id=stream_id)
        assert isinstance(outcome, Accepted)
        assert not outcome.deduplicated


async def test_the_same_key_at_once_is_stored_once(store: Store) -> None:
    run = await create(store)
    results = await asyncio.gather(*(append(store, draft(key="k")) for _ in range(50)))
    assert {short(each)[0] for each in results} == {1}
    new = [outcome for (outcome,) in results if isinstance(outcome, Accepted) and not outcome.deduplicated]
    assert len(new) == 1
    assert len((await page(store, run)).records) == 1


async def test_a_retry_after_the_end_of_the_run_gets_its_receipt(store: Store) -> None:
    await create(store)
    await append(store, draft(key="k"))
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    answers = await append(store, draft(key="k"), draft(b"q", key="k"), draft(key="new"), draft(flaw=TOO_LARGE))
    assert short(answers) == [1, Reason.IDEMPOTENCY_KEY_REUSED, Reason.RUN_FINISHED, Reason.RUN_FINISHED]
    assert short(await append(store, draft(), draft(), stream_id="never")) == [Reason.RUN_FINISHED] * 2


async def test_a_retry_after_a_restart_gets_its_receipt(engine: Engine) -> None:
    store = await engine.open()
    await create(store)
    (first,) = await append(store, draft(key="k"))
    await store.close()
    store = await engine.open()
    (again,) = await append(store, draft(key="k"), now_us=NOW_US + 9)
    assert isinstance(first, Accepted)
    assert again == first._replace(deduplicated=True)
    await store.close()


async def test_refused_records_leave_no_trace(store: Store) -> None:
    run = await create(store)
    flawed = draft(key="k", flaw=TOO_LARGE)
    assert short(await append(store, flawed, flawed)) == [Reason.PAYLOAD_TOO_LARGE] * 2
    assert (await store.get_run(NAMESPACE, "run")) == run
    assert short(await append(store, flawed, draft(key="k"), flawed)) == [Reason.PAYLOAD_TOO_LARGE, 1, 1]


async def test_a_full_stream_has_room_again_once_records_are_consumed(engine: Engine) -> None:
    store = await engine.open(limits=Limits(max_unread_records=3))
    await create(store)
    assert short(await append(store, *drafts(5))) == [1, 2, 3, Reason.STREAM_FULL, Reason.STREAM_FULL]
    assert short(await append(store, draft(), stream_id="another")) == [1]
    epoch = await hold(store)
    await ack(store, 2, epoch=epoch)
    assert short(await append(store, *drafts(3))) == [4, 5, Reason.STREAM_FULL]
    await store.close()


async def test_a_stream_full_of_bytes_has_room_again_too(engine: Engine) -> None:
    store = await engine.open(limits=Limits(max_unread_bytes=100))
    await create(store)
    sizes = [draft(size=60), draft(size=41), draft(size=40), draft(size=1)]
    assert short(await append(store, *sizes)) == [1, Reason.STREAM_FULL, 2, Reason.STREAM_FULL]
    epoch = await hold(store)
    await ack(store, 1, epoch=epoch)
    assert short(await append(store, draft(size=61), draft(size=60), draft(size=1))) == [
        Reason.STREAM_FULL,
        3,
        Reason.STREAM_FULL,
    ]
    assert (await store.get_run(NAMESPACE, "run")).streams == (StreamStatus("s", 3, 1, 100),)
    await store.close()


async def test_a_run_has_so_many_streams_and_no_more(engine: Engine) -> None:
    store = await engine.open(limits=Limits(max_streams_per_run=2))
    await create(store)
    await create(store, "other")
    await append(store, draft(), stream_id="a")
    await store.hold(NAMESPACE, "run", "b", holder_epoch=0, after_seq=None)
    assert await refusal(append(store, draft(), stream_id="c")) is Reason.TOO_MANY_STREAMS
    assert await refusal(hold(store, stream_id="c")) is Reason.TOO_MANY_STREAMS
    assert short(await append(store, draft(flaw=TOO_LARGE), stream_id="c")) == [Reason.PAYLOAD_TOO_LARGE]
    assert short(await append(store, draft(), stream_id="a")) == [2]
    assert short(await append(store, draft(), stream_id="c", run_id="other")) == [1]
    await store.close()


async def test_many_streams_keep_their_own_seqs(store: Store) -> None:
    run = await create(store)
    names = [f"s{number}" for number in range(100)]
    for _ in range(2):
        await asyncio.gather(*(append(store, draft(name.encode()), stream_id=name) for name in names))
    found = (await page(store, run)).records
    assert [record.offset for record in found] == list(range(2, 202))
    for name in names:
        assert [(each.seq, each.body) for each in found if each.stream_id == name] == [
            (1, name.encode() + b"+envelope"),
            (2, name.encode() + b"+envelope"),
        ]


async def test_a_thousand_records_in_one_batch(store: Store) -> None:
    run = await create(store)
    batch = drafts(1_000, keys="k")
    assert short(await append(store, *batch)) == list(range(1, 1_001))
    again = await append(store, *batch)
    assert short(again) == list(range(1, 1_001))
    assert all(isinstance(each, Accepted) and each.deduplicated for each in again)
    assert payloads((await page(store, run)).records) == [each.payload for each in batch]


async def test_large_and_odd_payloads_come_back_as_they_were(store: Store) -> None:
    run = await create(store)
    odd = [b"", b"\0", b"a\0b", b"\xff\xfe", "😀".encode(), bytes(range(256)), b"x" * MIB]
    keys = ["k", "ké", "😀", "K", "k ", "a'b", "%"]
    batch = [draft(payload, key=key) for payload, key in zip(odd, keys, strict=True)]
    assert short(await append(store, *batch)) == list(range(1, 8))
    assert short(await append(store, *batch)) == list(range(1, 8))
    assert payloads((await page(store, run)).records) == odd


async def test_concurrent_batches_are_stored_in_the_order_of_the_calls(store: Store) -> None:
    run = await create(store)
    calls = [append(store, draft(b"%d" % number), draft(b"%d'" % number)) for number in range(100)]
    results = await asyncio.gather(*calls)
    assert [short(each) for each in results] == [[2 * number + 1, 2 * number + 2] for number in range(100)]
    expected = [text for number in range(100) for text in (b"%d" % number, b"%d'" % number)]
    assert payloads((await page(store, run)).records) == expected


async def test_filling_one_stream_changes_no_other(store: Store) -> None:
    await create(store)
    await fill(store, 3)
    await fill(store, 2, stream_id="t")
    run = await store.get_run(NAMESPACE, "run")
    assert run.streams == (StreamStatus("s", 3, 0, 3), StreamStatus("t", 2, 0, 2))
    assert run.last_offset == 6
