"""`SendOne` to a stream with a schema, beside the same bytes to a stream without one: what the door costs."""

import json
import time
from collections.abc import Sequence
from functools import partial

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc import aio

from bench.context import Context
from bench.measure import Figure, interleave, values
from bench.runs import attach_runs
from buf.validate import validate_pb2
from midstream.v1 import input_stream_pb2, stream_service_pb2_grpc
from midstream.v1.record_pb2 import NewRecord, Payload, TypedMessage
from midstream.v1.schema_service_pb2 import RegisterSchemasRequest
from midstream.v1.schema_service_pb2_grpc import SchemaServiceStub
from midstream.v1.stream_service_pb2 import SendOneRequest

_BATCH = 100
_MESSAGE_STREAM = "bench-message"
_JSON_STREAM = "bench-json"
_TYPE = "bench.Message"
_TEXT = "Enough of that; sum up what you have, please."
_JSON = json.dumps({"kind": 2, "text": _TEXT, "tags": ["a", "b"]})
_MESSAGE = b"\x08\x02\x12" + bytes((len(_TEXT),)) + _TEXT.encode() + b"\x1a\x01a\x1a\x01b"
_SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"type": "integer", "minimum": 0, "maximum": 2},
        "text": {"type": "string", "minLength": 1, "maxLength": 4000},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}},
    },
    "required": ["kind", "text"],
    "additionalProperties": False,
}


async def measure(context: Context) -> list[Figure]:
    channel = aio.insecure_channel(context.address)
    context.cleanup.push_async_callback(channel.close)
    await _register(channel)
    typed = Payload(proto=TypedMessage(type_name=_TYPE, value=_MESSAGE))
    text = Payload(json=_JSON)
    return [
        await _figure(context, channel, "message", "a protobuf message", _MESSAGE_STREAM, typed),
        await _figure(context, channel, "transcoded", "JSON, stored as a message", _MESSAGE_STREAM, text),
        await _figure(context, channel, "json", "JSON with a JSON Schema", _JSON_STREAM, text),
    ]


async def _figure(
    context: Context, channel: aio.Channel, name: str, what: str, stream_id: str, payload: Payload
) -> Figure:
    untyped, checked = await interleave(
        context.sizes.repeats,
        partial(_rate, context, channel, "bench-untyped", payload),
        partial(_rate, context, channel, stream_id, payload),
    )
    return Figure(
        name=f"typed_send_{name}",
        title=f"SendOne of {_BATCH} records, checked: {what}",
        unit="records/s",
        ours=values(checked),
        limit=values(untyped),
        limit_title="the same to a stream without a schema",
    )


async def _rate(context: Context, channel: aio.Channel, stream_id: str, payload: Payload) -> float:
    """Records a second, a batch after the other."""
    batches = max(1, min(90, context.sizes.unary_calls // 20))
    (run_id,) = await attach_runs(channel, 1)
    records: Sequence[NewRecord] = [NewRecord(payload=payload)] * _BATCH
    request = SendOneRequest(run_id=run_id, stream_id=stream_id, records=records)
    stub = stream_service_pb2_grpc.StreamServiceStub(channel)
    began = time.perf_counter()
    for _ in range(batches):
        response = await stub.SendOne(request)
        if not response.receipts[-1].HasField("accepted"):
            raise RuntimeError(f"refused: {response.receipts[-1].error.message}")
    return batches * _BATCH / (time.perf_counter() - began)


async def _register(channel: aio.Channel) -> None:
    stream = RegisterSchemasRequest.JsonStream(schema=json.dumps(_SCHEMA))
    stream.options.id = _JSON_STREAM
    request = RegisterSchemasRequest(file_descriptor_set=_descriptor_set(), json_streams=[stream])
    await SchemaServiceStub(channel).RegisterSchemas(request)


def _descriptor_set() -> bytes:
    file = FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    message = file.message_type.add(name="Message")
    message.options.Extensions[input_stream_pb2.input_stream].id = _MESSAGE_STREAM
    field = FieldDescriptorProto
    kind = message.field.add(name="kind", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    kind.options.Extensions[validate_pb2.field].int32.gte = 0
    kind.options.Extensions[validate_pb2.field].int32.lte = 2
    text = message.field.add(name="text", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    text.options.Extensions[validate_pb2.field].string.min_len = 1
    text.options.Extensions[validate_pb2.field].string.max_len = 4000
    tags = message.field.add(name="tags", number=3, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    tags.options.Extensions[validate_pb2.field].repeated.items.string.max_len = 20
    return FileDescriptorSet(file=[file]).SerializeToString()
