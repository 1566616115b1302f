"""Suspends a run: in one transaction with the look at what it has not applied."""

from collections.abc import Collection, Mapping

from midstream_server.domain.managed import Ending, Unapplied, may_suspend
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change
from midstream_server.store.managed import Fenced, Progress, Refused, Superseded, Suspended
from midstream_server.store.postgres.managed.assignment import end_assignment
from midstream_server.store.postgres.managed.journal import note, out_of_date
from midstream_server.store.postgres.transaction import RUN_COLUMNS, Transaction


async def suspend(
    tx: Transaction,
    run_no: int,
    epoch: int,
    *,
    listening: Collection[str],
    timers: Mapping[int, int],
    checkpoint: bytes,
    progress: Progress,
    now_us: int,
) -> Suspended | Refused | Fenced | Superseded:
    answer = out_of_date(tx, run_no, epoch, progress.applied_offset)
    if answer is not None:
        return answer
    _, last_us = await tx.last_entry(run_no)
    now_us = max(now_us, last_us)
    unapplied = await _unapplied(tx, run_no, progress.applied_offset)
    await note(tx, run_no, progress, now_us=now_us)
    if not may_suspend(unapplied, listening=listening, timers=timers, now_us=now_us):
        return Refused(now_us)
    row = await tx.fetchrow(
        f"UPDATE runs SET state = $2, worker = NULL, checkpoint = $3 WHERE no = $1 RETURNING {RUN_COLUMNS}",
        run_no,
        int(State.SUSPENDED),
        checkpoint,
    )
    tx.adopt(row)
    for stream_id in listening:
        await _listen(tx, run_no, stream_id, epoch)
    if timers:
        await tx.execute(
            "INSERT INTO operation_timers (run, operation, due_us) "
            "SELECT $1, * FROM unnest($2::bigint[], $3::bigint[])",
            run_no,
            list(timers.keys()),
            list(timers.values()),
        )
    await end_assignment(tx, run_no, Ending.SUSPENDED, now_us=now_us)
    tx.changes.add(Change(run_no, None))
    return Suspended()


async def _unapplied(tx: Transaction, run_no: int, applied_offset: int) -> list[Unapplied]:
    """The kinds and streams of the entries behind an offset, each once."""
    rows = await tx.fetch(
        "SELECT DISTINCT kind, streams.id FROM entries LEFT JOIN streams "
        "ON streams.run = entries.run AND streams.no = entries.stream WHERE entries.run = $1 AND log_offset > $2",
        run_no,
        applied_offset,
    )
    return [Unapplied(EntryKind(kind), stream_id) for kind, stream_id in rows]


async def _listen(tx: Transaction, run_no: int, stream_id: str, epoch: int) -> None:
    """A stream that a task waits for need not have had a record; the limit on streams is for senders."""
    await tx.execute(
        "INSERT INTO streams (run, no, id, listening_epoch) "
        "SELECT $1, coalesce(max(no), 0) + 1, $2, $3 FROM streams WHERE run = $1 "
        "ON CONFLICT (run, id) DO UPDATE SET listening_epoch = $3",
        run_no,
        stream_id,
        epoch,
    )
