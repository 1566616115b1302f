"""Suspends a run: in one transaction with the look at what it has not applied."""

from collections.abc import Collection, Mapping

from midstream_server.domain.managed import Ending, Unapplied, may_suspend
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change
from midstream_server.store.managed import Fenced, Progress, Refused, Superseded, Suspended
from midstream_server.store.sqlite.find import last_entry
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.assignment import end_assignment
from midstream_server.store.sqlite.managed.journal import note, out_of_date


def suspend(
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
    _, last_us = last_entry(tx, run_no)
    now_us = max(now_us, last_us)
    unapplied = _unapplied(tx, run_no, progress.applied_offset)
    note(tx, run_no, progress, now_us=now_us)
    if not may_suspend(unapplied, listening=listening, timers=timers, now_us=now_us):
        return Refused(now_us)
    tx.execute(
        "UPDATE runs SET state = ?, worker = NULL, checkpoint = ? WHERE no = ?",
        (int(State.SUSPENDED), checkpoint, run_no),
    )
    for stream_id in listening:
        _listen(tx, run_no, stream_id, epoch)
    for operation, due_us in timers.items():
        tx.execute(
            "INSERT INTO operation_timers (run, operation, due_us) VALUES (?, ?, ?)", (run_no, operation, due_us)
        )
    end_assignment(tx, run_no, Ending.SUSPENDED, now_us=now_us)
    tx.changes.add(Change(run_no, None))
    return Suspended()


def _unapplied(tx: Transaction, run_no: int, applied_offset: int) -> list[Unapplied]:
    """The kinds and streams of the entries behind an offset, each once."""
    rows = tx.execute(
        "SELECT DISTINCT kind, streams.id FROM entries LEFT JOIN streams "
        "ON streams.run = entries.run AND streams.no = entries.stream WHERE entries.run = ? AND offset > ?",
        (run_no, applied_offset),
    )
    return [Unapplied(EntryKind(kind), stream_id) for kind, stream_id in rows]


def _listen(tx: Transaction, run_no: int, stream_id: str, epoch: int) -> None:
    """A stream that a task waits for need not have had a record; the limit on streams is for senders."""
    number: int = tx.execute("SELECT coalesce(max(no), 0) + 1 FROM streams WHERE run = ?", (run_no,)).get
    tx.execute(
        "INSERT INTO streams (run, no, id, listening_epoch) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (run, id) DO UPDATE SET listening_epoch = ?4",
        (run_no, number, stream_id, epoch),
    )
