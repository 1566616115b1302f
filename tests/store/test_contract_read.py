"""Every store: reading records and runs, from any position and in bounded pieces."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midstream_server.domain.errors import Reason
from midstream_server.domain.record import StoredRecord
from midstream_server.domain.run import Kind, Run, State
from midstream_server.store import Demand, Look, Store
from store.engines import MIB, MUCH, NAMESPACE, NOW_US, ack, append, create, draft, fill, hold, page, payloads, refusal


async def look(
    store: Store, run: Run, stream_id: str = "s", *, after: int = 0, max_records: int = 1_000, max_bytes: int = MUCH
) -> Look:
    found = await store.look(run.no, stream_id, after_seq=after, max_records=max_records, max_bytes=max_bytes)
    assert found is not None
    return found


async def test_a_look_tells_where_the_stream_stands(store: Store) -> None:
    run = await create(store)
    await fill(store, 3)
    await ack(store, 1, epoch=await hold(store))
    found = await look(store, run)
    assert (found.cursor, found.last_seq, found.holder_epoch, found.run_state, found.last_offset) == (
        1,
        3,
        1,
        State.RUNNING,
        4,
    )
    assert found.records[0] == StoredRecord("s", 2, 3, NOW_US, b"1+envelope"), "the first one is consumed"
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    assert (await look(store, run)).run_state is State.COMPLETED


@pytest.mark.parametrize(
    ("after", "max_records", "seqs"),
    [(0, 9, [1, 2, 3, 4, 5]), (2, 9, [3, 4, 5]), (2, 2, [3, 4]), (5, 9, []), (99, 9, []), (0, 0, []), (4, 1, [5])],
)
async def test_a_look_is_bounded_by_count(store: Store, after: int, max_records: int, seqs: list[int]) -> None:
    run = await create(store)
    await fill(store, 5)
    found = await look(store, run, after=after, max_records=max_records)
    assert [record.seq for record in found.records] == seqs
    assert found.last_seq == 5


ENVELOPE_BYTES = len(b"+envelope")


@pytest.mark.parametrize(
    ("after", "max_bytes", "seqs"),
    [
        (0, 1, [1]),
        (0, 2 * (100 + ENVELOPE_BYTES), [1, 2]),
        (0, 2 * (100 + ENVELOPE_BYTES) - 1, [1]),
        (1, 1_000, [2]),
        (2, 1_000, [3]),
        (3, 1_000, [4]),
        (2, 5_000 + 100 + 2 * ENVELOPE_BYTES, [3, 4]),
    ],
)
async def test_records_are_bounded_by_bytes_and_a_larger_one_comes_alone(
    store: Store, after: int, max_bytes: int, seqs: list[int]
) -> None:
    run = await create(store)
    await append(store, *(draft(b"x" * size) for size in (100, 100, 5_000, 100)))
    assert [record.seq for record in (await look(store, run, after=after, max_bytes=max_bytes)).records] == seqs
    for stream_id in (None, "s"):
        found = await page(store, run, stream_id, after=after + 1, max_bytes=max_bytes)
        assert [record.seq for record in found.records] == seqs
        assert found.through_offset == seqs[-1] + 1


async def test_a_record_of_a_mebibyte_fits_no_frame_and_comes_all_the_same(store: Store) -> None:
    run = await create(store)
    await append(store, draft(b"x" * MIB), draft())
    assert [record.seq for record in (await look(store, run, max_bytes=MIB)).records] == [1]


async def test_a_look_at_nothing(store: Store) -> None:
    run = await create(store)
    assert await store.look(run.no + 1, "s", after_seq=0, max_records=1, max_bytes=1) is None
    await hold(store)
    assert await look(store, run) == Look([], 0, 0, 1, State.RUNNING, 1)


async def test_the_newest_unconsumed_record(store: Store) -> None:
    await create(store)
    assert await store.newest(NAMESPACE, "run", "s") == (None, 0, 1)
    await fill(store, 3)
    await fill(store, 1, stream_id="t")
    newest = StoredRecord("s", 3, 4, NOW_US, b"2+envelope")
    assert await store.newest(NAMESPACE, "run", "s") == (newest, 3, 5)
    epoch = await hold(store)
    await ack(store, 2, epoch=epoch)
    assert await store.newest(NAMESPACE, "run", "s") == (newest, 1, 5)
    await ack(store, 3, epoch=epoch)
    assert await store.newest(NAMESPACE, "run", "s") == (None, 0, 5)
    assert await refusal(store.newest(NAMESPACE, "unknown", "s")) is Reason.RUN_NOT_FOUND


async def test_resolving_an_unknown_run(store: Store) -> None:
    assert await refusal(store.resolve(NAMESPACE, "run")) is Reason.RUN_NOT_FOUND
    assert await store.read_log(1, None, after_offset=0, max_records=1, max_bytes=1) is None


async def test_a_page_without_records_tells_how_far_it_looked(store: Store) -> None:
    run = await create(store)
    await fill(store, 3)
    await fill(store, 3, stream_id="t")
    found = await page(store, run, "t", after=7)
    assert (found.records, found.through_offset, found.last_offset) == ([], 7, 7)
    assert (await page(store, run, "s", after=4)).through_offset == 7
    assert (await page(store, run, "never")).through_offset == 7
    assert (await page(store, run, after=99)).through_offset == 99


async def test_entries_that_are_no_records_are_passed_over(store: Store) -> None:
    run = await create(store)
    await fill(store, 1)
    await store.request_cancel(NAMESPACE, "run", now_us=NOW_US)
    await append(store, draft())
    await store.finish(NAMESPACE, "run", State.CANCELLED, b"", now_us=NOW_US)
    for stream_id in (None, "s"):
        found = await page(store, run, stream_id)
        assert [record.offset for record in found.records] == [2, 4]
        assert (found.last_offset, found.run_state) == (5, State.CANCELLED)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    log=st.lists(st.sampled_from(["a", "b", "c"]), max_size=25),
    stream_id=st.sampled_from([None, "a", "b", "never"]),
    after=st.integers(0, 30),
    max_records=st.integers(1, 8),
    max_bytes=st.integers(1, 60),
)
async def test_read_log_agrees_with_a_list(
    store: Store, log: list[str], stream_id: str | None, after: int, max_records: int, max_bytes: int
) -> None:
    run_id = f"run-{(await store.snapshot()).runs_by_state.get(State.RUNNING, 0)}"
    run = await create(store, run_id)
    model: list[StoredRecord] = []
    for offset, name in enumerate(log, start=2):
        body = b"x" * (offset % 7)
        await append(store, draft(body), run_id=run_id, stream_id=name)
        seq = sum(record.stream_id == name for record in model) + 1
        model.append(StoredRecord(name, seq, offset, NOW_US, body + b"+envelope"))

    rest = [each for each in model if each.offset > after and stream_id in (None, each.stream_id)][:max_records]
    expected = list(rest)
    while len(expected) > 1 and sum(len(each.body) for each in expected) > max_bytes:
        expected.pop()
    found = await page(store, run, stream_id, after=after, max_records=max_records, max_bytes=max_bytes)
    assert found.records == expected
    assert found.through_offset == (expected[-1].offset if expected else max(after, len(log) + 1))
    assert found.last_offset == len(log) + 1


@pytest.mark.parametrize("stream_id", [None, "a"])
async def test_paging_meets_every_record_once(store: Store, stream_id: str | None) -> None:
    run = await create(store)
    for number in range(40):
        await append(store, draft(b"%d" % number), stream_id="ab"[number % 3 == 0])
    seen: list[bytes] = []
    after = 0
    while (found := await page(store, run, stream_id, after=after, max_records=7)).records:
        seen += payloads(found.records)
        after = found.through_offset
    assert seen == [b"%d" % number for number in range(40) if stream_id is None or number % 3]


async def names(
    store: Store,
    *,
    task: str | None = None,
    states: Sequence[State] = (),
    before_no: int | None = None,
    limit: int = 100,
    namespace: str = NAMESPACE,
) -> str:
    runs = await store.list_runs(namespace, task=task, states=states, before_no=before_no, limit=limit)
    return " ".join(run.run_id for run in runs)


@pytest.fixture
async def six(store: Store) -> dict[str, Run]:
    """r0 to r5: even ones managed and queued, odd ones attached; r3 completed, r4 cancelled; tasks x x x y y y."""
    runs = {}
    for number in range(6):
        kind = Kind.ATTACHED if number % 2 else Kind.MANAGED
        runs[f"r{number}"] = await create(store, f"r{number}", kind=kind, task="xxxyyy"[number])
    await create(store, "theirs", namespace="other")
    await store.finish(NAMESPACE, "r3", State.COMPLETED, b"", now_us=NOW_US)
    await store.request_cancel(NAMESPACE, "r4", now_us=NOW_US)
    return runs


ENDED = (State.COMPLETED, State.CANCELLED)


@pytest.mark.parametrize(
    ("task", "states", "limit", "listed"),
    [
        (None, (), 100, "r5 r4 r3 r2 r1 r0"),
        (None, (), 2, "r5 r4"),
        ("x", (), 100, "r2 r1 r0"),
        ("never", (), 100, ""),
        (None, (State.QUEUED,), 100, "r2 r0"),
        (None, ENDED, 100, "r4 r3"),
        (None, ENDED, 1, "r4"),
        (None, (*ENDED, *ENDED) * 300, 100, "r4 r3"),
        (None, tuple(State), 100, "r5 r4 r3 r2 r1 r0"),
        ("y", (State.RUNNING, State.COMPLETED), 100, "r5 r3"),
        ("y", (State.QUEUED,), 100, ""),
    ],
)
async def test_runs_are_listed_newest_first(
    store: Store, six: dict[str, Run], task: str | None, states: Sequence[State], limit: int, listed: str
) -> None:
    assert await names(store, task=task, states=states, limit=limit) == listed
    assert await names(store, namespace="other") == "theirs"


async def test_runs_are_listed_in_pages(store: Store, six: dict[str, Run]) -> None:
    assert await names(store, before_no=six["r4"].no, limit=2) == "r3 r2"
    assert await names(store, before_no=six["r2"].no) == "r1 r0"
    assert await names(store, before_no=six["r0"].no) == ""
    assert await names(store, before_no=six["r4"].no, task="y", states=(State.COMPLETED,)) == "r3"


async def test_a_listed_run_is_the_run(store: Store, six: dict[str, Run]) -> None:
    await fill(store, 2, run_id="r1")
    runs = await store.list_runs(NAMESPACE, task=None, states=(), before_no=None, limit=100)
    assert runs == [await store.get_run(NAMESPACE, run.run_id) for run in runs]


async def test_a_snapshot_counts_everything(store: Store, six: dict[str, Run]) -> None:
    await create(store, "also", kind=Kind.MANAGED, task="x", namespace="other")
    snapshot = await store.snapshot()
    assert snapshot.runs_by_state == {State.QUEUED: 3, State.RUNNING: 3, State.COMPLETED: 1, State.CANCELLED: 1}
    assert {timer.name: count for timer, count in snapshot.timers_by_kind.items()} == {"UNHELD": 3, "RETENTION": 2}


async def test_demand_counts_what_workers_are_wanted_for(store: Store, six: dict[str, Run]) -> None:
    await create(store, "also", kind=Kind.MANAGED, task="x", namespace="other")
    assert await store.demand() == Demand(queued={"x": 3}, assigned={})
