"""Stores records on a stream of a run."""

from collections.abc import Sequence

import apsw

from midstream_server.domain.accept import Accepted, Allowance, Earlier, Placed, accept, flaw_of
from midstream_server.domain.access_token import Uses
from midstream_server.domain.credential_errors import token_used_up
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Draft
from midstream_server.domain.run import EntryKind, State, check_takes_records
from midstream_server.store.interface import Change
from midstream_server.store.managed import Seats
from midstream_server.store.sqlite.credentials import tokens
from midstream_server.store.sqlite.drop import drop_oldest
from midstream_server.store.sqlite.find import find_run, find_stream, head_of, make_stream
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.claim import make_runnable
from midstream_server.store.sqlite.managed.wake import fire_operation_timers


def append(
    tx: Transaction,
    namespace: str,
    run_id: str,
    stream_id: str,
    drafts: Sequence[Draft],
    *,
    limits: Limits,
    seats: Seats,
    now_us: int,
    uses: Uses | None = None,
    policy: Policy = UNDECLARED,
) -> list[Accepted | Refused]:
    """Wakes the run, in the same transaction, where it is suspended and listens to the stream."""
    run = find_run(tx, namespace, run_id)
    finished = check_takes_records(run_id, run.state)
    stream = find_stream(tx, run.no, stream_id)
    allowance = None if uses is None else _allowance(tx, namespace, uses)
    if stream is None:
        if finished is not None:
            return [finished] * len(drafts)
        if allowance is not None and allowance.records <= 0:
            return [allowance.used_up] * len(drafts)
        flaws = [flaw for draft in drafts if (flaw := flaw_of(draft, stream_id, policy)) is not None]
        if len(flaws) == len(drafts):
            return list(flaws)
        stream = make_stream(tx, run.no, stream_id, max_streams=limits.max_streams_per_run)
    suspended = run.state is State.SUSPENDED
    woken = suspended and fire_operation_timers(tx, run.no, now_us=now_us)
    head = head_of(tx, run.no, stream)
    keys = tuple(draft.key for draft in drafts if draft.key is not None)
    earlier = {}
    if keys and head.seq and min(keys) <= newest_key(tx, run.no, stream.no):
        earlier = earlier_records(tx, run.no, stream.no, keys)
    verdict = accept(
        drafts,
        stream_id=stream_id,
        head=head,
        earlier=earlier,
        finished=finished,
        limits=limits,
        policy=policy,
        now_us=now_us,
        allowance=allowance,
    )
    if verdict.placed:
        if uses is not None:
            tokens.use(tx, namespace, uses, len(verdict.placed), now_us=now_us)
        tx.first_appended.setdefault(run.no, head.offset + 1)
        _insert(tx, run.no, stream.no, verdict.at_us, verdict.placed)
        if verdict.overflow is not None:
            verdict.tell_dropped(drop_oldest(tx, run.no, stream.no, stream_id, verdict.overflow, at_us=verdict.at_us))
        tx.changes.add(Change(run.no, stream_id))
    if woken or (suspended and stream.listening_epoch == run.epoch and verdict.placed):
        make_runnable(tx, seats, run.no, now_us=now_us)
    return verdict.outcomes


def _allowance(tx: Transaction, namespace: str, uses: Uses) -> Allowance:
    left = uses.max_uses - tokens.used(tx, namespace, uses)
    return Allowance(left, token_used_up(uses.token_id, uses.max_uses))


def newest_key(tx: Transaction, run_no: int, stream_no: int) -> str:
    """The greatest key of a stream. Clients' keys grow with time, so a new batch's are mostly beyond it."""
    key: str | None = tx.execute(
        "SELECT max(key) FROM entries INDEXED BY entries_key WHERE run = ? AND stream = ? AND key IS NOT NULL",
        (run_no, stream_no),
    ).get
    return key or ""


def earlier_records(tx: Transaction, run_no: int, stream_no: int, keys: tuple[str, ...]) -> dict[str, Earlier]:
    """The stored records of a stream that have one of the keys."""
    # Left to itself, the planner walks the whole log: it takes a run for ten entries.
    rows = tx.execute(
        "SELECT key, seq, offset, at_us, substr(body, 1, payload_length) FROM entries INDEXED BY entries_key "
        "WHERE run = ? AND stream = ? AND key IN (SELECT value FROM carray(?))",
        (run_no, stream_no, apsw.carray(keys)),
    )
    return {key: Earlier(seq, offset, at_us, payload) for key, seq, offset, at_us, payload in rows}


def _insert(tx: Transaction, run_no: int, stream_no: int, at_us: int, placed: Sequence[Placed]) -> None:
    kind = int(EntryKind.RECORD)
    tx.executemany(
        "INSERT INTO entries (run, offset, kind, at_us, body, stream, seq, key, bytes_through, payload_length) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                run_no,
                offset,
                kind,
                at_us,
                payload + envelope,
                stream_no,
                seq,
                key,
                bytes_through,
                len(payload),
            )
            for (key, payload, envelope, _, _, _), seq, offset, bytes_through in placed
        ],
    )
