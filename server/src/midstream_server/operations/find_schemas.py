"""GetSchema and ListSchemas, and the settings of a namespace."""

from midstream.v1.schema_service_pb2 import SchemaSettings
from midstream_server.domain import errors
from midstream_server.domain.caller import Caller
from midstream_server.domain.limits import BATCH_RECORDS
from midstream_server.domain.names import check_name
from midstream_server.domain.schemas.errors import schema_not_found
from midstream_server.operations.core import Core
from midstream_server.operations.page_token import read_text_token, write_text_token
from midstream_server.operations.schemas import refuses_undeclared
from midstream_server.store.schemas import StoredSchema

DEFAULT_PAGE = 100
_MAX_VERSION = 2**31 - 1


async def get_schema(core: Core, caller: Caller, stream_id: str, version: int) -> StoredSchema:
    """Version 0: the newest. Raises Refused: SCHEMA_NOT_FOUND, SCOPE_MISSING, FIELD_INVALID."""
    caller.check_backend()
    check_name("stream_id", stream_id)
    if version < 0:
        raise errors.field_invalid("version", f"is {version}, must be 1 or more, or 0 for the newest")
    stored = await core.schemas.store.get(caller.namespace, stream_id, version or None)
    if stored is None:
        raise schema_not_found(stream_id, version)
    return stored


async def list_schemas(
    core: Core, caller: Caller, stream_id: str, *, page_size: int, page_token: str
) -> tuple[list[StoredSchema], str]:
    """A page, and the token of the next one: empty on the last. Raises Refused: SCOPE_MISSING, FIELD_INVALID."""
    caller.check_backend()
    if stream_id:
        check_name("stream_id", stream_id)
    if not 0 <= page_size <= BATCH_RECORDS:
        raise errors.field_invalid("page_size", f"is {page_size}, must be 0 to {BATCH_RECORDS:,}")
    limit = page_size or DEFAULT_PAGE
    filters = f"schemas/{stream_id}"
    after = _position(read_text_token(page_token, filters))
    found = await core.schemas.store.page(caller.namespace, stream_id or None, after=after, limit=limit + 1)
    page = found[:limit]
    more = len(found) > limit
    return page, write_text_token(f"{page[-1].version} {page[-1].stream_id}", filters) if more else ""


def _position(text: str) -> tuple[str, int]:
    version, _, stream_id = text.partition(" ")
    if not text or not version.isdecimal() or int(version) > _MAX_VERSION:
        return "", 0
    return stream_id, int(version)


async def get_schema_settings(core: Core, caller: Caller) -> bool:
    """Whether records for streams without a schema are refused. Raises Refused: SCOPE_MISSING."""
    caller.check_backend()
    return refuses_undeclared(await core.schemas.store.settings(caller.namespace))


async def update_schema_settings(core: Core, caller: Caller, *, refuse_undeclared: bool) -> None:
    """Durable when it returns. Raises Refused: SCOPE_MISSING."""
    caller.check_backend()
    number = SchemaSettings.UNDECLARED_STREAMS_REFUSE if refuse_undeclared else SchemaSettings.UNDECLARED_STREAMS_ACCEPT
    await core.schemas.store.set_settings(
        caller.namespace, SchemaSettings(undeclared_streams=number).SerializeToString()
    )
    core.schemas.forget([caller.namespace])
