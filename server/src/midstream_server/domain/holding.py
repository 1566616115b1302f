"""Who may consume a stream of an attached run, and how far its cursor may move."""

from midstream_server.domain import errors


def next_epoch(stream_id: str, *, claimed: int, current: int) -> int:
    """The holder epoch that a claim gets: 0 asks to become the newest holder, else it must be the current one."""
    if claimed == 0:
        return current + 1
    check_holder(stream_id, claimed=claimed, current=current)
    return current


def check_holder(stream_id: str, *, claimed: int, current: int) -> None:
    """Refuses everyone but the newest holder. 0 is nobody's epoch, also while the stream has had no holder."""
    if claimed == 0:
        raise errors.field_invalid("holder_epoch", "is required: the one that Subscribe or Receive gave")
    if claimed != current:
        raise errors.fenced(stream_id, holder_epoch=claimed, current_epoch=current)


def moved_cursor(*, cursor: int, through_seq: int, delivered_seq: int) -> int:
    """The cursor after an acknowledgement: it never moves backwards, nor beyond what was delivered."""
    if through_seq > delivered_seq:
        raise errors.ack_ahead(through_seq=through_seq, delivered_seq=delivered_seq)
    return max(cursor, through_seq)
