"""Stores records on streams of runs: many batches in a handful of statements."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from midstream_server.domain import errors
from midstream_server.domain.accept import Accepted, Allowance, Earlier, Head, Placed, accept, flaw_of
from midstream_server.domain.access_token import Uses
from midstream_server.domain.credential_errors import token_used_up
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Draft
from midstream_server.domain.run import EntryKind, State, check_takes_records
from midstream_server.store.interface import Change
from midstream_server.store.managed import Seats
from midstream_server.store.postgres.credentials import tokens
from midstream_server.store.postgres.drop import Drop, End, last_dropped, store_drops
from midstream_server.store.postgres.find import make_stream
from midstream_server.store.postgres.managed.claim import make_runnable
from midstream_server.store.postgres.managed.wake import fire_operation_timers
from midstream_server.store.postgres.transaction import RunRow, Transaction

Outcomes = list[Accepted | Refused]
StreamName = tuple[int, str]
"""A run's number and a stream's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendCall:
    """One batch for one stream."""

    namespace: str
    run_id: str
    stream_id: str
    drafts: Sequence[Draft]
    limits: Limits
    seats: Seats
    now_us: int
    uses: Uses | None = None
    policy: Policy = UNDECLARED


@dataclass(slots=True)
class _Stream:
    """How far a stream has come. `earlier` holds the records that have a key of some draft.

    `ends` has the last stored record, and those that this transaction is going to store.
    """

    no: int
    cursor: int = 0
    cursor_bytes: int = 0
    seq: int = 0
    bytes_through: int = 0
    newest_key: str = ""
    earlier: dict[str, Earlier] = field(default_factory=dict)
    ends: list[End] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ends.append((self.seq, self.bytes_through))


async def append_all(tx: Transaction, calls: Sequence[AppendCall]) -> list[Outcomes | Refused]:
    """Wakes runs, in the same transaction, that are suspended and listen to the stream."""
    results: list[Outcomes | Refused | None] = [None] * len(calls)
    together: list[int] = []
    for index, call in enumerate(calls):
        run = tx.run_named(call.namespace, call.run_id)
        if run is None:
            results[index] = errors.run_not_found(call.run_id)
        elif run.state is not State.SUSPENDED:
            together.append(index)
    stored = await _append(tx, [calls[index] for index in together])
    for index, outcomes in zip(together, stored, strict=True):
        results[index] = outcomes
    for index, call in enumerate(calls):
        if results[index] is None:
            results[index] = await _append_and_wake(tx, call)
    return [result for result in results if result is not None]


async def append(tx: Transaction, call: AppendCall) -> Outcomes:
    """One batch. Raises Refused."""
    (outcomes,) = await append_all(tx, [call])
    if isinstance(outcomes, Refused):
        raise outcomes
    return outcomes


async def _append_and_wake(tx: Transaction, call: AppendCall) -> Outcomes | Refused:
    run = _run_of(tx, call)
    timers_due, listens = False, False
    if run.state is State.SUSPENDED:
        timers_due, listens = await _waits_for(tx, run, call.stream_id, now_us=call.now_us)
    woken = timers_due and await fire_operation_timers(tx, run.no, now_us=call.now_us)
    (outcomes,) = await _append(tx, [call])
    accepted = not isinstance(outcomes, Refused) and any(
        isinstance(each, Accepted) and not each.deduplicated for each in outcomes
    )
    if woken or (accepted and listens):
        await make_runnable(tx, call.seats, run.no, now_us=call.now_us)
    return outcomes


async def _waits_for(tx: Transaction, run: RunRow, stream_id: str, *, now_us: int) -> tuple[bool, bool]:
    """Whether a timer of the suspended run is due, and whether it listens to the stream."""
    row: Any = await tx.fetchrow(
        "SELECT EXISTS (SELECT FROM operation_timers WHERE run = $1 AND due_us <= $2), "
        "EXISTS (SELECT FROM streams WHERE run = $1 AND id = $3 AND listening_epoch = $4)",
        run.no,
        now_us,
        stream_id,
        run.epoch,
    )
    return row[0], row[1]


async def _append(tx: Transaction, calls: Sequence[AppendCall]) -> list[Outcomes | Refused]:
    """The domain decides each batch in turn; what it has placed is written at the end, in one statement."""
    if not calls:
        return []
    streams = await _find_streams(tx, {(_run_of(tx, call).no, call.stream_id) for call in calls})
    await _find_earlier(tx, calls, streams)
    counted = [(call.namespace, call.uses) for call in calls if call.uses is not None]
    used = await tokens.lock_uses(tx, counted, now_us=calls[0].now_us) if counted else {}
    results: list[Outcomes | Refused] = []
    rows: list[tuple[RunRow, _Stream, int, Placed]] = []
    drops: list[Drop] = []
    for call in calls:
        run = _run_of(tx, call)
        finished = check_takes_records(call.run_id, run.state)
        allowance = None if call.uses is None else _allowance(call.uses, used[call.namespace, call.uses.token_id])
        stream = streams.get((run.no, call.stream_id))
        if stream is None:
            if finished is not None:
                results.append([finished] * len(call.drafts))
                continue
            if allowance is not None and allowance.records <= 0:
                results.append([allowance.used_up] * len(call.drafts))
                continue
            flaws = [flaw for each in call.drafts if (flaw := flaw_of(each, call.stream_id, call.policy)) is not None]
            if len(flaws) == len(call.drafts):
                results.append(list(flaws))
                continue
            try:
                made = await make_stream(tx, run.no, call.stream_id, max_streams=call.limits.max_streams_per_run)
            except Refused as refusal:
                results.append(refusal)
                continue
            stream = streams[run.no, call.stream_id] = _Stream(made.no)
        offset, last_us = await tx.last_entry(run.no)
        verdict = accept(
            call.drafts,
            stream_id=call.stream_id,
            head=Head(offset, last_us, stream.seq, stream.bytes_through, stream.cursor, stream.cursor_bytes),
            earlier=stream.earlier,
            finished=finished,
            limits=call.limits,
            policy=call.policy,
            now_us=call.now_us,
            allowance=allowance,
        )
        results.append(verdict.outcomes)
        if call.uses is not None:
            used[call.namespace, call.uses.token_id] += len(verdict.placed)
        for placed in verdict.placed:
            draft, seq, offset, bytes_through = placed
            rows.append((run, stream, verdict.at_us, placed))
            stream.seq, stream.bytes_through = seq, bytes_through
            stream.ends.append((seq, bytes_through))
            if draft.key is not None:
                stream.earlier[draft.key] = Earlier(seq, offset, verdict.at_us, draft.payload)
        if verdict.overflow is not None:
            last = await last_dropped(tx, run.no, stream.no, verdict.overflow, stream.ends)
            stream.cursor, stream.cursor_bytes = last
            verdict.tell_dropped(last[0])
            first_seq, _, _, offset = verdict.overflow
            drops.append(Drop(run.no, stream.no, call.stream_id, first_seq, last, offset, verdict.at_us))
        if verdict.placed:
            _, _, offset, _ = verdict.placed[-1]
            tx.appended(run.no, offset, verdict.at_us)
            tx.changes.add(Change(run.no, call.stream_id))
    await _insert(tx, rows)
    await store_drops(tx, drops)
    if used:
        await tokens.store_uses(tx, used)
    return results


def _allowance(uses: Uses, used: int) -> Allowance:
    return Allowance(uses.max_uses - used, token_used_up(uses.token_id, uses.max_uses))


def _run_of(tx: Transaction, call: AppendCall) -> RunRow:
    run = tx.run_named(call.namespace, call.run_id)
    assert run is not None
    return run


async def _find_streams(tx: Transaction, names: set[StreamName]) -> dict[StreamName, _Stream]:
    rows = await tx.fetch(
        "SELECT streams.run, streams.id, streams.no, cursor, cursor_bytes, newest.seq, "
        "newest.bytes_through, (SELECT max(key) FROM entries WHERE entries.run = streams.run "
        "AND entries.stream = streams.no AND key IS NOT NULL) "
        "FROM unnest($1::bigint[], $2::text[]) AS asked (run, id) "
        "JOIN streams ON streams.run = asked.run AND streams.id = asked.id "
        "LEFT JOIN LATERAL (SELECT seq, bytes_through FROM entries WHERE entries.run = streams.run "
        "AND entries.stream = streams.no AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1) AS newest ON true",
        [run_no for run_no, _ in names],
        [stream_id for _, stream_id in names],
    )
    return {
        (run_no, stream_id): _Stream(no, cursor, cursor_bytes, seq or 0, through or 0, newest_key or "")
        for run_no, stream_id, no, cursor, cursor_bytes, seq, through, newest_key in rows
    }


async def _find_earlier(tx: Transaction, calls: Sequence[AppendCall], streams: dict[StreamName, _Stream]) -> None:
    """Finds the stored records with the drafts' keys.

    Clients' keys grow with time, so a new batch's are mostly beyond the newest one, and nothing is looked for.
    """
    asked: set[tuple[int, int, str]] = set()
    by_number = {(run_no, stream.no): stream for (run_no, _), stream in streams.items()}
    for call in calls:
        run_no = _run_of(tx, call).no
        stream = streams.get((run_no, call.stream_id))
        if stream is not None:
            asked.update(
                (run_no, stream.no, draft.key)
                for draft in call.drafts
                if draft.key is not None and draft.key <= stream.newest_key
            )
    if not asked:
        return
    rows = await tx.fetch(
        "SELECT run, stream, key, seq, log_offset, at_us, substr(body, 1, payload_length::integer) "
        "FROM entries JOIN unnest($1::bigint[], $2::bigint[], $3::text[]) AS asked (run, stream, key) "
        "USING (run, stream, key)",
        [run_no for run_no, _, _ in asked],
        [stream_no for _, stream_no, _ in asked],
        [key for _, _, key in asked],
    )
    for run_no, stream_no, key, seq, offset, at_us, payload in rows:
        by_number[run_no, stream_no].earlier[key] = Earlier(seq, offset, at_us, payload)


async def _insert(tx: Transaction, rows: Sequence[tuple[RunRow, _Stream, int, Placed]]) -> None:
    if not rows:
        return
    await tx.execute(
        "INSERT INTO entries (kind, run, stream, at_us, key, body, payload_length, seq, log_offset, bytes_through) "
        "SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::bigint[], "
        "$8::bigint[], $9::bigint[], $10::bigint[])",
        int(EntryKind.RECORD),
        [run.no for run, _, _, _ in rows],
        [stream.no for _, stream, _, _ in rows],
        [at_us for _, _, at_us, _ in rows],
        [placed[0].key for *_, placed in rows],
        [placed[0].payload + placed[0].envelope for *_, placed in rows],
        [len(placed[0].payload) for *_, placed in rows],
        [placed[1] for *_, placed in rows],
        [placed[2] for *_, placed in rows],
        [placed[3] for *_, placed in rows],
    )
