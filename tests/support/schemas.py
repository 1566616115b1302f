"""Short forms of calls about schemas."""

import json
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from midstream.v1 import schema_service_pb2 as pb
from midstream.v1.input_stream_pb2 import InputStreamOptions
from support.validity.build import build

if TYPE_CHECKING:
    from midstream.v1.schema_service_pb2_grpc import SchemaServiceAsyncStub

HEAD = (
    'syntax = "proto3";\npackage acme;\n'
    'import "buf/validate/validate.proto";\nimport "midstream/v1/input_stream.proto";\n'
)


def message_set(fields: str, *, options: str = 'id: "s"', rest: str = "") -> bytes:
    """A descriptor set with one message for a stream."""
    option = f"option (midstream.v1.input_stream) = {{{options}}};"
    return build({"acme.proto": f"{HEAD}{rest}\nmessage Message {{\n{option}\n{fields}\n}}\n"})


async def register(
    stub: "SchemaServiceAsyncStub", descriptor_set: bytes = b"", **more: Any
) -> list[pb.RegisterSchemasResponse.Registered]:
    request = pb.RegisterSchemasRequest(file_descriptor_set=descriptor_set, **more)
    return list((await stub.RegisterSchemas(request)).registered)


async def register_json(
    stub: "SchemaServiceAsyncStub", schema: Any, *, stream_id: str = "s", force: bool = False, **options: Any
) -> list[pb.RegisterSchemasResponse.Registered]:
    stream = pb.RegisterSchemasRequest.JsonStream(
        options=InputStreamOptions(id=stream_id, **options), schema=json.dumps(schema)
    )
    return await register(stub, json_streams=[stream], force=force)


def violations_in(status: Status) -> list[tuple[str, str]]:
    """Field and rule of each."""
    for detail in status.details:
        bad = BadRequest()
        if detail.Unpack(bad):
            return [(each.field, each.reason) for each in bad.field_violations]
    return []


def status_of(error: grpc.aio.AioRpcError) -> Status:
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    return Status.FromString(details)
