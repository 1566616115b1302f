"""Stores what a run appends to its output streams."""

from collections.abc import Sequence
from dataclasses import replace

from midstream_server.domain import accept as accepting
from midstream_server.domain import errors
from midstream_server.domain.accept import Accepted, Earlier
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.managed import Tenure, fenced
from midstream_server.domain.output import OutputDraft, Standing, Turn, Writer, standing
from midstream_server.domain.record import Draft
from midstream_server.domain.run import Kind, check_takes_records
from midstream_server.store.managed import EndedAttempt, Fenced
from midstream_server.store.outputs import Stored
from midstream_server.store.postgres.find import find_run
from midstream_server.store.postgres.outputs.rows import OutputRows
from midstream_server.store.postgres.outputs.writers import Writers
from midstream_server.store.postgres.transaction import Transaction

_NO_BOUND = 2**62


async def append_outputs(
    tx: Transaction, run_no: int, epoch: int, drafts: Sequence[OutputDraft], *, limits: Limits, now_us: int
) -> Stored | Fenced:
    held = _held(tx, run_no, epoch)
    if held is None:
        return Fenced()
    run_id, generation = held
    rows = await OutputRows.behind_the_last(tx, run_no, limits=limits, now_us=now_us)
    writers = Writers(tx, run_no, run_id, generation)
    refused: list[Refused] = []
    for each in drafts:
        stream_id, draft, _, _, _ = each
        writer, turn, place = each.writer, each.turn(epoch), each.place_of_writer
        stands = standing(await writers.get(writer), turn, place)
        if stands is Standing.AGAIN:
            continue
        if draft.flaw is not None:
            refused.append(draft.flaw)
            continue
        try:
            await rows.open(stream_id)
        except Refused as refusal:
            refused.append(refusal)
            continue
        if stands is Standing.SUPERSEDES:
            await writers.rewind(writer, rows)
        seq = rows.add(stream_id, draft.payload + draft.envelope)
        writers.wrote(writer, Writer(turn, place + 1), rows.number(stream_id), seq)
    await writers.write()
    await rows.write()
    return Stored(refused)


async def attempt_ended(
    tx: Transaction, run_no: int, epoch: int, ended: EndedAttempt, *, limits: Limits, now_us: int
) -> None:
    """For the worker that has the run: takes back what other attempts of the step have appended."""
    run = tx.locked(run_no)
    writers = Writers(tx, run_no, run.id, run.generation)
    known = await writers.get(ended.operation)
    if known is None:
        return
    turn = Turn(epoch, ended.attempt)
    if turn > known.turn:
        rows = await OutputRows.behind_the_last(tx, run_no, limits=limits, now_us=now_us)
        await writers.rewind(ended.operation, rows)
        writers.set(ended.operation, Writer(turn, 0))
        await writers.write()
        await rows.write()
    if ended.returned:
        await writers.forget_ranges(ended.operation)


async def append_attached(
    tx: Transaction,
    namespace: str,
    run_id: str,
    stream_id: str,
    drafts: Sequence[Draft],
    *,
    limits: Limits,
    now_us: int,
) -> list[Accepted | Refused]:
    run = find_run(tx, namespace, run_id)
    if run.kind is Kind.MANAGED:
        raise errors.output_of_managed(run_id)
    finished = check_takes_records(run_id, run.state)
    rows = await OutputRows.behind_the_last(tx, run.no, limits=limits, now_us=now_us)
    stream = await rows.find(stream_id)
    if stream is None and finished is None and any(draft.flaw is None for draft in drafts):
        stream = await rows.open(stream_id)
    stream_no, seq = (0, 0) if stream is None else (stream.no, stream.last_seq)
    offset, at_us, bytes_through = rows.head
    verdict = accepting.accept(
        drafts,
        stream_id=stream_id,
        head=accepting.Head(offset, at_us, seq, bytes_through, seq, bytes_through),
        earlier=await _earlier(tx, run.no, stream_no, drafts),
        finished=finished,
        limits=replace(limits, max_unread_records=_NO_BOUND, max_unread_bytes=_NO_BOUND),
        now_us=now_us,
    )
    for (key, payload, envelope, _, _, _), _, _, _ in verdict.placed:
        rows.add(stream_id, payload + envelope, key=key, payload_length=len(payload))
    await rows.write()
    return verdict.outcomes


def _held(tx: Transaction, run_no: int, epoch: int) -> tuple[str, int] | None:
    """Id and generation of a run that the worker has under this epoch."""
    run = tx.run(run_no)
    if run is None or fenced(Tenure(run.state, run.epoch), epoch):
        return None
    return run.id, run.generation


async def _earlier(tx: Transaction, run_no: int, stream_no: int, drafts: Sequence[Draft]) -> dict[str, Earlier]:
    """The stored records of a stream that have one of the drafts' keys."""
    keys = tuple(draft.key for draft in drafts if draft.key is not None)
    if not keys or not stream_no:
        return {}
    rows = await tx.fetch(
        "SELECT key, seq, output_offset, at_us, substr(body, 1, payload_length::integer) FROM outputs "
        "WHERE run = $1 AND stream = $2 AND key = ANY ($3)",
        run_no,
        stream_no,
        keys,
    )
    return {key: Earlier(seq, offset, at_us, payload) for key, seq, offset, at_us, payload in rows}
