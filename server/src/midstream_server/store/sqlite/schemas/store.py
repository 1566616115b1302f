"""The store's side for schemas."""

from collections.abc import Callable, Sequence

import apsw

from midstream_server.store.schemas import NewSchema, StoredSchema
from midstream_server.store.sqlite.group_commit import GroupCommit, Transaction

_COLUMNS = "stream, version, digest, body, at_us"
_IS_NEWEST = (
    "version = (SELECT max(version) FROM schemas AS all_of_it "
    "WHERE all_of_it.namespace = schemas.namespace AND all_of_it.stream = schemas.stream)"
)


class SqliteSchemaStore:
    """Implements `SchemaStore`; see there."""

    def __init__(self, group: GroupCommit, read: Callable[..., apsw.Cursor]) -> None:
        self._group = group
        self._read = read

    async def newest(self, namespace: str) -> list[StoredSchema]:
        return self._schemas(f"namespace = ? AND {_IS_NEWEST} ORDER BY stream", namespace)

    async def get(self, namespace: str, stream_id: str, version: int | None) -> StoredSchema | None:
        where = "namespace = ? AND stream = ?"
        if version is None:
            found = self._schemas(f"{where} ORDER BY version DESC LIMIT 1", namespace, stream_id)
        else:
            found = self._schemas(f"{where} AND version = ?", namespace, stream_id, version)
        return found[0] if found else None

    async def page(
        self, namespace: str, stream_id: str | None, *, after: tuple[str, int], limit: int
    ) -> list[StoredSchema]:
        which, arguments = (_IS_NEWEST, ()) if stream_id is None else ("stream = ?", (stream_id,))
        where = f"namespace = ? AND {which} AND (stream, version) > (?, ?) ORDER BY stream, version LIMIT ?"
        return self._schemas(where, namespace, *arguments, *after, limit)

    async def add(self, namespace: str, new: Sequence[NewSchema], *, now_us: int) -> list[StoredSchema] | None:
        return await self._group.submit(lambda tx: _add(tx, namespace, new, now_us=now_us))

    async def settings(self, namespace: str) -> bytes | None:
        body: bytes | None = self._read("SELECT body FROM schema_settings WHERE namespace = ?", (namespace,)).get
        return body

    async def set_settings(self, namespace: str, body: bytes) -> None:
        def work(tx: Transaction) -> None:
            _revise(tx)
            tx.execute(
                "INSERT INTO schema_settings (namespace, body) VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET body = excluded.body",
                (namespace, body),
            )

        await self._group.submit(work)

    async def revision(self) -> int:
        revision: int | None = self._read("SELECT revision FROM schema_revision").get
        return revision or 0

    def _schemas(self, where: str, *arguments: str | int) -> list[StoredSchema]:
        return [StoredSchema(*row) for row in self._read(f"SELECT {_COLUMNS} FROM schemas WHERE {where}", arguments)]


def _add(tx: Transaction, namespace: str, new: Sequence[NewSchema], *, now_us: int) -> list[StoredSchema] | None:
    for each in new:
        newest: int | None = tx.execute(
            "SELECT max(version) FROM schemas WHERE namespace = ? AND stream = ?", (namespace, each.stream_id)
        ).get
        if (newest or 0) != each.after_version:
            return None
    _revise(tx)
    stored = [StoredSchema(each.stream_id, each.after_version + 1, each.digest, each.body, now_us) for each in new]
    tx.executemany(
        f"INSERT INTO schemas (namespace, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
        [(namespace, *schema) for schema in stored],
    )
    return stored


def _revise(tx: Transaction) -> None:
    tx.execute("INSERT INTO schema_revision VALUES (1, 1) ON CONFLICT DO UPDATE SET revision = revision + 1")
