"""Which records of a batch are accepted, and the place each one gets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.record import Draft


class Accepted(NamedTuple):
    """Where a record stands."""

    seq: int
    offset: int
    at_us: int
    deduplicated: bool = False


class Earlier(NamedTuple):
    """A stored record that has the idempotency key of a draft."""

    seq: int
    offset: int
    at_us: int
    payload: bytes


class Head(NamedTuple):
    """How far a stream and its run's log have come.

    `bytes_through` counts the payload bytes of all the stream's records, `cursor_bytes` of the consumed ones: so what
    is unread is a subtraction.
    """

    offset: int
    at_us: int
    seq: int
    bytes_through: int
    cursor: int
    cursor_bytes: int


class Placed(NamedTuple):
    """A draft with its place, ready to be written."""

    draft: Draft
    seq: int
    offset: int
    bytes_through: int


class Verdict(NamedTuple):
    """What becomes of a batch: one outcome for each draft, in order, and the rows to write."""

    outcomes: list[Accepted | Refused]
    placed: list[Placed]
    at_us: int


def accept(
    drafts: Sequence[Draft],
    *,
    stream_id: str,
    head: Head,
    earlier: Mapping[str, Earlier],
    finished: Refused | None,
    limits: Limits,
    now_us: int,
) -> Verdict:
    """Decides a batch for one stream, each draft in turn: idempotency key, end of the run, flaw, bounds.

    `earlier` holds the stored records with the drafts' keys; `finished` is the refusal if the run has ended. Time never
    goes backwards along a log, whatever the clock does.
    """
    at_us = max(now_us, head.at_us)
    seq, offset, bytes_through = head.seq, head.offset, head.bytes_through
    outcomes: list[Accepted | Refused] = []
    placed: list[Placed] = []
    in_batch: dict[str, Earlier] = {}
    for draft in drafts:
        known = _earlier_record(draft, earlier, in_batch)
        if known is not None:
            outcomes.append(_again(draft, known))
            continue
        refusal = finished or draft.flaw
        if refusal is None:
            refusal = _full(
                stream_id, limits, unread=seq - head.cursor, unread_bytes=bytes_through - head.cursor_bytes + draft.size
            )
        if refusal is not None:
            outcomes.append(refusal)
            continue
        seq += 1
        offset += 1
        bytes_through += draft.size
        placed.append(Placed(draft, seq, offset, bytes_through))
        outcomes.append(Accepted(seq, offset, at_us))
        if draft.key is not None:
            in_batch[draft.key] = Earlier(seq, offset, at_us, draft.payload)
    return Verdict(outcomes, placed, at_us)


def _earlier_record(draft: Draft, stored: Mapping[str, Earlier], in_batch: Mapping[str, Earlier]) -> Earlier | None:
    if draft.key is None:
        return None
    return stored.get(draft.key) or in_batch.get(draft.key)


def _again(draft: Draft, known: Earlier) -> Accepted | Refused:
    if known.payload != draft.payload:
        return errors.key_reused(draft.key or "", known.seq)
    return Accepted(known.seq, known.offset, known.at_us, deduplicated=True)


def _full(stream_id: str, limits: Limits, *, unread: int, unread_bytes: int) -> Refused | None:
    if unread >= limits.max_unread_records:
        return errors.stream_full(stream_id, unread=unread, limit=limits.max_unread_records, unit="records")
    if unread_bytes > limits.max_unread_bytes:
        return errors.stream_full(stream_id, unread=unread_bytes, limit=limits.max_unread_bytes, unit="bytes")
    return None
