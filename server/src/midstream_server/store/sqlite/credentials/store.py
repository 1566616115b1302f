"""The store's side for credentials."""

from collections.abc import Callable

import apsw

from midstream_server.domain.api_key import ApiKey
from midstream_server.store.credentials import KeyChanges, Revocations
from midstream_server.store.sqlite.credentials import keys, tokens
from midstream_server.store.sqlite.group_commit import GroupCommit, Transaction


class SqliteCredentialStore:
    """Implements `CredentialStore`; see there."""

    def __init__(self, group: GroupCommit, read: Callable[..., apsw.Cursor]) -> None:
        self._group = group
        self._read = read

    async def add_key(self, key: ApiKey) -> None:
        await self._group.submit(lambda tx: keys.add_key(tx.execute, key))

    async def revoke_key(self, key_id: str, *, now_us: int) -> bool:
        return await self._group.submit(lambda tx: keys.revoke_key(tx.execute, key_id, now_us=now_us))

    async def key_changes(self, *, after: int) -> KeyChanges:
        return keys.key_changes(self._read, after=after)

    async def revoke_token(self, namespace: str, token_id: str, *, forget_us: int, now_us: int) -> None:
        await self._group.submit(
            lambda tx: tokens.revoke_token(tx, namespace, token_id, forget_us=forget_us, now_us=now_us)
        )

    async def token_revoked(self, namespace: str, token_id: str) -> bool:
        return tokens.token_revoked(self._read, namespace, token_id)

    async def revocations(self, *, after: int) -> Revocations:
        return tokens.revocations(self._read, after=after)

    async def server_seed(self, proposed: bytes) -> bytes:
        def first(tx: Transaction) -> bytes:
            tx.execute("INSERT INTO server_seed (no, seed) VALUES (1, ?) ON CONFLICT DO NOTHING", (proposed,))
            seed: bytes = tx.execute("SELECT seed FROM server_seed").get
            return seed

        return await self._group.submit(first)
