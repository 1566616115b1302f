"""Access tokens: those that were revoked, and how often those with a number of uses were used."""

from collections.abc import Collection, Mapping

from midstream_server.domain.access_token import Uses
from midstream_server.store.credentials import Revocations
from midstream_server.store.postgres.transaction import Source, Transaction

TokenName = tuple[str, str]
"""Namespace and token id."""

_FORGOTTEN_AT_ONCE = 10
"""Each write removes some of what has become useless, so that the tables stay as small as what is in force."""


async def revoke_token(tx: Transaction, namespace: str, token_id: str, *, forget_us: int, now_us: int) -> None:
    # Held until the commit, so that changes can be seen in the order of their numbers only.
    await tx.execute("LOCK TABLE revoked_tokens IN SHARE ROW EXCLUSIVE MODE")
    await _forget(tx, "revoked_tokens", now_us)
    await tx.execute(
        "INSERT INTO revoked_tokens (namespace, token, forget_us, change) "
        "VALUES ($1, $2, $3, nextval('revoked_tokens_changes')) "
        "ON CONFLICT (namespace, token) DO UPDATE SET forget_us = greatest(revoked_tokens.forget_us, $3)",
        namespace,
        token_id,
        forget_us,
    )


async def token_revoked(source: Source, namespace: str, token_id: str) -> bool:
    row = await source.fetchval("SELECT 1 FROM revoked_tokens WHERE namespace = $1 AND token = $2", namespace, token_id)
    return row is not None


async def revocations(source: Source, *, after: int) -> Revocations:
    rows = await source.fetch(
        "SELECT namespace, token, change FROM revoked_tokens WHERE change > $1 ORDER BY change", after
    )
    tokens = [(namespace, token) for namespace, token, _ in rows]
    return Revocations(tokens, rows[-1]["change"] if rows else after)


async def lock_uses(tx: Transaction, counted: Collection[tuple[str, Uses]], *, now_us: int) -> dict[TokenName, int]:
    """How many records were sent with each token. Other replicas wait with theirs until the transaction ends."""
    asked = {(namespace, uses.token_id): uses.forget_us for namespace, uses in counted}
    names = sorted(asked)
    await _forget(tx, "token_uses", now_us)
    await tx.execute(
        "INSERT INTO token_uses (namespace, token, used, forget_us) "
        "SELECT namespace, token, 0, forget_us FROM unnest($1::text[], $2::text[], $3::bigint[]) "
        "AS asked (namespace, token, forget_us) ON CONFLICT DO NOTHING",
        [namespace for namespace, _ in names],
        [token for _, token in names],
        [asked[name] for name in names],
    )
    rows = await tx.fetch(
        "SELECT namespace, token, used FROM token_uses JOIN unnest($1::text[], $2::text[]) AS asked (namespace, token) "
        "USING (namespace, token) ORDER BY namespace, token FOR UPDATE OF token_uses",
        [namespace for namespace, _ in names],
        [token for _, token in names],
    )
    return {(namespace, token): used for namespace, token, used in rows}


async def store_uses(tx: Transaction, used: Mapping[TokenName, int]) -> None:
    """What `lock_uses` has given, counted on."""
    await tx.execute(
        "UPDATE token_uses SET used = counted.used "
        "FROM unnest($1::text[], $2::text[], $3::bigint[]) AS counted (namespace, token, used) "
        "WHERE token_uses.namespace = counted.namespace AND token_uses.token = counted.token",
        [namespace for namespace, _ in used],
        [token for _, token in used],
        list(used.values()),
    )


async def _forget(tx: Transaction, table: str, now_us: int) -> None:
    await tx.execute(
        f"DELETE FROM {table} WHERE (namespace, token) IN (SELECT namespace, token FROM {table} "
        "WHERE forget_us < $1 ORDER BY forget_us LIMIT $2 FOR UPDATE SKIP LOCKED)",
        now_us,
        _FORGOTTEN_AT_ONCE,
    )
