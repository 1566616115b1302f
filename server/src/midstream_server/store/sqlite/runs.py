"""Creates, reads and ends runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import apsw

from midstream_server.domain import errors, facts
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.managed import Ending
from midstream_server.domain.policy import UNDECLARED
from midstream_server.domain.run import (
    EntryKind,
    Kind,
    Run,
    State,
    StreamStatus,
    TimerKind,
    check_consumable,
)
from midstream_server.store.interface import Change, NewRun
from midstream_server.store.managed import Seats
from midstream_server.store.sqlite.append import append
from midstream_server.store.sqlite.append_fact import append_fact
from midstream_server.store.sqlite.find import RunRow, find_run
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.assignment import end_assignment
from midstream_server.store.sqlite.managed.claim import make_runnable
from midstream_server.store.sqlite.outputs import trim
from midstream_server.store.sqlite.outputs.read import output_streams
from midstream_server.store.sqlite.timers import clear_timer, set_timer

Execute = Callable[..., apsw.Cursor]

SHOWN_FAILURES = 20
_NO_BOUND = 2**63 - 1
_COLUMNS = (
    "no, id, task, kind, state, spec, outcome, created_us, started_us, finished_us, deadline_us, cancel_us, delete_us, "
    "handler_failure_count, (SELECT max(offset) FROM entries WHERE run = runs.no)"
)


def create(
    tx: Transaction, new: NewRun, *, limits: Limits, periods: Periods, seats: Seats, now_us: int
) -> tuple[Run, bool]:
    row = tx.execute(
        "SELECT no, kind, state, task, digest FROM runs WHERE namespace = ? AND id = ?", (new.namespace, new.run_id)
    ).fetchone()
    created = row is None
    if row is None:
        run_no = _insert(tx, new, periods, now_us)
        _append_first_records(tx, new, limits, seats, now_us)
        tx.changes.add(Change(run_no, None))
        if new.kind is Kind.MANAGED:
            make_runnable(tx, seats, run_no, now_us=now_us)
    else:
        run_no, kind, state, task, digest = row
        _check_same(new, Kind(kind), State(state), task, digest)
    if new.kind is Kind.ATTACHED:
        set_timer(tx, run_no, TimerKind.UNHELD, now_us + periods.unheld_expiry_us)
    return read_run(tx.execute, new.namespace, new.run_id), created


def _insert(tx: Transaction, new: NewRun, periods: Periods, now_us: int) -> int:
    if not new.task:
        raise errors.field_invalid("spec.task", "is required where the run is new")
    state, started_us = (State.RUNNING, now_us) if new.kind is Kind.ATTACHED else (State.QUEUED, None)
    deadline_us = None if new.max_duration_us is None else now_us + new.max_duration_us
    run_no: int = tx.execute(
        "INSERT INTO runs (namespace, id, task, kind, state, spec, digest, created_us, started_us, deadline_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no",
        (
            new.namespace,
            new.run_id,
            new.task,
            int(new.kind),
            int(state),
            new.spec,
            new.digest,
            now_us,
            started_us,
            deadline_us,
        ),
    ).get
    append_fact(tx, run_no, EntryKind.CREATED, body=new.spec, now_us=now_us)
    if deadline_us is not None:
        set_timer(tx, run_no, TimerKind.DEADLINE, deadline_us)
    return run_no


class FirstRecordRefused(Exception):
    """A first record does not fit. Undoes the whole transaction, the run included."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def _append_first_records(tx: Transaction, new: NewRun, limits: Limits, seats: Seats, now_us: int) -> None:
    for stream_id, draft in new.first_records:
        try:
            (outcome,) = append(
                tx,
                new.namespace,
                new.run_id,
                stream_id,
                [draft],
                limits=limits,
                seats=seats,
                now_us=now_us,
                policy=new.policies.get(stream_id, UNDECLARED),
            )
        except Refused as refusal:
            raise FirstRecordRefused(refusal) from None
        if isinstance(outcome, Refused):
            raise FirstRecordRefused(outcome)


def _check_same(new: NewRun, kind: Kind, state: State, task: str, digest: bytes) -> None:
    if new.kind is Kind.ATTACHED:
        check_consumable(new.run_id, kind, state)
    elif kind is not new.kind:
        raise errors.run_id_reused(new.run_id, "kind")
    if new.task and task != new.task:
        raise errors.run_id_reused(new.run_id, "task")
    if new.compare_content and digest != new.digest:
        raise errors.run_id_reused(new.run_id, "content")


def read_run(execute: Execute, namespace: str, run_id: str) -> Run:
    row = execute(f"SELECT {_COLUMNS} FROM runs WHERE namespace = ? AND id = ?", (namespace, run_id)).fetchone()
    if row is None:
        raise errors.run_not_found(run_id)
    failures: list[Any] = execute(
        "SELECT streams.id, at_us, body FROM handler_failures JOIN streams ON streams.run = handler_failures.run "
        "AND streams.no = handler_failures.stream WHERE handler_failures.run = ? "
        "ORDER BY at_us DESC, seq DESC LIMIT ?",
        (row[0], SHOWN_FAILURES),
    ).fetchall()
    return replace(_run(execute, row, tuple(reversed(failures))), outputs=output_streams(execute, row[0]))


def list_runs(
    execute: Execute, namespace: str, *, task: str | None, states: Sequence[State], before_no: int | None, limit: int
) -> list[Run]:
    # One state at a time, so that an index has its newest runs in order and nothing else is looked at.
    newest = " UNION ALL ".join(
        "SELECT * FROM (SELECT no FROM runs WHERE namespace = :namespace AND id IS NOT NULL "
        f"{'' if task is None else 'AND task = :task '}AND state = {int(state)} AND no < :before "
        "ORDER BY no DESC LIMIT :limit)"
        for state in (set(states) or State)
    )
    rows = execute(
        f"SELECT {_COLUMNS} FROM runs WHERE no IN ({newest}) ORDER BY no DESC LIMIT :limit",
        {"namespace": namespace, "task": task, "before": _NO_BOUND if before_no is None else before_no, "limit": limit},
    ).fetchall()
    return [_run(execute, row, ()) for row in rows]


def _run(execute: Execute, row: tuple[Any, ...], failures: tuple[tuple[str, int, bytes], ...]) -> Run:
    (no, run_id, task, kind, state, spec, outcome, created, started, finished, deadline, cancel, delete) = row[:13]
    streams = execute(
        "SELECT id, cursor, cursor_bytes, last.seq, last.bytes_through FROM streams LEFT JOIN entries AS last "
        "ON last.run = streams.run AND last.stream = streams.no AND last.seq = "
        "(SELECT max(seq) FROM entries WHERE run = streams.run AND stream = streams.no) "
        "WHERE streams.run = ? ORDER BY id",
        (no,),
    )
    return Run(
        no=no,
        run_id=run_id,
        task=task,
        kind=Kind(kind),
        state=State(state),
        spec=spec,
        outcome=outcome,
        created_us=created,
        started_us=started,
        finished_us=finished,
        deadline_us=deadline,
        cancel_us=cancel,
        delete_us=delete,
        handler_failure_count=row[13],
        last_offset=row[14] or 0,
        streams=tuple(
            StreamStatus(stream_id, seq or 0, cursor, (through or 0) - cursor_bytes)
            for stream_id, cursor, cursor_bytes, seq, through in streams
        ),
        handler_failures=failures,
    )


def finish(
    tx: Transaction, namespace: str, run_id: str, state: State, outcome: bytes, *, periods: Periods, now_us: int
) -> Run:
    run = find_run(tx, namespace, run_id)
    if run.kind is Kind.MANAGED:
        raise errors.run_managed(run_id)
    if not run.state.final:
        end(tx, run.no, state, outcome, periods=periods, now_us=now_us)
    elif not _ended_so(tx, run, state, outcome):
        raise errors.run_finished(run_id, run.state.name)
    return read_run(tx.execute, namespace, run_id)


def _ended_so(tx: Transaction, run: RunRow, state: State, outcome: bytes) -> bool:
    stored: bytes | None = tx.execute("SELECT outcome FROM runs WHERE no = ?", (run.no,)).get
    # A run that was cancelled for it has no outcome of its own; its process may still say that it was cancelled.
    return run.state is state and (stored == outcome or state is State.CANCELLED)


def end(tx: Transaction, run_no: int, state: State, outcome: bytes | None, *, periods: Periods, now_us: int) -> None:
    """Puts a run into a final state; from then on only its retention runs."""
    at_us = append_fact(tx, run_no, EntryKind.ENDED, body=facts.ended(state), now_us=now_us)
    delete_us = at_us + periods.retention_us
    tx.execute(
        "UPDATE runs SET state = ?, outcome = ?, finished_us = ?, delete_us = ?, queued_us = NULL, worker = NULL "
        "WHERE no = ?",
        (int(state), outcome, at_us, delete_us, run_no),
    )
    end_assignment(tx, run_no, Ending.FINISHED, now_us=at_us)
    tx.execute("DELETE FROM operation_timers WHERE run = ?", (run_no,))
    for timer in (TimerKind.DEADLINE, TimerKind.CANCEL_GRACE, TimerKind.UNHELD):
        clear_timer(tx, run_no, timer)
    set_timer(tx, run_no, TimerKind.RETENTION, delete_us)
    trim.run_ended(tx, run_no, periods, at_us=at_us)
    tx.changes.add(Change(run_no, None))
