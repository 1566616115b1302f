"""Group commit: many operations in one transaction, and what happens when one of them, or the commit, fails."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from midstream_server.domain.errors import Reason, Refused, run_not_found
from midstream_server.store import Change, CommitReport
from midstream_server.store.sqlite.database import open_writer
from midstream_server.store.sqlite.group_commit import GroupCommit, Transaction
from store.engines import MIB, NAMESPACE, NOW_US, SqliteEngine, append, create, draft, drafts, refusal, short


class Faulty:
    """A connection whose COMMITs can be made to fail, one after the other, or to wait."""

    def __init__(self, path: Path) -> None:
        self.real = open_writer(path)
        self.executemany = self.real.executemany
        self.faults: deque[Exception] = deque()
        self.commit_begun = threading.Semaphore(0)
        self.commit_allowed = threading.Event()
        self.commit_allowed.set()

    @property
    def in_transaction(self) -> bool:
        return self.real.in_transaction

    def execute(self, sql: str, *bindings: Any) -> apsw.Cursor:
        if sql == "COMMIT":
            self.commit_begun.release()
            self.commit_allowed.wait()
            if self.faults:
                raise self.faults.popleft()
        return self.real.execute(sql, *bindings)

    async def committing(self) -> None:
        """Until one more COMMIT has begun."""
        await asyncio.to_thread(self.commit_begun.acquire)

    def rows(self) -> list[int]:
        return [number for (number,) in self.real.execute("SELECT number FROM numbers ORDER BY rowid")]


class Bed:
    """A group commit on a table of numbers."""

    def __init__(self, path: Path) -> None:
        self.connection = Faulty(path)
        self.connection.real.execute("CREATE TABLE numbers (number INTEGER)")
        self.reports: list[CommitReport] = []
        self.group = GroupCommit(cast(apsw.Connection, self.connection), self.reports.append)

    def put(self, number: int, *, fault: Exception | None = None, weight: int = 1) -> asyncio.Future[int]:
        """Writes a number and returns it; with `fault`, raises that after it has written."""

        def write(tx: Transaction) -> int:
            tx.execute("INSERT INTO numbers VALUES (?)", (number,))
            tx.changes.add(Change(number, None))
            if fault is not None:
                raise fault
            return number

        return self.group.submit(write, weight=weight)

    @property
    def sizes(self) -> list[int]:
        return [report.operations for report in self.reports]


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    bed = Bed(tmp_path / "db")
    yield bed
    bed.connection.commit_allowed.set()
    await bed.group.close()
    bed.connection.real.close()


def refuse(tx: Transaction) -> int:
    raise run_not_found("run")


async def test_what_one_turn_submits_shares_a_transaction(bed: Bed) -> None:
    assert await asyncio.gather(*(bed.put(number) for number in range(10))) == list(range(10))
    assert bed.sizes == [10]
    assert bed.reports[0].changes == {Change(number, None) for number in range(10)}
    assert bed.reports[0].seconds > 0


async def test_what_comes_during_a_commit_is_the_next_transaction(bed: Bed) -> None:
    bed.connection.commit_allowed.clear()
    first = bed.put(0)
    await bed.connection.committing()
    others = [bed.put(number) for number in range(1, 6)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not first.done(), "acknowledged before it was on disk"
    bed.connection.commit_allowed.set()
    assert await asyncio.gather(first, *others) == list(range(6))
    assert bed.sizes == [1, 5]


@pytest.mark.parametrize(
    ("weights", "sizes"),
    [
        ([600, 600, 400, 1], [1, 2, 1]),
        ([1_000, 1, 1], [1, 2]),
        ([5_000, 5_000], [1, 1]),
        ([1] * 2_500, [1_000, 1_000, 500]),
    ],
)
async def test_a_transaction_has_a_bounded_weight(bed: Bed, weights: list[int], sizes: list[int]) -> None:
    await asyncio.gather(*(bed.put(number, weight=weight) for number, weight in enumerate(weights)))
    assert bed.sizes == sizes
    assert bed.connection.rows() == list(range(len(weights)))


async def test_a_refusal_leaves_the_transaction_whole(bed: Bed) -> None:
    one, refused, two = await asyncio.gather(bed.put(1), bed.group.submit(refuse), bed.put(2), return_exceptions=True)
    assert (one, two) == (1, 2)
    assert isinstance(refused, Refused)
    assert bed.sizes == [3]


@pytest.mark.parametrize("place", [0, 1, 4])
async def test_an_operation_that_breaks_fails_alone(bed: Bed, place: int) -> None:
    faults: list[Exception | None] = [None] * 5
    faults[place] = ZeroDivisionError()
    results = await asyncio.gather(
        *(bed.put(number, fault=fault) for number, fault in enumerate(faults)), return_exceptions=True
    )
    assert results[place] is faults[place]
    rest = [number for number in range(5) if number != place]
    assert [result for result in results if not isinstance(result, Exception)] == rest
    assert bed.connection.rows() == rest, "in order, and nothing of the broken one"
    assert set().union(*(report.changes for report in bed.reports)) == {Change(number, None) for number in rest}
    assert await bed.put(9) == 9


async def test_everything_may_break(bed: Bed) -> None:
    results = await asyncio.gather(
        *(bed.put(number, fault=KeyError(number)) for number in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, KeyError) for result in results)
    assert bed.connection.rows() == []
    assert await bed.put(9) == 9


DISK_FAULTS = [
    apsw.FullError("database or disk is full"),
    apsw.IOError("disk I/O error"),
    apsw.ReadOnlyError("read only"),
]


@pytest.mark.parametrize("fault", DISK_FAULTS, ids=lambda fault: type(fault).__name__)
async def test_a_commit_that_fails_acknowledges_nothing(bed: Bed, fault: Exception) -> None:
    bed.connection.faults.append(fault)
    results = await asyncio.gather(*(bed.put(number) for number in range(3)), return_exceptions=True)
    assert [getattr(result, "reason", None) for result in results] == [Reason.STORE_UNAVAILABLE] * 3
    assert str(fault) in str(results[0])
    assert bed.reports == []
    assert bed.connection.rows() == []
    assert await bed.put(9) == 9
    assert bed.connection.rows() == [9]


async def test_what_waited_for_a_commit_that_fails_is_tried_on_its_own(bed: Bed) -> None:
    bed.connection.commit_allowed.clear()
    bed.connection.faults.append(apsw.FullError("full"))
    first = bed.put(0)
    await bed.connection.committing()
    second = bed.put(1)
    bed.connection.commit_allowed.set()
    assert await refusal(first) is Reason.STORE_UNAVAILABLE
    assert await second == 1
    assert bed.connection.rows() == [1]


async def test_a_cancelled_call_is_carried_out_all_the_same(bed: Bed) -> None:
    waiting = [bed.put(number) for number in range(3)]
    waiting[1].cancel()
    assert await asyncio.gather(*waiting, return_exceptions=True) != []
    assert waiting[1].cancelled()
    assert bed.connection.rows() == [0, 1, 2]
    await bed.connection.committing()
    bed.connection.commit_allowed.clear()
    late = bed.put(3)
    await bed.connection.committing()
    late.cancel()
    bed.connection.commit_allowed.set()
    assert await bed.put(4) == 4
    assert bed.connection.rows() == [0, 1, 2, 3, 4]


async def test_closing_completes_everything_and_takes_no_more(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "db")
    begun = [bed.put(number, weight=400) for number in range(10)]
    await asyncio.gather(bed.group.close(), bed.group.close())
    assert [future.result() for future in begun] == list(range(10))
    assert await refusal(bed.put(10)) is Reason.STORE_UNAVAILABLE
    assert not any(thread.name == "midstream-commit" for thread in threading.enumerate())
    bed.connection.real.close()


async def test_closing_an_unused_one_and_after_a_fault(tmp_path: Path) -> None:
    for fault in (None, ValueError()):
        bed = Bed(tmp_path / f"db{fault is None}")
        if fault is not None:
            (result,) = await asyncio.gather(bed.put(1, fault=fault), return_exceptions=True)
            assert result is fault
        await bed.group.close()
        bed.connection.real.close()


async def test_a_full_disk_loses_nothing_and_heals(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path)
    store = await engine.open()
    writer = store._writer
    await create(store)
    await append(store, *drafts(10, keys="before"))
    pages: int = writer.execute("PRAGMA page_count").get
    writer.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()

    large, small = await asyncio.gather(
        append(store, draft(b"x" * MIB, key="large")), append(store, draft(key="small")), return_exceptions=True
    )
    assert isinstance(large, Refused)
    assert large.reason is Reason.STORE_UNAVAILABLE
    assert large.retry_after_us is not None
    assert not isinstance(small, BaseException)
    assert short(small) == [11]

    writer.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert short(await append(store, draft(b"x" * MIB, key="large"), draft(key="small"))) == [12, 11]
    assert (await store.get_run(NAMESPACE, "run")).streams[0].last_seq == 12
    await store.close()
    store = await engine.open()
    assert (await store.get_run(NAMESPACE, "run")).streams[0].last_seq == 12
    assert short(await append(store, draft(key="small"), now_us=NOW_US)) == [11]
    await store.close()
