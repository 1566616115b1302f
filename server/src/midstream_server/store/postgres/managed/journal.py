"""Appends what a worker asks for, under its epoch and once for each operation."""

from collections.abc import Mapping, Sequence

from midstream_server.domain.limits import Limits
from midstream_server.domain.managed import Tenure, fenced, superseded, timer_is_early
from midstream_server.domain.run import EntryKind
from midstream_server.store.interface import Change, HandlerFailure
from midstream_server.store.managed import Appended, Early, EndedAttempt, Fenced, Progress, Superseded
from midstream_server.store.postgres.append_fact import WORKER_STREAM, append_fact
from midstream_server.store.postgres.find import find_stream
from midstream_server.store.postgres.hold import pruned_failures, record_failures
from midstream_server.store.postgres.outputs.append import attempt_ended
from midstream_server.store.postgres.text import storable
from midstream_server.store.postgres.transaction import Transaction


def shut_out(tx: Transaction, run_no: int, epoch: int) -> Fenced | None:
    """What is answered to a worker that has lost the run; None: it speaks for it."""
    run = tx.run(run_no)
    return Fenced() if run is None or fenced(Tenure(run.state, run.epoch), epoch) else None


def out_of_date(tx: Transaction, run_no: int, epoch: int, applied_offset: int) -> Fenced | Superseded | None:
    """As `shut_out`, and for what an earlier generation of the run still says."""
    answer = shut_out(tx, run_no, epoch)
    if answer is not None:
        return answer
    begun = tx.locked(run_no).generation_offset
    return Superseded() if superseded(applied_offset=applied_offset, generation_offset=begun) else None


async def append_entry(
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
    _, last_us = await tx.last_entry(run_no)
    now_us = max(now_us, last_us)
    await note(tx, run_no, progress, now_us=now_us)
    if due_us is not None and timer_is_early(due_us, now_us):
        return Early(now_us)
    before: int | None = await tx.fetchval(
        "SELECT log_offset FROM entries WHERE run = $1 AND stream = $2 AND key = $3", run_no, WORKER_STREAM, key
    )
    if before is not None:
        return Appended(before)
    await append_fact(tx, run_no, kind, body=body, key=key, now_us=now_us)
    if ended is not None:
        await attempt_ended(tx, run_no, epoch, ended, limits=limits, now_us=now_us)
    tx.changes.add(Change(run_no, None))
    return Appended((await tx.last_entry(run_no))[0])


async def note_progress(
    tx: Transaction, run_no: int, epoch: int, progress: Progress, *, now_us: int
) -> Appended | Fenced | Superseded:
    answer = out_of_date(tx, run_no, epoch, progress.applied_offset)
    if answer is not None:
        return answer
    await note(tx, run_no, progress, now_us=now_us)
    return Appended((await tx.last_entry(run_no))[0])


async def note(tx: Transaction, run_no: int, progress: Progress, *, now_us: int) -> None:
    """Records handler failures and moves cursors forward."""
    for stream_id, failures in _by_stream(progress.failures).items():
        stream = await find_stream(tx, run_no, stream_id)
        if stream is not None:
            # A replay fails as the first execution did. Where old failures were pruned, the cursor tells what is known.
            if await pruned_failures(tx, run_no):
                failures = [failure for failure in failures if failure.seq > stream.cursor]
            await record_failures(tx, run_no, stream.no, failures, now_us)
            tx.changes.add(Change(run_no, stream_id))
    for stream_id, cursor in progress.consumed:
        await tx.execute(
            "UPDATE streams SET cursor = entries.seq, cursor_bytes = entries.bytes_through FROM entries "
            "WHERE streams.run = $1 AND streams.id = $2 AND streams.cursor < $3 "
            "AND entries.run = $1 AND entries.stream = streams.no AND entries.seq = $3",
            run_no,
            storable(stream_id),
            cursor,
        )
        tx.changes.add(Change(run_no, stream_id))


def _by_stream(failures: Sequence[tuple[str, HandlerFailure]]) -> Mapping[str, list[HandlerFailure]]:
    by_stream: dict[str, list[HandlerFailure]] = {}
    for stream_id, failure in failures:
        by_stream.setdefault(stream_id, []).append(failure)
    return by_stream
