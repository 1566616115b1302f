"""The store's side for schemas."""

from collections.abc import Sequence

from midstream_server.store.postgres.group_commit import GroupCommit
from midstream_server.store.postgres.reader import Reader
from midstream_server.store.postgres.text import storable
from midstream_server.store.postgres.transaction import Transaction
from midstream_server.store.schemas import NewSchema, StoredSchema

_COLUMNS = "stream, version, digest, body, at_us"
_IS_NEWEST = (
    "version = (SELECT max(version) FROM schemas AS all_of_it "
    "WHERE all_of_it.namespace = schemas.namespace AND all_of_it.stream = schemas.stream)"
)


class PostgresSchemaStore:
    """Implements `SchemaStore`; see there."""

    def __init__(self, group: GroupCommit, reader: Reader) -> None:
        self._group = group
        self._read = reader

    async def newest(self, namespace: str) -> list[StoredSchema]:
        return await self._schemas(f"namespace = $1 AND {_IS_NEWEST} ORDER BY stream", namespace)

    async def get(self, namespace: str, stream_id: str, version: int | None) -> StoredSchema | None:
        where = "namespace = $1 AND stream = $2"
        if version is None:
            found = await self._schemas(f"{where} ORDER BY version DESC LIMIT 1", namespace, storable(stream_id))
        else:
            found = await self._schemas(f"{where} AND version = $3", namespace, storable(stream_id), version)
        return found[0] if found else None

    async def page(
        self, namespace: str, stream_id: str | None, *, after: tuple[str, int], limit: int
    ) -> list[StoredSchema]:
        which, arguments = (_IS_NEWEST, ()) if stream_id is None else ("stream = $5", (storable(stream_id),))
        where = f"namespace = $1 AND {which} AND (stream, version) > ($2, $3) ORDER BY stream, version LIMIT $4"
        return await self._schemas(where, namespace, *after, limit, *arguments)

    async def add(self, namespace: str, new: Sequence[NewSchema], *, now_us: int) -> list[StoredSchema] | None:
        return await self._group.submit(lambda tx: _add(tx, namespace, new, now_us=now_us), alone=True)

    async def settings(self, namespace: str) -> bytes | None:
        sql = "SELECT body FROM schema_settings WHERE namespace = $1"
        body: bytes | None = await self._read(lambda connection: connection.fetchval(sql, namespace))
        return body

    async def set_settings(self, namespace: str, body: bytes) -> None:
        async def work(tx: Transaction) -> None:
            await _revise(tx, namespace)
            await tx.execute(
                "INSERT INTO schema_settings (namespace, body) VALUES ($1, $2) "
                "ON CONFLICT (namespace) DO UPDATE SET body = excluded.body",
                namespace,
                body,
            )

        await self._group.submit(work, alone=True)

    async def revision(self) -> int:
        sql = "SELECT revision FROM schema_revision"
        revision: int | None = await self._read(lambda connection: connection.fetchval(sql))
        return revision or 0

    async def _schemas(self, where: str, *arguments: str | int) -> list[StoredSchema]:
        sql = f"SELECT {_COLUMNS} FROM schemas WHERE {where}"
        rows = await self._read(lambda connection: connection.fetch(sql, *arguments))
        return [StoredSchema(*row) for row in rows]


async def _add(tx: Transaction, namespace: str, new: Sequence[NewSchema], *, now_us: int) -> list[StoredSchema] | None:
    # Held until the commit: two who register come one after the other.
    await tx.execute("LOCK TABLE schema_revision IN SHARE ROW EXCLUSIVE MODE")
    found = await tx.fetch(
        "SELECT stream, max(version) AS newest FROM schemas WHERE namespace = $1 AND stream = ANY ($2::text[]) "
        "GROUP BY stream",
        namespace,
        [each.stream_id for each in new],
    )
    newest = {row["stream"]: row["newest"] for row in found}
    if any(newest.get(each.stream_id, 0) != each.after_version for each in new):
        return None
    await _revise(tx, namespace)
    stored = [StoredSchema(each.stream_id, each.after_version + 1, each.digest, each.body, now_us) for each in new]
    await tx.executemany(
        f"INSERT INTO schemas (namespace, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)",
        [(namespace, *schema) for schema in stored],
    )
    return stored


async def _revise(tx: Transaction, namespace: str) -> None:
    tx.schemas.add(namespace)
    await tx.execute(
        "INSERT INTO schema_revision VALUES (1, 1) "
        "ON CONFLICT (no) DO UPDATE SET revision = schema_revision.revision + 1"
    )
