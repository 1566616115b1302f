"""ListRecords: a page of a run's records."""

from collections.abc import Awaitable
from typing import Protocol

from midstream_server.domain import errors
from midstream_server.domain.limits import BATCH_RECORDS, FRAME_BYTES
from midstream_server.domain.names import check_name
from midstream_server.domain.record import Direction
from midstream_server.operations.core import Core
from midstream_server.operations.page_token import read_token, write_token
from midstream_server.operations.views import READABLE_FRAME_BYTES, readable, readable_of
from midstream_server.store import Page

DEFAULT_PAGE = 100


class ReadPage(Protocol):
    """`Store.read_log`, or `OutputStore.read_outputs`."""

    def __call__(
        self, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
    ) -> Awaitable[Page | None]: ...


def reader_of(core: Core, direction: Direction) -> ReadPage:
    """What reads the records of all streams of a direction, or of one."""
    return core.store.read_log if direction is Direction.INPUT else core.outputs.read_outputs


async def list_records(
    core: Core,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    page_size: int,
    page_token: str,
    direction: Direction = Direction.INPUT,
    payload_view: int = 0,
) -> tuple[Page, str]:
    """A page, and the token of the next one: empty on the last. Raises Refused."""
    check_name("run_id", run_id)
    if stream_id:
        check_name("stream_id", stream_id)
    if not 0 <= page_size <= BATCH_RECORDS:
        raise errors.field_invalid("page_size", f"is {page_size}, must be 0 to {BATCH_RECORDS:,}")
    as_json = readable_of(payload_view)
    run_no = await core.store.resolve(namespace, run_id)
    filters = f"{run_id}/{stream_id}" + ("/output" if direction is Direction.OUTPUT else "")
    read = reader_of(core, direction)
    page = await read(
        run_no,
        stream_id or None,
        after_offset=read_token(page_token, filters) or 0,
        max_records=page_size or DEFAULT_PAGE,
        max_bytes=READABLE_FRAME_BYTES if as_json else FRAME_BYTES,
    )
    if page is None:
        raise errors.run_not_found(run_id)
    more = bool(page.records) and await _more(read, run_no, stream_id, page.through_offset)
    if as_json:
        page = page._replace(records=await readable(core.schemas, namespace, page.records))
    return page, write_token(page.through_offset, filters) if more else ""


async def _more(read: ReadPage, run_no: int, stream_id: str, after_offset: int) -> bool:
    page = await read(run_no, stream_id or None, after_offset=after_offset, max_records=1, max_bytes=1)
    return page is not None and bool(page.records)
