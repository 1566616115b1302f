"""RegisterSchemas: schemas are read, compiled, compared with the newest ones, and stored; all of them or none."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from midstream.v1.input_stream_pb2 import InputStreamOptions
from midstream.v1.schema_service_pb2 import Schema
from midstream_server.domain import errors
from midstream_server.domain.caller import Caller
from midstream_server.domain.schemas.compatibility import compare
from midstream_server.domain.schemas.declaration import Declaration, SchemaKind, read_options
from midstream_server.domain.schemas.declared import declared_streams
from midstream_server.domain.schemas.errors import Change, schema_incompatible, schema_invalid
from midstream_server.domain.schemas.json_type import JsonType
from midstream_server.operations.core import Core
from midstream_server.operations.schemas import body_of
from midstream_server.store.schemas import NewSchema, StoredSchema

MAX_JSON_STREAMS: Final = 100
_ATTEMPTS: Final = 10


class Registered(NamedTuple):
    """What became of one stream's schema. `created` false: it was there already."""

    stored: StoredSchema
    created: bool
    warnings: list[str]


class _Read(NamedTuple):
    declaration: Declaration
    warnings: list[str]


async def register_schemas(
    core: Core,
    caller: Caller,
    descriptor_set: bytes,
    json_streams: Sequence[tuple[InputStreamOptions, str]],
    *,
    force: bool,
    validate_only: bool,
) -> list[Registered]:
    """By stream id. Raises Refused: SCHEMA_INVALID, SCHEMA_INCOMPATIBLE, SCOPE_MISSING, FIELD_INVALID."""
    caller.check_backend()
    if len(json_streams) > MAX_JSON_STREAMS:
        raise errors.field_invalid(
            "json_streams", f"has {len(json_streams)} schemas, at most {MAX_JSON_STREAMS} are allowed"
        )
    if not descriptor_set and not json_streams:
        raise errors.field_invalid("file_descriptor_set", "is required, or json_streams: there is nothing to register")
    async with core.schemas.compiling:
        read = await asyncio.to_thread(_read, descriptor_set, json_streams)
    for _ in range(_ATTEMPTS):
        registered = await _register(core, caller.namespace, read, force=force, validate_only=validate_only)
        if registered is not None:
            return registered
    raise errors.store_unavailable(f"others registered the same streams {_ATTEMPTS} times meanwhile")


async def _register(
    core: Core, namespace: str, read: Sequence[_Read], *, force: bool, validate_only: bool
) -> list[Registered] | None:
    """None: somebody else has registered one of the streams since it was looked at."""
    now_us = core.clock.now_us()
    outcomes: dict[str, Registered] = {}
    new: list[NewSchema] = []
    for declaration, notes in read:
        stream_id, digest = declaration.stream_id, declaration.digest
        newest = await core.schemas.store.get(namespace, stream_id, None)
        if newest is not None and newest.digest == digest:
            outcomes[stream_id] = Registered(newest, False, notes)
            continue
        warnings = [*notes, *await _changes(newest, declaration, force=force)]
        after = 0 if newest is None else newest.version
        schema = NewSchema(stream_id, digest, body_of(declaration), after)
        new.append(schema)
        stored = StoredSchema(stream_id, after + 1, digest, schema.body, now_us)
        outcomes[stream_id] = Registered(stored, True, warnings)
    if new and not validate_only:
        added = await core.schemas.store.add(namespace, new, now_us=now_us)
        if added is None:
            return None
        core.schemas.forget([namespace])
        for stored in added:
            outcomes[stored.stream_id] = outcomes[stored.stream_id]._replace(stored=stored)
    return [outcomes[stream_id] for stream_id in sorted(outcomes)]


async def _changes(newest: StoredSchema | None, declaration: Declaration, *, force: bool) -> list[str]:
    """What of the change is to be warned of. Raises Refused: SCHEMA_INCOMPATIBLE."""
    if newest is None:
        return []
    comparison = await asyncio.to_thread(compare, declaration_of(newest), declaration)
    if comparison.breaking and not force:
        raise schema_incompatible(declaration.stream_id, newest.version, comparison.breaking)
    return [*map(_told, comparison.breaking), *comparison.warnings]


def declaration_of(stored: StoredSchema) -> Declaration:
    """What was registered."""
    schema = Schema.FromString(stored.body)
    options = schema.options.SerializeToString(deterministic=True)
    if schema.WhichOneof("definition") == "protobuf":
        message = schema.protobuf
        return Declaration(
            stored.stream_id, SchemaKind.PROTOBUF, message.type_name, options, message.file_descriptor_set
        )
    return Declaration(stored.stream_id, SchemaKind.JSON, "", options, schema.json.schema.encode())


def _told(change: Change) -> str:
    return f"forced: {change.description}"


def _read(descriptor_set: bytes, json_streams: Sequence[tuple[InputStreamOptions, str]]) -> list[_Read]:
    """Raises Refused: SCHEMA_INVALID."""
    read = [_Read(each, []) for each in declared_streams(descriptor_set)] if descriptor_set else []
    seen = {each.declaration.stream_id for each in read}
    for options, schema in json_streams:
        kept = read_options(options)
        if options.id in seen:
            raise schema_invalid("is declared twice in the request", stream_id=options.id)
        seen.add(options.id)
        definition = schema.encode()
        notes = JsonType(definition, options.id).check()
        read.append(_Read(Declaration(options.id, SchemaKind.JSON, "", kept, definition), notes))
    return read
