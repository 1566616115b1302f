"""Access tokens: those that were revoked, and how often those with a number of uses were used."""

from collections.abc import Callable
from typing import Any

import apsw

from midstream_server.domain.access_token import Uses
from midstream_server.store.credentials import Revocations
from midstream_server.store.sqlite.group_commit import Transaction

Execute = Callable[..., apsw.Cursor]

_FORGOTTEN_AT_ONCE = 10
"""Each write removes some of what has become useless, so that the tables stay as small as what is in force."""


def revoke_token(tx: Transaction, namespace: str, token_id: str, *, forget_us: int, now_us: int) -> None:
    _forget(tx, "revoked_tokens", now_us)
    tx.execute(
        "INSERT INTO revoked_tokens (namespace, token, forget_us) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET forget_us = max(forget_us, excluded.forget_us)",
        (namespace, token_id, forget_us),
    )


def token_revoked(execute: Execute, namespace: str, token_id: str) -> bool:
    row = execute("SELECT 1 FROM revoked_tokens WHERE namespace = ? AND token = ?", (namespace, token_id)).get
    return row is not None


def revocations(execute: Execute, *, after: int) -> Revocations:
    rows: list[Any] = execute(
        "SELECT namespace, token, no FROM revoked_tokens WHERE no > ? ORDER BY no", (after,)
    ).fetchall()
    return Revocations([(namespace, token) for namespace, token, _ in rows], rows[-1][2] if rows else after)


def used(tx: Transaction, namespace: str, uses: Uses) -> int:
    """How many records were sent with the token."""
    count: int | None = tx.execute(
        "SELECT used FROM token_uses WHERE namespace = ? AND token = ?", (namespace, uses.token_id)
    ).get
    return count or 0


def use(tx: Transaction, namespace: str, uses: Uses, records: int, *, now_us: int) -> None:
    """Counts records that are accepted in the same transaction."""
    _forget(tx, "token_uses", now_us)
    tx.execute(
        "INSERT INTO token_uses (namespace, token, used, forget_us) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET used = used + excluded.used",
        (namespace, uses.token_id, records, uses.forget_us),
    )


def _forget(tx: Transaction, table: str, now_us: int) -> None:
    tx.execute(
        f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE forget_us < ? LIMIT ?)",
        (now_us, _FORGOTTEN_AT_ONCE),
    )
