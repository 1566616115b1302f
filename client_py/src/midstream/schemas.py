"""The registry of what may be sent on which input stream, as a client sees it."""

import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from midstream.declaration import StreamOptions, from_proto
from midstream.schema_request import request_for
from midstream.timestamps import to_datetime
from midstream.v1 import schema_service_pb2 as pb

if TYPE_CHECKING:
    from midstream.connection import Connection
    from midstream.input_stream import InputStream

_PER_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of what may be sent on a stream: a protobuf message, by `type_name`, or a value by a JSON Schema."""

    stream_id: str
    version: int
    options: StreamOptions
    register_time: datetime
    type_name: str
    """The message's full name; empty for a JSON Schema."""

    file_descriptor_set: bytes = field(repr=False)
    """Serialised; empty in lists, and for a JSON Schema."""

    json_schema: Any = field(repr=False)
    """None in lists, and for a protobuf message."""

    @classmethod
    def from_proto(cls, schema: pb.Schema) -> Self:
        text = schema.json.schema
        return cls(
            schema.stream_id,
            schema.version,
            from_proto(schema.options),
            to_datetime(schema.register_time),
            schema.protobuf.type_name,
            schema.protobuf.file_descriptor_set,
            json.loads(text) if text else None,
        )


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """What became of one stream. `created` is False where the newest schema said the same already.

    `warnings` say, for a person, what may break others but was not refused, or was forced.
    """

    schema: Schema
    created: bool
    warnings: tuple[str, ...]


class Schemas:
    """`client.schemas`. Needs an API key where the server has any. All methods raise MidstreamError."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def register(
        self,
        streams: "Iterable[InputStream[Any]]" = (),
        *,
        file_descriptor_set: bytes = b"",
        force: bool = False,
        validate_only: bool = False,
    ) -> list[RegisteredSchema]:
        """Registers declared streams: all of them or none. From then on the server refuses what does not fit.

        A `file_descriptor_set`, as `buf build -o` and `protoc --descriptor_set_out` write it, registers every message
        in it that declares a stream. The reason SCHEMA_INCOMPATIBLE says what would break others; `force` registers it
        nonetheless, `validate_only` only asks. Raises TypeError for a stream without a schema.
        """
        request = request_for(streams)
        if file_descriptor_set:
            if request.file_descriptor_set:
                raise TypeError("give protobuf streams or a file_descriptor_set, not both: the set has them all")
            request.file_descriptor_set = file_descriptor_set
        request.force = force
        request.validate_only = validate_only
        return await self.register_request(request)

    async def register_request(self, request: pb.RegisterSchemasRequest) -> list[RegisteredSchema]:
        response = await self._connection.unary(self._connection.schemas.RegisterSchemas, request)
        return [
            RegisteredSchema(Schema.from_proto(each.schema), each.created, tuple(each.warnings))
            for each in response.registered
        ]

    async def get(self, stream_id: str, version: int = 0) -> Schema:
        """One schema, whole; 0: the newest. The reason SCHEMA_NOT_FOUND where there is none."""
        request = pb.GetSchemaRequest(stream_id=stream_id, version=version)
        response = await self._connection.unary(self._connection.schemas.GetSchema, request)
        return Schema.from_proto(response.schema)

    async def list(self, stream_id: str = "") -> AsyncGenerator[Schema, None]:
        """Of each stream the newest, or of one stream all; without definitions."""
        token = ""
        while True:
            request = pb.ListSchemasRequest(stream_id=stream_id, page_size=_PER_PAGE, page_token=token)
            response = await self._connection.unary(self._connection.schemas.ListSchemas, request)
            for schema in response.schemas:
                yield Schema.from_proto(schema)
            token = response.next_page_token
            if not token:
                return

    async def refuses_undeclared(self) -> bool:
        """Whether the namespace takes records only for streams that have a schema."""
        request = pb.GetSchemaSettingsRequest()
        response = await self._connection.unary(self._connection.schemas.GetSchemaSettings, request)
        return response.settings.undeclared_streams == pb.SchemaSettings.UNDECLARED_STREAMS_REFUSE

    async def refuse_undeclared(self, refuse: bool = True) -> None:
        """Sets that, for the whole namespace."""
        undeclared = (
            pb.SchemaSettings.UNDECLARED_STREAMS_REFUSE if refuse else pb.SchemaSettings.UNDECLARED_STREAMS_ACCEPT
        )
        request = pb.UpdateSchemaSettingsRequest(settings=pb.SchemaSettings(undeclared_streams=undeclared))
        await self._connection.unary(self._connection.schemas.UpdateSchemaSettings, request)
