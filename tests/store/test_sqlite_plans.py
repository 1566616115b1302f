"""The plans of all statements: each finds its rows by an index, and the hot ones by the intended one.

There are no statistics, so SQLite plans by the schema alone: on a small database as on a large one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import apsw
import pytest

from midstream_server.domain.run import State
from midstream_server.store.sqlite import SqliteStore
from store.engines import (
    NAMESPACE,
    NOW_US,
    SqliteEngine,
    append,
    create,
    draft,
)
from store.managed_calls import every_managed_call, every_output_call
from store.managed_runs import Desks, Yard
from store.store_calls import every_call

Plans = dict[str, list[str]]

WHOLE_TABLE = {
    "SELECT state, count(*) FROM runs GROUP BY state",
    "SELECT kind, count(*) FROM timers GROUP BY kind",
}
"""Figures for the metrics: they are counts of everything."""


class Recorder:
    """Notes every statement that a connection runs, with its plan."""

    def __init__(self) -> None:
        self.plans: Plans = {}
        self._seen: dict[str, tuple[apsw.Connection, Any]] = {}

    def attach(self, connection: apsw.Connection) -> None:
        connection.exec_trace = self._trace

    def _trace(self, cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            self._seen.setdefault(sql, (cursor.connection, bindings))
        return True

    def explain(self) -> Plans:
        for sql, (connection, bindings) in self._seen.items():
            connection.exec_trace = None
            rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings).fetchall()
            self.plans[sql] = [str(row[3]) for row in rows]
        return self.plans


@pytest.fixture
async def plans(tmp_path: Any) -> AsyncIterator[Plans]:
    desks = Desks()
    store = await SqliteEngine(tmp_path).open(seats=desks)
    recorder = Recorder()
    recorder.attach(store._writer)
    recorder.attach(store._reader)
    await every_output_call(store, desks)
    await every_managed_call(Yard(store, desks))
    await every_call(store)
    yield recorder.explain()
    await store.close()


def steps_of(plans: Plans, *parts: str) -> list[str]:
    """The steps of the one statement that contains all the parts."""
    found = [steps for sql, steps in plans.items() if all(part in sql for part in parts)]
    assert len(found) == 1, [sql for sql in plans if all(part in sql for part in parts)]
    return found[0]


def harmless(step: str) -> bool:
    """A scan of the statement's own list, of rows that an inner search has bounded, or of the queue."""
    # The queue's index holds nothing but what is queued.
    if step == "SCAN runs USING COVERING INDEX runs_queue":
        return True
    return "carray" in step or "json_each" in step or "(subquery" in step or "CONSTANT ROW" in step


async def test_no_statement_reads_a_whole_table(plans: Plans) -> None:
    assert len(plans) > 40
    scans = {
        sql: step
        for sql, steps in plans.items()
        if sql not in WHOLE_TABLE
        for step in steps
        if step.startswith("SCAN") and not harmless(step)
    }
    assert scans.keys() <= {"SELECT min(due_us) FROM timers", POSTPONE}, scans


POSTPONE = "UPDATE timers SET due_us = ?1 WHERE kind = ?2 AND due_us < ?1"
HOT: dict[str, tuple[tuple[str, ...], str]] = {
    "append finds its keys": (
        ("SELECT key, seq", "FROM entries"),
        "entries USING INDEX entries_key (run=? AND stream=? AND key=?)",
    ),
    "append finds the last record": (
        ("SELECT seq, bytes_through", "DESC"),
        "entries USING INDEX entries_seq (run=? AND stream=?)",
    ),
    "a drop finds the last record that goes": (
        ("SELECT seq, bytes_through", "bytes_through >= ?"),
        "entries USING INDEX entries_seq (run=? AND stream=? AND seq>?)",
    ),
    "append finds the last entry": (("SELECT offset, at_us FROM",), "entries USING PRIMARY KEY (run=?)"),
    "a run is found": (("SELECT no, kind, state, epoch FROM runs",), "runs USING INDEX runs_id (namespace=? AND id=?)"),
    "a stream is found": (("SELECT no, cursor, cursor_bytes",), "streams USING INDEX streams_id (run=? AND id=?)"),
    "look reads records": (
        ("SELECT seq, offset, at_us, body",),
        "entries USING INDEX entries_seq (run=? AND stream=? AND seq>?)",
    ),
    "look finds the last seq": (
        ("SELECT state, streams.no",),
        "entries USING COVERING INDEX entries_seq (run=? AND stream=?)",
    ),
    "newest": (("SELECT cursor, seq, offset",), "entries USING INDEX entries_seq (run=? AND stream=?)"),
    "the log of all streams": (("SELECT streams.id, seq",), "entries USING PRIMARY KEY (run=? AND offset>?)"),
    "the log of one stream": (
        ("SELECT ?, seq", "FROM entries"),
        "entries USING INDEX entries_seq (run=? AND stream=? AND seq>?)",
    ),
    "bisection": (
        ("SELECT offset FROM entries WHERE run = ? AND stream",),
        "entries USING COVERING INDEX entries_seq (run=? AND stream=? AND seq=?)",
    ),
    "due timers": (("SELECT timers.run",), "timers USING COVERING INDEX timers_due (due_us<?)"),
    "due retention": (("SELECT run, kind FROM timers",), "timers USING COVERING INDEX timers_due (due_us<?)"),
    "a slice to purge": (("SELECT offset, length(body) FROM entries",), "entries USING PRIMARY KEY (run=?)"),
    "purge": (("DELETE FROM entries",), "entries USING PRIMARY KEY (run=? AND offset<?)"),
    "the queue": (("SELECT queued_us, no",), "runs USING INDEX runs_queue (namespace=? AND task=? AND queued_us>?)"),
    "the runs of a worker": (("SELECT no, id, epoch, task",), "runs USING INDEX runs_worker (worker=?)"),
    "the runs of a lost worker": (("SELECT no, id FROM runs",), "runs USING INDEX runs_worker (worker=?)"),
    "leases that ran out": (
        ("SELECT no FROM workers",),
        "workers USING COVERING INDEX workers_lease (lease_until_us<?)",
    ),
    "a worker's entry of before": (
        ("SELECT offset FROM entries INDEXED",),
        "entries USING COVERING INDEX entries_key (run=? AND stream=? AND key=?)",
    ),
    "a log for a worker": (
        ("SELECT offset, kind, at_us, body, streams.id, seq FROM entries",),
        "entries USING PRIMARY KEY (run=? AND offset>?)",
    ),
    "what is unapplied": (("SELECT DISTINCT kind",), "entries USING PRIMARY KEY (run=? AND offset>?)"),
    "timers of suspended runs": (
        ("SELECT DISTINCT run, runs.id",),
        "operation_timers USING COVERING INDEX operation_timers_due (due_us<?)",
    ),
    "the newest output": (("SELECT offset, at_us, bytes_through",), "outputs USING PRIMARY KEY (run=?)"),
    "an output stream": (
        ("SELECT no, last_seq FROM",),
        "output_streams USING INDEX output_streams_id (run=? AND id=?)",
    ),
    "a writer": (
        ("SELECT epoch, attempt, places",),
        "output_writers USING PRIMARY KEY (run=? AND generation=? AND operation=?)",
    ),
    "the writer of a step that ended": (
        ("SELECT id, runs.generation",),
        "output_writers USING PRIMARY KEY (run=? AND generation=? AND operation=?)",
    ),
    "the outputs of all streams": (("SELECT output_streams.id",), "outputs USING PRIMARY KEY (run=? AND offset>?)"),
    "the outputs of one stream": (
        ("SELECT ?, seq, offset, at_us, body FROM outputs",),
        "outputs USING INDEX outputs_seq (run=? AND stream=? AND seq>?)",
    ),
    "outputs to trim": (("DELETE FROM outputs",), "outputs USING PRIMARY KEY (run=? AND offset<?)"),
    "an output's keys": (
        ("SELECT key, seq", "FROM outputs"),
        "outputs USING INDEX outputs_key (run=? AND stream=? AND key=?)",
    ),
    "failures to drop": (
        ("DELETE FROM handler_failures", "OFFSET"),
        "handler_failures USING COVERING INDEX handler_failures_newest (run=?)",
    ),
}


@pytest.mark.parametrize(("parts", "step"), HOT.values(), ids=HOT)
async def test_a_hot_statement_uses_the_intended_index(plans: Plans, parts: tuple[str, ...], step: str) -> None:
    steps = steps_of(plans, *parts)
    assert f"SEARCH {step}" in steps
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps


async def test_what_earlier_generations_left_unread_is_found_by_stream(plans: Plans) -> None:
    steps = steps_of(plans, "SELECT offset, kind, at_us, body, streams.id, seq FROM streams")
    assert "SEARCH entries USING INDEX entries_seq (run=? AND stream=? AND seq>?)" in steps


async def test_lists_take_the_newest_of_each_state_from_an_index(plans: Plans) -> None:
    lists = {sql: steps for sql, steps in plans.items() if "FROM runs WHERE no IN" in sql}
    assert len(lists) == 4
    for sql, steps in lists.items():
        index = "runs_task (namespace=? AND task=? AND" if "task = :task" in sql else "runs_state (namespace=? AND"
        searches = [step for step in steps if step.startswith("SEARCH runs USING INDEX")]
        assert len(searches) == sql.count("AND state =")
        assert all(step == f"SEARCH runs USING INDEX {index} state=? AND rowid<?)" for step in searches)
        assert not any("TEMP B-TREE" in step for step in steps)


async def test_a_keyed_append_costs_the_same_on_a_long_log(tmp_path: Any) -> None:
    """Counted in steps of SQLite's virtual machine, which are the same on every machine."""
    store = await SqliteEngine(tmp_path).open()
    await create(store)

    async def steps(call: Callable[[], Awaitable[object]]) -> int:
        count = 0

        def progress() -> bool:
            nonlocal count
            count += 1
            return False

        store._writer.set_progress_handler(progress, 10)
        await call()
        store._writer.set_progress_handler(None)
        return count

    await append(store, draft(key="first"))
    short_log = await steps(lambda: append(store, draft(key="a")))
    for _ in range(3):
        await fill_more(store, 1_000)
    long_log = await steps(lambda: append(store, draft(key="b")))
    assert long_log <= short_log + 5
    ending = await steps(lambda: store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US))
    assert ending < 200
    await store.close()


async def fill_more(store: SqliteStore, count: int) -> None:
    look = (await store.get_run(NAMESPACE, "run")).last_offset
    await append(store, *(draft(b"p", key=f"{look}-{number}") for number in range(count)))
