"""Creates, reads and ends runs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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
from midstream_server.store.postgres.append import AppendCall, append
from midstream_server.store.postgres.append_fact import append_fact
from midstream_server.store.postgres.connections import Connection
from midstream_server.store.postgres.find import find_run
from midstream_server.store.postgres.managed.claim import make_runnable
from midstream_server.store.postgres.outputs import trim
from midstream_server.store.postgres.outputs.read import output_streams
from midstream_server.store.postgres.text import storable
from midstream_server.store.postgres.timers import set_timer
from midstream_server.store.postgres.transaction import RUN_COLUMNS, RunRow, Source, Transaction

SHOWN_FAILURES = 20
_NO_BOUND = 2**63 - 1
_COLUMNS = (
    "runs.no, runs.id, task, kind, state, spec, outcome, created_us, started_us, finished_us, deadline_us, cancel_us, "
    "delete_us, handler_failure_count, (SELECT max(log_offset) FROM entries WHERE run = runs.no)"
)


async def create(
    tx: Transaction, new: NewRun, *, limits: Limits, periods: Periods, seats: Seats, now_us: int
) -> tuple[Run, bool]:
    found = tx.run_named(new.namespace, new.run_id)
    if found is None:
        run_no = await _insert(tx, new, periods, now_us)
        await _append_first_records(tx, new, limits, seats, now_us)
        tx.changes.add(Change(run_no, None))
        if new.kind is Kind.MANAGED:
            await make_runnable(tx, seats, run_no, now_us=now_us)
    else:
        run_no = found.no
        digest = await tx.fetchval("SELECT digest FROM runs WHERE no = $1", run_no)
        _check_same(new, found, digest)
    if new.kind is Kind.ATTACHED:
        await set_timer(tx, run_no, TimerKind.UNHELD, now_us + periods.unheld_expiry_us)
    return await read_run(tx, new.namespace, new.run_id), found is None


async def _insert(tx: Transaction, new: NewRun, periods: Periods, now_us: int) -> int:
    """Raises asyncpg's UniqueViolationError where another replica was first: then the run is found."""
    if not new.task:
        raise errors.field_invalid("spec.task", "is required where the run is new")
    state, started_us = (State.RUNNING, now_us) if new.kind is Kind.ATTACHED else (State.QUEUED, None)
    deadline_us = None if new.max_duration_us is None else now_us + new.max_duration_us
    row = await tx.fetchrow(
        "INSERT INTO runs (namespace, id, task, kind, state, spec, digest, created_us, started_us, deadline_us) "
        f"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING {RUN_COLUMNS}",
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
    )
    run = tx.adopt(row)
    await append_fact(tx, run.no, EntryKind.CREATED, body=new.spec, now_us=now_us)
    if deadline_us is not None:
        await set_timer(tx, run.no, TimerKind.DEADLINE, deadline_us)
    return run.no


class FirstRecordRefused(Exception):
    """A first record does not fit. Undoes the whole transaction, the run included."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


async def _append_first_records(tx: Transaction, new: NewRun, limits: Limits, seats: Seats, now_us: int) -> None:
    for stream_id, draft in new.first_records:
        call = AppendCall(
            namespace=new.namespace,
            run_id=new.run_id,
            stream_id=stream_id,
            drafts=[draft],
            limits=limits,
            seats=seats,
            now_us=now_us,
            policy=new.policies.get(stream_id, UNDECLARED),
        )
        try:
            (outcome,) = await append(tx, call)
        except Refused as refusal:
            raise FirstRecordRefused(refusal) from None
        if isinstance(outcome, Refused):
            raise FirstRecordRefused(outcome)


def _check_same(new: NewRun, run: RunRow, digest: bytes) -> None:
    if new.kind is Kind.ATTACHED:
        check_consumable(new.run_id, run.kind, run.state)
    elif run.kind is not new.kind:
        raise errors.run_id_reused(new.run_id, "kind")
    if new.task and run.task != new.task:
        raise errors.run_id_reused(new.run_id, "task")
    if new.compare_content and digest != new.digest:
        raise errors.run_id_reused(new.run_id, "content")


async def read_run(connection: Source, namespace: str, run_id: str) -> Run:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM runs WHERE namespace = $1 AND runs.id = $2", namespace, storable(run_id)
    )
    if row is None:
        raise errors.run_not_found(run_id)
    failures: list[Any] = []
    if row["handler_failure_count"]:
        failures = await connection.fetch(
            "SELECT streams.id, at_us, body FROM handler_failures JOIN streams ON streams.run = handler_failures.run "
            "AND streams.no = handler_failures.stream WHERE handler_failures.run = $1 "
            "ORDER BY at_us DESC, seq DESC LIMIT $2",
            row["no"],
            SHOWN_FAILURES,
        )
    streams = await _streams(connection, [row["no"]])
    run = _run(row, streams.get(row["no"], ()), [tuple(failure) for failure in reversed(failures)])
    return replace(run, outputs=await output_streams(connection, row["no"]))


async def list_runs(
    connection: Connection,
    namespace: str,
    *,
    task: str | None,
    states: Sequence[State],
    before_no: int | None,
    limit: int,
) -> list[Run]:
    # One state at a time, so that an index has its newest runs in order and nothing else is looked at.
    newest = " UNION ALL ".join(
        "(SELECT no FROM runs WHERE namespace = $1 AND id IS NOT NULL "
        f"{'' if task is None else 'AND task = $4 '}AND state = {int(state)} AND no < $2 ORDER BY no DESC LIMIT $3)"
        for state in (set(states) or State)
    )
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM runs WHERE no IN ({newest}) ORDER BY no DESC LIMIT $3",
        namespace,
        _NO_BOUND if before_no is None else before_no,
        limit,
        *(() if task is None else (storable(task),)),
    )
    streams = await _streams(connection, [row["no"] for row in rows])
    return [_run(row, streams.get(row["no"], ()), ()) for row in rows]


async def _streams(connection: Source, run_numbers: Sequence[int]) -> dict[int, tuple[StreamStatus, ...]]:
    rows = await connection.fetch(
        "SELECT streams.run, id, coalesce(newest.seq, 0), cursor, coalesce(newest.bytes_through, 0) - cursor_bytes "
        "FROM streams LEFT JOIN LATERAL (SELECT seq, bytes_through FROM entries WHERE entries.run = streams.run "
        "AND entries.stream = streams.no AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1) AS newest ON true "
        "WHERE streams.run = ANY ($1) ORDER BY id",
        run_numbers,
    )
    streams: dict[int, tuple[StreamStatus, ...]] = {}
    for run_no, *status in rows:
        streams[run_no] = (*streams.get(run_no, ()), StreamStatus(*status))
    return streams


def _run(row: Any, streams: tuple[StreamStatus, ...], failures: Sequence[Any]) -> Run:
    (no, run_id, task, kind, state, spec, outcome, created, started, finished, deadline, cancel, delete) = row[:13]
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
        streams=streams,
        handler_failures=tuple(failures),
    )


async def finish(
    tx: Transaction, namespace: str, run_id: str, state: State, outcome: bytes, *, periods: Periods, now_us: int
) -> Run:
    run = find_run(tx, namespace, run_id)
    if run.kind is Kind.MANAGED:
        raise errors.run_managed(run_id)
    if not run.state.final:
        await end(tx, run.no, state, outcome, periods=periods, now_us=now_us)
    elif not await _ended_so(tx, run, state, outcome):
        raise errors.run_finished(run_id, run.state.name)
    return await read_run(tx, namespace, run_id)


async def _ended_so(tx: Transaction, run: RunRow, state: State, outcome: bytes) -> bool:
    stored: bytes | None = await tx.fetchval("SELECT outcome FROM runs WHERE no = $1", run.no)
    # A run that was cancelled for it has no outcome of its own; its process may still say that it was cancelled.
    return run.state is state and (stored == outcome or state is State.CANCELLED)


async def end(
    tx: Transaction, run_no: int, state: State, outcome: bytes | None, *, periods: Periods, now_us: int
) -> None:
    """Puts a run into a final state; from then on only its retention runs."""
    at_us = await append_fact(tx, run_no, EntryKind.ENDED, body=facts.ended(state), now_us=now_us)
    delete_us = at_us + periods.retention_us
    row = await tx.fetchrow(
        "WITH disarmed AS (DELETE FROM operation_timers WHERE run = $1), "
        "stopped AS (DELETE FROM timers WHERE run = $1 AND kind <> $6), "
        "kept AS (INSERT INTO timers (run, kind, due_us) VALUES ($1, $6, $5) "
        "ON CONFLICT (run, kind) DO UPDATE SET due_us = excluded.due_us), "
        "left_by_worker AS (UPDATE assignments SET ended_us = $4, ending = $7 WHERE run = $1 AND ended_us IS NULL "
        "AND epoch = (SELECT max(epoch) FROM assignments WHERE run = $1)) "
        "UPDATE runs SET state = $2, outcome = $3, finished_us = $4, delete_us = $5, queued_us = NULL, worker = NULL "
        f"WHERE no = $1 RETURNING {RUN_COLUMNS}",
        run_no,
        int(state),
        outcome,
        at_us,
        delete_us,
        int(TimerKind.RETENTION),
        int(Ending.FINISHED),
    )
    tx.adopt(row)
    await trim.run_ended(tx, run_no, periods, at_us=at_us)
    tx.changes.add(Change(run_no, None))
