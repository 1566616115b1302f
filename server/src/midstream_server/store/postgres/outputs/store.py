"""What output streams need of the store on PostgreSQL."""

from collections.abc import Sequence

from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.output import OutputDraft
from midstream_server.domain.record import Draft
from midstream_server.store.interface import Page
from midstream_server.store.managed import Fenced
from midstream_server.store.outputs import Stored
from midstream_server.store.postgres.group_commit import GroupCommit
from midstream_server.store.postgres.outputs import append, read
from midstream_server.store.postgres.reader import Reader


class PostgresOutputStore:
    """Implements `OutputStore`; see there."""

    def __init__(self, group: GroupCommit, reader: Reader, *, limits: Limits) -> None:
        self._group = group
        self._read = reader
        self._limits = limits

    async def append_outputs(
        self, run_no: int, epoch: int, drafts: Sequence[OutputDraft], *, now_us: int
    ) -> Stored | Fenced:
        return await self._group.submit(
            lambda tx: append.append_outputs(tx, run_no, epoch, drafts, limits=self._limits, now_us=now_us),
            numbers=[run_no],
            weight=len(drafts),
        )

    async def append_attached(
        self, namespace: str, run_id: str, stream_id: str, drafts: Sequence[Draft], *, now_us: int
    ) -> list[Accepted | Refused]:
        return await self._group.submit(
            lambda tx: append.append_attached(
                tx, namespace, run_id, stream_id, drafts, limits=self._limits, now_us=now_us
            ),
            names=[(namespace, run_id)],
            weight=len(drafts),
        )

    async def read_outputs(
        self, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
    ) -> Page | None:
        return await self._read(
            lambda connection: read.read_outputs(
                connection, run_no, stream_id, after_offset=after_offset, max_records=max_records, max_bytes=max_bytes
            )
        )
