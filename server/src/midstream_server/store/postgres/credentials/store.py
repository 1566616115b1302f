"""The store's side for credentials."""

from midstream_server.domain.api_key import ApiKey
from midstream_server.store.credentials import KeyChanges, Revocations
from midstream_server.store.postgres.credentials import keys, tokens
from midstream_server.store.postgres.group_commit import GroupCommit
from midstream_server.store.postgres.reader import Reader
from midstream_server.store.postgres.transaction import Transaction


class PostgresCredentialStore:
    """Implements `CredentialStore`; see there."""

    def __init__(self, group: GroupCommit, reader: Reader) -> None:
        self._group = group
        self._read = reader

    async def add_key(self, key: ApiKey) -> None:
        await self._group.submit(lambda tx: keys.add_key(tx, key), alone=True)

    async def revoke_key(self, key_id: str, *, now_us: int) -> bool:
        return await self._group.submit(lambda tx: keys.revoke_key(tx, key_id, now_us=now_us), alone=True)

    async def key_changes(self, *, after: int) -> KeyChanges:
        return await self._read(lambda connection: keys.key_changes(connection, after=after))

    async def revoke_token(self, namespace: str, token_id: str, *, forget_us: int, now_us: int) -> None:
        await self._group.submit(
            lambda tx: tokens.revoke_token(tx, namespace, token_id, forget_us=forget_us, now_us=now_us), alone=True
        )

    async def token_revoked(self, namespace: str, token_id: str) -> bool:
        return await self._read(lambda connection: tokens.token_revoked(connection, namespace, token_id))

    async def revocations(self, *, after: int) -> Revocations:
        return await self._read(lambda connection: tokens.revocations(connection, after=after))

    async def server_seed(self, proposed: bytes) -> bytes:
        async def first(tx: Transaction) -> bytes:
            await tx.execute("INSERT INTO server_seed (no, seed) VALUES (1, $1) ON CONFLICT DO NOTHING", proposed)
            seed: bytes = await tx.fetchval("SELECT seed FROM server_seed WHERE no = 1")
            return seed

        return await self._group.submit(first, alone=True)
