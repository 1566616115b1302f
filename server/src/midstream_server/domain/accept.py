"""Which records of a batch are accepted, and the place each one gets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.overflow import Overflow, overflow_of
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Draft


class Accepted(NamedTuple):
    """Where a record stands. `dropped`: how many unread ones its batch has pushed out; on the batch's last record."""

    seq: int
    offset: int
    at_us: int
    deduplicated: bool = False
    dropped: int = 0


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


class Allowance(NamedTuple):
    """How many more records the sender's access token allows, and the refusal for any beyond."""

    records: int
    used_up: Refused


_NO_BOUND = 2**63

Placed = tuple[Draft, int, int, int]
"""A draft ready to be written, with its seq, its offset and its bytes_through."""


class Verdict(NamedTuple):
    """What becomes of a batch: one outcome for each draft, in order, the rows to write, and what these push out."""

    outcomes: list[Accepted | Refused]
    placed: list[Placed]
    at_us: int
    overflow: Overflow | None = None

    def tell_dropped(self, last_seq: int) -> None:
        """The receipt of the last record says how many were dropped, through `last_seq`."""
        if self.overflow is None:
            return
        _, newest_seq, _, _ = self.placed[-1]
        for index, outcome in enumerate(self.outcomes):
            if isinstance(outcome, Accepted) and outcome.seq == newest_seq and not outcome.deduplicated:
                self.outcomes[index] = outcome._replace(dropped=last_seq - self.overflow.first_seq + 1)


def accept(
    drafts: Sequence[Draft],
    *,
    stream_id: str,
    head: Head,
    earlier: Mapping[str, Earlier],
    finished: Refused | None,
    limits: Limits,
    policy: Policy = UNDECLARED,
    now_us: int,
    allowance: Allowance | None = None,
) -> Verdict:
    """Decides a batch for one stream, each draft in turn: idempotency key, end of the run, allowance, flaw, bounds.

    A stream that drops its oldest is never full; what has to go for the whole batch is decided once. `earlier` holds
    the stored records with the drafts' keys; `finished` is the refusal if the run has ended. Time never goes backwards
    along a log, whatever the clock does.
    """
    at_us = max(now_us, head.at_us)
    _, _, seq, bytes_through, cursor, cursor_bytes = head
    offset = head.offset
    max_unread = _lower(policy.max_unread_records, limits.max_unread_records)
    max_bytes = limits.max_unread_bytes
    max_payload = _lower(policy.max_payload_bytes, _NO_BOUND)
    last_seq = _NO_BOUND if policy.drop_oldest else cursor + max_unread
    last_bytes = _NO_BOUND if policy.drop_oldest else cursor_bytes + max_bytes
    outcomes: list[Accepted | Refused] = []
    placed: list[Placed] = []
    in_batch: dict[str, Placed] = {}
    for draft in drafts:
        key, _, _, size, flaw, _ = draft
        if key is not None and (key in earlier or key in in_batch):
            outcomes.append(_again(draft, earlier.get(key) or _as_earlier(in_batch[key], at_us)))
        elif finished is not None:
            outcomes.append(finished)
        elif allowance is not None and len(placed) >= allowance.records:
            outcomes.append(allowance.used_up)
        elif flaw is not None:
            outcomes.append(flaw)
        elif size > max_payload:
            outcomes.append(_too_large(stream_id, size, max_payload))
        elif seq >= last_seq:
            outcomes.append(_full(stream_id, seq - cursor, max_unread, "records"))
        elif bytes_through + size > last_bytes or size > max_bytes:
            outcomes.append(_full(stream_id, bytes_through - cursor_bytes + size, max_bytes, "bytes"))
        else:
            seq += 1
            offset += 1
            bytes_through += size
            place = (draft, seq, offset, bytes_through)
            placed.append(place)
            outcomes.append(Accepted(seq, offset, at_us))
            if key is not None:
                in_batch[key] = place
    if not (policy.drop_oldest and placed):
        return Verdict(outcomes, placed, at_us)
    overflow = overflow_of(
        newest_seq=seq,
        newest_bytes=bytes_through,
        cursor=cursor,
        cursor_bytes=cursor_bytes,
        max_records=max_unread,
        max_bytes=max_bytes,
        offset=offset,
    )
    verdict = Verdict(outcomes, placed, at_us, overflow)
    return verdict if overflow is None else _behind_the_drop(verdict)


def flaw_of(draft: Draft, stream_id: str, policy: Policy) -> Refused | None:
    """Why a record can never be stored on this stream."""
    if draft.flaw is None and policy.max_payload_bytes is not None and draft.size > policy.max_payload_bytes:
        return _too_large(stream_id, draft.size, policy.max_payload_bytes)
    return draft.flaw


def _too_large(stream_id: str, size: int, limit: int) -> Refused:
    return errors.on_stream(errors.payload_too_large(size, limit), stream_id)


def _behind_the_drop(verdict: Verdict) -> Verdict:
    """The entry that tells of the drop takes the place of the batch's last record, which moves on by one."""
    draft, seq, offset, bytes_through = verdict.placed[-1]
    outcomes = [
        each._replace(offset=offset + 1) if isinstance(each, Accepted) and each.seq == seq else each
        for each in verdict.outcomes
    ]
    return verdict._replace(outcomes=outcomes, placed=[*verdict.placed[:-1], (draft, seq, offset + 1, bytes_through)])


def _lower(declared: int | None, allowed: int) -> int:
    return allowed if declared is None else min(declared, allowed)


def _as_earlier(placed: Placed, at_us: int) -> Earlier:
    draft, seq, offset, _ = placed
    return Earlier(seq, offset, at_us, draft.payload)


def _again(draft: Draft, known: Earlier) -> Accepted | Refused:
    if known.payload not in (draft.payload, draft.sent):
        return errors.key_reused(draft.key or "", known.seq)
    return Accepted(known.seq, known.offset, known.at_us, deduplicated=True)


def _full(stream_id: str, unread: int, limit: int, unit: str) -> Refused:
    return errors.stream_full(stream_id, unread=unread, limit=limit, unit=unit)
