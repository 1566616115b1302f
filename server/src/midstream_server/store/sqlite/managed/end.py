"""A worker lets go of a run: finished, blocked, released, or begun anew."""

import json
from typing import Any

from midstream_server.domain.limits import Periods
from midstream_server.domain.managed import AfterDeath, Deaths, Ending, end_state, one_more_death
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change
from midstream_server.store.managed import Done, Fenced, Progress, Seats, Superseded
from midstream_server.store.sqlite.append_fact import append_fact
from midstream_server.store.sqlite.find import last_entry
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.assignment import end_assignment
from midstream_server.store.sqlite.managed.claim import make_runnable
from midstream_server.store.sqlite.managed.journal import note, out_of_date, shut_out
from midstream_server.store.sqlite.runs import end


def finish_managed(
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
    note(tx, run_no, progress, now_us=now_us)
    final = final_state(tx, run_no, state)
    end(tx, run_no, final, outcome, periods=periods, now_us=now_us)
    return Done(final)


def final_state(tx: Transaction, run_no: int, state: State) -> State:
    row: Any = tx.execute("SELECT cancel_us, deadline_us FROM runs WHERE no = ?", (run_no,)).fetchall()[0]
    asked_us, deadline_us = row
    return end_state(state, asked_us=asked_us, deadline_us=deadline_us)


def block(
    tx: Transaction, seats: Seats, run_no: int, epoch: int, code_version: str, outcome: bytes, *, now_us: int
) -> Done | Fenced:
    answer = shut_out(tx, run_no, epoch)
    if answer is not None:
        return answer
    end_assignment(tx, run_no, Ending.BLOCKED, now_us=now_us)
    return _block(tx, seats, run_no, code_version, outcome, now_us=now_us)


def release(
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
    end_assignment(tx, run_no, Ending.DIED if died else Ending.RELEASED, now_us=now_us)
    if died and count_death(tx, run_no) is AfterDeath.BLOCK:
        return _block(tx, seats, run_no, code_version, crash_loop, now_us=now_us)
    make_runnable(tx, seats, run_no, now_us=now_us)
    return Done(State.QUEUED)


def count_death(tx: Transaction, run_no: int) -> AfterDeath:
    row: Any = tx.execute("SELECT deaths, deaths_offset FROM runs WHERE no = ?", (run_no,)).fetchall()[0]
    last_offset, _ = last_entry(tx, run_no)
    deaths, after = one_more_death(Deaths(*row), last_offset)
    tx.execute(
        "UPDATE runs SET deaths = ?, deaths_offset = ? WHERE no = ?", (deaths.in_a_row, deaths.at_offset, run_no)
    )
    return after


def _block(tx: Transaction, seats: Seats, run_no: int, code_version: str, outcome: bytes, *, now_us: int) -> Done:
    """Blocks the run, or queues it where a worker has code that has not refused it yet."""
    row: Any = tx.execute("SELECT namespace, task, refused_versions FROM runs WHERE no = ?", (run_no,)).fetchall()[0]
    namespace, task, known = row
    refused: list[str] = json.loads(known)
    if code_version not in refused:
        refused.append(code_version)
    tx.execute(
        "UPDATE runs SET state = ?, worker = NULL, outcome = ?, deaths = 0, refused_versions = ? WHERE no = ?",
        (int(State.BLOCKED), outcome, json.dumps(refused), run_no),
    )
    tx.changes.add(Change(run_no, None))
    if not seats.other_code(namespace, task, refused):
        return Done(State.BLOCKED)
    make_runnable(tx, seats, run_no, now_us=now_us)
    return Done(State.QUEUED)


def restart(
    tx: Transaction, run_no: int, epoch: int, *, body: bytes, progress: Progress, now_us: int
) -> Done | Fenced | Superseded:
    answer = out_of_date(tx, run_no, epoch, progress.applied_offset)
    if answer is not None:
        return answer
    note(tx, run_no, progress, now_us=now_us)
    append_fact(tx, run_no, EntryKind.RESTARTED, body=body, now_us=now_us)
    offset, _ = last_entry(tx, run_no)
    tx.execute(
        "UPDATE runs SET generation = generation + 1, generation_offset = ?, checkpoint = NULL WHERE no = ?",
        (offset, run_no),
    )
    tx.execute("UPDATE streams SET replay_cursor = cursor WHERE run = ?", (run_no,))
    tx.changes.add(Change(run_no, None))
    return Done(State.RUNNING)
