"""A worker lets go of a run: finished, blocked, released, or begun anew."""

from midstream_server.domain.limits import Periods
from midstream_server.domain.managed import AfterDeath, Deaths, Ending, end_state, one_more_death
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change
from midstream_server.store.managed import Done, Fenced, Progress, Seats, Superseded
from midstream_server.store.postgres.append_fact import append_fact
from midstream_server.store.postgres.managed import workers
from midstream_server.store.postgres.managed.assignment import end_assignment
from midstream_server.store.postgres.managed.claim import make_runnable
from midstream_server.store.postgres.managed.journal import note, out_of_date, shut_out
from midstream_server.store.postgres.runs import end
from midstream_server.store.postgres.transaction import RUN_COLUMNS, Transaction


async def finish_managed(
    tx: Transaction,
    run_no: int,
    epoch: int,
    state: State,
    outcome: bytes,
    *,
    progress: Progress,
    periods: Periods,
    now_us: int,
) -> Done | Fenced | Superseded:
    answer = out_of_date(tx, run_no, epoch, progress.applied_offset)
    if answer is not None:
        return answer
    await note(tx, run_no, progress, now_us=now_us)
    final = final_state(tx, run_no, state)
    await end(tx, run_no, final, outcome, periods=periods, now_us=now_us)
    return Done(final)


def final_state(tx: Transaction, run_no: int, state: State) -> State:
    run = tx.locked(run_no)
    return end_state(state, asked_us=run.cancel_us, deadline_us=run.deadline_us)


async def block(
    tx: Transaction, seats: Seats, run_no: int, epoch: int, code_version: str, outcome: bytes, *, now_us: int
) -> Done | Fenced:
    answer = shut_out(tx, run_no, epoch)
    if answer is not None:
        return answer
    await end_assignment(tx, run_no, Ending.BLOCKED, now_us=now_us)
    return await _block(tx, seats, run_no, code_version, outcome, now_us=now_us)


async def release(
    tx: Transaction,
    seats: Seats,
    run_no: int,
    epoch: int,
    code_version: str,
    *,
    died: bool,
    crash_loop: bytes,
    now_us: int,
) -> Done | Fenced:
    answer = shut_out(tx, run_no, epoch)
    if answer is not None:
        return answer
    await end_assignment(tx, run_no, Ending.DIED if died else Ending.RELEASED, now_us=now_us)
    if died and await count_death(tx, run_no) is AfterDeath.BLOCK:
        return await _block(tx, seats, run_no, code_version, crash_loop, now_us=now_us)
    await make_runnable(tx, seats, run_no, now_us=now_us)
    return Done(State.QUEUED)


async def count_death(tx: Transaction, run_no: int) -> AfterDeath:
    row = await tx.fetchrow("SELECT deaths, deaths_offset FROM runs WHERE no = $1", run_no)
    assert row is not None
    last_offset, _ = await tx.last_entry(run_no)
    deaths, after = one_more_death(Deaths(*row), last_offset)
    await tx.execute(
        "UPDATE runs SET deaths = $2, deaths_offset = $3 WHERE no = $1", run_no, deaths.in_a_row, deaths.at_offset
    )
    return after


async def _block(tx: Transaction, seats: Seats, run_no: int, code_version: str, outcome: bytes, *, now_us: int) -> Done:
    """Blocks the run, or queues it where a worker has code that has not refused it yet."""
    # A worker that opens now either sees the run blocked, or is seen here.
    await workers.keep_as_they_are(tx, tx.locked(run_no).namespace)
    row = await tx.fetchrow(
        "UPDATE runs SET state = $2, worker = NULL, outcome = $3, deaths = 0, refused_versions = "
        "CASE WHEN $4 = ANY (refused_versions) THEN refused_versions ELSE refused_versions || $4 END "
        f"WHERE no = $1 RETURNING {RUN_COLUMNS}",
        run_no,
        int(State.BLOCKED),
        outcome,
        code_version,
    )
    run = tx.adopt(row)
    tx.changes.add(Change(run_no, None))
    others = seats.other_code(run.namespace, run.task, run.refused_versions)
    if not others and not await workers.have_other_code(tx, run, now_us=now_us):
        return Done(State.BLOCKED)
    await make_runnable(tx, seats, run_no, now_us=now_us)
    return Done(State.QUEUED)


async def restart(
    tx: Transaction, run_no: int, epoch: int, *, body: bytes, progress: Progress, now_us: int
) -> Done | Fenced | Superseded:
    answer = out_of_date(tx, run_no, epoch, progress.applied_offset)
    if answer is not None:
        return answer
    await note(tx, run_no, progress, now_us=now_us)
    await append_fact(tx, run_no, EntryKind.RESTARTED, body=body, now_us=now_us)
    offset, _ = await tx.last_entry(run_no)
    row = await tx.fetchrow(
        "WITH replayed AS (UPDATE streams SET replay_cursor = cursor WHERE run = $1) "
        "UPDATE runs SET generation = generation + 1, generation_offset = $2, checkpoint = NULL WHERE no = $1 "
        f"RETURNING {RUN_COLUMNS}",
        run_no,
        offset,
    )
    tx.adopt(row)
    tx.changes.add(Change(run_no, None))
    return Done(State.RUNNING)
