"""Appends what a worker asks for, under its epoch and once for each operation."""

from collections.abc import Mapping, Sequence

from midstream_server.domain.limits import Limits
from midstream_server.domain.managed import Tenure, fenced, superseded, timer_is_early
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change, HandlerFailure
from midstream_server.store.managed import Appended, Early, EndedAttempt, Fenced, Progress, Superseded
from midstream_server.store.sqlite.append_fact import WORKER_STREAM, append_fact
from midstream_server.store.sqlite.find import find_stream, last_entry
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.hold import pruned_failures, record_failures
from midstream_server.store.sqlite.outputs.append import attempt_ended


def shut_out(tx: Transaction, run_no: int, epoch: int) -> Fenced | None:
    """What is answered to a worker that has lost the run; None: it speaks for it."""
    row = tx.execute("SELECT state, epoch FROM runs WHERE no = ? AND id IS NOT NULL", (run_no,)).fetchone()
    return Fenced() if row is None or fenced(Tenure(State(row[0]), row[1]), epoch) else None


def out_of_date(tx: Transaction, run_no: int, epoch: int, applied_offset: int) -> Fenced | Superseded | None:
    """As `shut_out`, and for what an earlier generation of the run still says."""
    answer = shut_out(tx, run_no, epoch)
    if answer is not None:
        return answer
    begun: int = tx.execute("SELECT generation_offset FROM runs WHERE no = ?", (run_no,)).get
    return Superseded() if superseded(applied_offset=applied_offset, generation_offset=begun) else None


def append_entry(
    tx: Transaction,
    run_no: int,
    epoch: int,
    kind: EntryKind,
    *,
    key: str,
    body: bytes,
    due_us: int | None,
    progress: Progress,
    ended: EndedAttempt | None = None,
    limits: Limits,
    now_us: int,
) -> Appended | Fenced | Superseded | Early:
    answer = out_of_date(tx, run_no, epoch, progress.applied_offset)
    if answer is not None:
        return answer
    _, last_us = last_entry(tx, run_no)
    now_us = max(now_us, last_us)
    note(tx, run_no, progress, now_us=now_us)
    if due_us is not None and timer_is_early(due_us, now_us):
        return Early(now_us)
    before: int | None = tx.execute(
        "SELECT offset FROM entries INDEXED BY entries_key WHERE run = ? AND stream = ? AND key = ?",
        (run_no, WORKER_STREAM, key),
    ).get
    if before is not None:
        return Appended(before)
    append_fact(tx, run_no, kind, body=body, key=key, now_us=now_us)
    if ended is not None:
        attempt_ended(tx, run_no, epoch, ended, limits=limits, now_us=now_us)
    tx.changes.add(Change(run_no, None))
    return Appended(last_entry(tx, run_no)[0])


def note_progress(
    tx: Transaction, run_no: int, epoch: int, progress: Progress, *, now_us: int
) -> Appended | Fenced | Superseded:
    answer = out_of_date(tx, run_no, epoch, progress.applied_offset)
    if answer is not None:
        return answer
    note(tx, run_no, progress, now_us=now_us)
    return Appended(last_entry(tx, run_no)[0])


def note(tx: Transaction, run_no: int, progress: Progress, *, now_us: int) -> None:
    """Records handler failures and moves cursors forward."""
    for stream_id, failures in _by_stream(progress.failures).items():
        stream = find_stream(tx, run_no, stream_id)
        if stream is not None:
            # A replay fails as the first execution did. Where old failures were pruned, the cursor tells what is known.
            if pruned_failures(tx, run_no):
                failures = [failure for failure in failures if failure.seq > stream.cursor]
            record_failures(tx, run_no, stream.no, failures, now_us)
            tx.changes.add(Change(run_no, stream_id))
    for stream_id, cursor in progress.consumed:
        tx.execute(
            "UPDATE streams SET cursor = ?1, cursor_bytes = (SELECT bytes_through FROM entries "
            "WHERE run = ?2 AND stream = streams.no AND seq = ?1) WHERE run = ?2 AND id = ?3 AND cursor < ?1 "
            "AND EXISTS (SELECT 1 FROM entries WHERE run = ?2 AND stream = streams.no AND seq = ?1)",
            (cursor, run_no, stream_id),
        )
        tx.changes.add(Change(run_no, stream_id))


def _by_stream(failures: Sequence[tuple[str, HandlerFailure]]) -> Mapping[str, list[HandlerFailure]]:
    by_stream: dict[str, list[HandlerFailure]] = {}
    for stream_id, failure in failures:
        by_stream.setdefault(stream_id, []).append(failure)
    return by_stream
