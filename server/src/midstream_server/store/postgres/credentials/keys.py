"""API keys. The command line calls these too, on a connection of its own beside running servers."""

from midstream_server.domain.api_key import ApiKey
from midstream_server.store.credentials import KeyChanges
from midstream_server.store.postgres.transaction import Source, Transaction

# Held until the commit, so that changes can be seen in the order of their numbers only.
_LOCK = "LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE"
_NEXT_CHANGE = "(SELECT coalesce(max(change), 0) + 1 FROM api_keys)"


async def add_key(tx: Transaction, key: ApiKey) -> None:
    await tx.execute(_LOCK)
    await tx.execute(
        "INSERT INTO api_keys (id, namespace, name, digest, public_key, created_us, revoked_us, change) "
        f"VALUES ($1, $2, $3, $4, $5, $6, $7, {_NEXT_CHANGE})",
        key.key_id,
        key.namespace,
        key.name,
        key.digest,
        key.public_key,
        key.created_us,
        key.revoked_us,
    )


async def revoke_key(tx: Transaction, key_id: str, *, now_us: int) -> bool:
    await tx.execute(_LOCK)
    await tx.execute(
        f"UPDATE api_keys SET revoked_us = $1, change = {_NEXT_CHANGE} WHERE id = $2 AND revoked_us IS NULL",
        now_us,
        key_id,
    )
    return await tx.fetchval("SELECT 1 FROM api_keys WHERE id = $1", key_id) is not None


async def key_changes(source: Source, *, after: int) -> KeyChanges:
    rows = await source.fetch(
        "SELECT id, namespace, name, digest, public_key, created_us, revoked_us, change FROM api_keys "
        "WHERE change > $1 ORDER BY created_us, id",
        after,
    )
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
    return KeyChanges(keys, max((row["change"] for row in rows), default=after))
