"""ListEntries: a page of a run's log, with the assignments under which it was executed."""

from midstream_server.domain import errors
from midstream_server.domain.limits import BATCH_RECORDS, FRAME_BYTES
from midstream_server.domain.names import check_name
from midstream_server.operations.core import Core
from midstream_server.operations.page_token import read_token, write_token
from midstream_server.operations.views import READABLE_FRAME_BYTES, readable_entries, readable_of
from midstream_server.store.managed import Assignment, StoredEntry

DEFAULT_PAGE = 100
MAX_ASSIGNMENTS = 1_000


async def list_entries(
    core: Core, namespace: str, run_id: str, *, page_size: int, page_token: str, payload_view: int = 0
) -> tuple[list[StoredEntry], list[Assignment], str]:
    """Entries, on the first page the assignments, and the token of the next page: empty on the last. Raises Refused."""
    check_name("run_id", run_id)
    if not 0 <= page_size <= BATCH_RECORDS:
        raise errors.field_invalid("page_size", f"is {page_size}, must be 0 to {BATCH_RECORDS:,}")
    as_json = readable_of(payload_view)
    after_offset = read_token(page_token, run_id) or 0
    run_no = await core.store.resolve(namespace, run_id)
    page = await core.managed.read_log(
        run_no,
        after_offset=after_offset,
        max_entries=page_size or DEFAULT_PAGE,
        max_bytes=READABLE_FRAME_BYTES if as_json else FRAME_BYTES,
    )
    if page is None:
        raise errors.run_not_found(run_id)
    assignments = [] if after_offset else await core.managed.assignments(run_no, limit=MAX_ASSIGNMENTS)
    more = bool(page.entries) and page.entries[-1].offset < page.last_offset
    entries = await readable_entries(core.schemas, namespace, page.entries) if as_json else page.entries
    return entries, assignments, write_token(page.entries[-1].offset, run_id) if more else ""
