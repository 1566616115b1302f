"""API keys. The command line calls these too, on a connection of its own beside a running server's."""

from collections.abc import Callable
from typing import Any

import apsw

from midstream_server.domain.api_key import ApiKey
from midstream_server.store.credentials import KeyChanges

Execute = Callable[..., apsw.Cursor]

_NEXT_CHANGE = "(SELECT coalesce(max(change), 0) + 1 FROM api_keys)"


def add_key(execute: Execute, key: ApiKey) -> None:
    execute(
        "INSERT INTO api_keys (id, namespace, name, digest, public_key, created_us, revoked_us, change) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, {_NEXT_CHANGE})",
        (key.key_id, key.namespace, key.name, key.digest, key.public_key, key.created_us, key.revoked_us),
    )


def revoke_key(execute: Execute, key_id: str, *, now_us: int) -> bool:
    execute(
        f"UPDATE api_keys SET revoked_us = ?, change = {_NEXT_CHANGE} WHERE id = ? AND revoked_us IS NULL",
        (now_us, key_id),
    )
    return execute("SELECT 1 FROM api_keys WHERE id = ?", (key_id,)).get is not None


def key_changes(execute: Execute, *, after: int) -> KeyChanges:
    rows: list[Any] = execute(
        "SELECT id, namespace, name, digest, public_key, created_us, revoked_us, change FROM api_keys "
        "WHERE change > ? ORDER BY created_us, id",
        (after,),
    ).fetchall()
    keys = [
        ApiKey(
            key_id=key_id,
            namespace=namespace,
            name=name,
            digest=digest,
            public_key=public_key,
            created_us=created_us,
            revoked_us=revoked_us,
        )
        for key_id, namespace, name, digest, public_key, created_us, revoked_us, _ in rows
    ]
    return KeyChanges(keys, max((row[-1] for row in rows), default=after))
