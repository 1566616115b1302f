"""Every store: runs come into being, or are found."""

import asyncio

import pytest

from midstream_server.domain import errors
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.run import Kind, State, StreamStatus
from midstream_server.store import NewRun, Store
from store.engines import NAMESPACE, NOW_US, SECOND_US, Engine, append, create, draft, new_run, page, payloads, refusal


async def test_an_attached_run_runs_at_once(store: Store) -> None:
    run = await create(store, max_duration_us=SECOND_US)
    assert (run.run_id, run.task, run.kind, run.state) == ("run", "task", Kind.ATTACHED, State.RUNNING)
    assert (run.created_us, run.started_us, run.deadline_us) == (NOW_US, NOW_US, NOW_US + SECOND_US)
    assert (run.spec, run.outcome, run.last_offset, run.streams) == (b"spec of run", None, 1, ())
    assert await store.get_run(NAMESPACE, "run") == run
    assert await store.resolve(NAMESPACE, "run") == run.no


async def test_a_managed_run_is_queued(store: Store) -> None:
    run = await create(store, kind=Kind.MANAGED)
    assert (run.state, run.started_us, run.deadline_us) == (State.QUEUED, None, None)


async def test_the_same_content_is_found(store: Store) -> None:
    first, _ = await store.create_run(new_run(), now_us=NOW_US)
    again, created = await store.create_run(new_run(), now_us=NOW_US + SECOND_US)
    assert not created
    assert again == first


OTHERS = {
    "content": new_run(digest=b"other"),
    "task": new_run(task="other"),
    "both": new_run(task="other", digest=b"other"),
    "task, content not compared": new_run(task="other", compare_content=False),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_other_content_is_refused(store: Store, other: NewRun) -> None:
    run = await create(store)
    assert await refusal(store.create_run(other, now_us=NOW_US)) is Reason.RUN_ID_REUSED
    assert await store.get_run(NAMESPACE, "run") == run


async def test_an_attached_run_is_found_by_its_id_alone(store: Store) -> None:
    run = await create(store)
    found, created = await store.create_run(new_run(task="", digest=b"other", compare_content=False), now_us=NOW_US)
    assert not created
    assert found == run


async def test_a_new_run_needs_a_task(store: Store) -> None:
    with pytest.raises(Refused) as refused:
        await store.create_run(new_run(task=""), now_us=NOW_US)
    assert refused.value.reason is Reason.FIELD_INVALID
    assert list(refused.value.fields) == ["spec.task"]


async def test_kinds_are_not_mixed(store: Store) -> None:
    await create(store, "attached")
    await create(store, "managed", kind=Kind.MANAGED)
    attach, start = new_run("managed"), new_run("attached", kind=Kind.MANAGED)
    assert await refusal(store.create_run(attach, now_us=NOW_US)) is Reason.RUN_MANAGED
    assert await refusal(store.create_run(start, now_us=NOW_US)) is Reason.RUN_ID_REUSED


async def test_an_ended_attached_run_is_not_attached_to(store: Store) -> None:
    await create(store)
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    assert await refusal(store.create_run(new_run(), now_us=NOW_US)) is Reason.RUN_FINISHED


async def test_an_ended_managed_run_is_still_found_by_its_content(store: Store) -> None:
    await create(store, kind=Kind.MANAGED)
    await store.request_cancel(NAMESPACE, "run", now_us=NOW_US)
    run, created = await store.create_run(new_run(kind=Kind.MANAGED), now_us=NOW_US)
    assert (run.state, created) == (State.CANCELLED, False)


async def test_namespaces_do_not_see_each_other(store: Store) -> None:
    ours = await create(store, "run")
    theirs = await create(store, "run", namespace="other", task="theirs")
    assert ours.no != theirs.no
    assert (await store.get_run(NAMESPACE, "run")).task == "task"
    assert (await store.get_run("other", "run")).task == "theirs"
    assert await refusal(store.get_run("third", "run")) is Reason.RUN_NOT_FOUND


async def test_one_of_many_concurrent_creates_creates(store: Store) -> None:
    results = await asyncio.gather(*(store.create_run(new_run(), now_us=NOW_US) for _ in range(20)))
    assert [created for _, created in results].count(True) == 1
    assert len({run.no for run, _ in results}) == 1


async def test_first_records_are_there_from_the_beginning(store: Store) -> None:
    records = [("a", draft(b"1", key="k")), ("b", draft(b"2")), ("a", draft(b"3")), ("a", draft(b"1", key="k"))]
    run, _ = await store.create_run(new_run(kind=Kind.MANAGED, first_records=records), now_us=NOW_US)
    assert run.streams == (StreamStatus("a", 2, 0, 2), StreamStatus("b", 1, 0, 1))
    assert run.last_offset == 4
    found = (await page(store, run)).records
    assert [(record.stream_id, record.seq, record.offset) for record in found] == [
        ("a", 1, 2),
        ("b", 1, 3),
        ("a", 2, 4),
    ]
    assert payloads(found) == [b"1", b"2", b"3"]


FLAWED = draft(flaw=errors.payload_too_large(2, 1))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("a", FLAWED), Reason.PAYLOAD_TOO_LARGE),
        (("a", draft(b"other", key="k")), Reason.IDEMPOTENCY_KEY_REUSED),
        (("a", draft(b"x" * 11)), Reason.STREAM_FULL),
        (("c", draft()), Reason.TOO_MANY_STREAMS),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else "",
)
async def test_a_refused_first_record_undoes_the_run(engine: Engine, bad: tuple[str, object], reason: Reason) -> None:
    store = await engine.open(limits=Limits(max_unread_bytes=10, max_streams_per_run=2))
    records = [("a", draft(key="k")), ("b", draft()), bad]
    one, new, two = await asyncio.gather(
        store.create_run(new_run("one"), now_us=NOW_US),
        store.create_run(new_run(first_records=records), now_us=NOW_US),  # type: ignore[arg-type]
        store.create_run(new_run("two"), now_us=NOW_US),
        return_exceptions=True,
    )
    assert isinstance(new, Refused)
    assert new.reason is reason
    assert isinstance(one, tuple)
    assert isinstance(two, tuple)
    assert await refusal(store.get_run(NAMESPACE, "run")) is Reason.RUN_NOT_FOUND
    assert (await store.snapshot()).runs_by_state == {State.RUNNING: 2}
    await create(store)
    assert (await store.get_run(NAMESPACE, "run")).streams == ()
    await append(store, draft(key="k"))
    await store.close()


async def test_finding_an_attached_run_puts_off_its_expiry(store: Store) -> None:
    await create(store)
    before = await store.next_due_us()
    await store.create_run(new_run(), now_us=NOW_US + SECOND_US)
    assert before is not None
    assert await store.next_due_us() == before + SECOND_US
