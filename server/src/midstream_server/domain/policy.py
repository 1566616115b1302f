"""What an input stream promises, beside its type."""

from typing import NamedTuple


class Policy(NamedTuple):
    """Every limit stands under the server's own; None: that one alone counts.

    `drop_oldest`: the oldest unread records make room for a new one, which is refused otherwise. `backend_only`: access
    tokens may not send to it.
    """

    max_payload_bytes: int | None
    max_unread_records: int | None
    drop_oldest: bool
    backend_only: bool


UNDECLARED = Policy(None, None, False, False)
