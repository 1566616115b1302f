"""Which unread records make room for new ones, on a stream that is declared to drop its oldest."""

from typing import NamedTuple


class Overflow(NamedTuple):
    """The unread records that must go: from `first_seq` through the first that has reached both of the others.

    `through_bytes` is compared with a record's bytes_through, which only the store knows of earlier ones. There always
    is such a record, and it is never the newest. `offset` is the place of the entry that tells.
    """

    first_seq: int
    through_seq: int
    through_bytes: int
    offset: int


def overflow_of(
    *,
    newest_seq: int,
    newest_bytes: int,
    cursor: int,
    cursor_bytes: int,
    max_records: int,
    max_bytes: int,
    offset: int,
) -> Overflow | None:
    """None where everything behind the cursor may stay. The newest record alone must fit."""
    through_seq = max(newest_seq - max_records, cursor)
    through_bytes = max(newest_bytes - max_bytes, cursor_bytes)
    if (through_seq, through_bytes) == (cursor, cursor_bytes):
        return None
    return Overflow(cursor + 1, max(through_seq, cursor + 1), through_bytes, offset)
