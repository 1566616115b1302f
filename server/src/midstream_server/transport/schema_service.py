"""SchemaService over gRPC: converts, calls the operation, converts."""

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from midstream.v1 import schema_service_pb2 as pb
from midstream_server.domain.errors import field_invalid
from midstream_server.domain.schemas.bundle import completed
from midstream_server.operations import Core
from midstream_server.operations.find_schemas import (
    get_schema,
    get_schema_settings,
    list_schemas,
    update_schema_settings,
)
from midstream_server.operations.register_schemas import register_schemas
from midstream_server.store.schemas import StoredSchema
from midstream_server.transport.caller import current_caller
from midstream_server.transport.convert import timestamp

Context = Any


class SchemaServicer:
    """One method for each RPC of midstream.v1.SchemaService; see there."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def RegisterSchemas(self, request: pb.RegisterSchemasRequest, context: Context) -> pb.RegisterSchemasResponse:
        registered = await register_schemas(
            self._core,
            current_caller.get(),
            request.file_descriptor_set,
            [(each.options, each.schema) for each in request.json_streams],
            force=request.force,
            validate_only=request.validate_only,
        )
        return pb.RegisterSchemasResponse(
            registered=[
                pb.RegisterSchemasResponse.Registered(
                    schema=_brief(each.stored), created=each.created, warnings=each.warnings
                )
                for each in registered
            ]
        )

    async def GetSchema(self, request: pb.GetSchemaRequest, context: Context) -> pb.GetSchemaResponse:
        stored = await get_schema(self._core, current_caller.get(), request.stream_id, request.version)
        return pb.GetSchemaResponse(schema=_whole(stored))

    async def ListSchemas(self, request: pb.ListSchemasRequest, context: Context) -> pb.ListSchemasResponse:
        page, next_page_token = await list_schemas(
            self._core,
            current_caller.get(),
            request.stream_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListSchemasResponse(schemas=map(_brief, page), next_page_token=next_page_token)

    async def GetSchemaSettings(
        self, request: pb.GetSchemaSettingsRequest, context: Context
    ) -> pb.GetSchemaSettingsResponse:
        return pb.GetSchemaSettingsResponse(
            settings=_settings(await get_schema_settings(self._core, current_caller.get()))
        )

    async def UpdateSchemaSettings(
        self, request: pb.UpdateSchemaSettingsRequest, context: Context
    ) -> pb.UpdateSchemaSettingsResponse:
        caller = current_caller.get()
        caller.check_backend()
        if not request.HasField("settings"):
            raise field_invalid("settings", "is required")
        number = request.settings.undeclared_streams
        if number not in pb.SchemaSettings.UndeclaredStreams.values():
            raise field_invalid("settings.undeclared_streams", f"{number} is not known")
        refuse = number == pb.SchemaSettings.UNDECLARED_STREAMS_REFUSE
        await update_schema_settings(self._core, caller, refuse_undeclared=refuse)
        return pb.UpdateSchemaSettingsResponse(settings=_settings(refuse))


def _settings(refuse: bool) -> pb.SchemaSettings:
    return pb.SchemaSettings(
        undeclared_streams=(
            pb.SchemaSettings.UNDECLARED_STREAMS_REFUSE if refuse else pb.SchemaSettings.UNDECLARED_STREAMS_ACCEPT
        )
    )


def _schema(stored: StoredSchema) -> pb.Schema:
    schema = pb.Schema.FromString(stored.body)
    schema.version = stored.version
    schema.register_time.CopyFrom(timestamp(stored.at_us))
    return schema


def _whole(stored: StoredSchema) -> pb.Schema:
    """With the files that every server has, so that whoever gets it needs nothing else."""
    schema = _schema(stored)
    if schema.WhichOneof("definition") == "protobuf":
        files = completed(FileDescriptorSet.FromString(schema.protobuf.file_descriptor_set).file)
        schema.protobuf.file_descriptor_set = FileDescriptorSet(file=files).SerializeToString(deterministic=True)
    return schema


def _brief(stored: StoredSchema) -> pb.Schema:
    schema = _schema(stored)
    if schema.WhichOneof("definition") == "protobuf":
        schema.protobuf.ClearField("file_descriptor_set")
    else:
        schema.json.ClearField("schema")
    return schema
