"""Plays the round-trip vectors through the Python client: the same value out of every way of reading."""

import json
from typing import Any

from google.protobuf import wrappers_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from midstream import Client, input_stream
from midstream.streams import encode
from midstream.v1.record_pb2 import Payload
from support.conformance.vector import Variables, resolve

_MESSAGES: dict[str, type[Message]] = {
    message.DESCRIPTOR.full_name: message for message in (wrappers_pb2.StringValue, wrappers_pb2.BoolValue)
}


async def round_trip(client: Client, variables: Variables) -> None:
    """Sends the value of the payload, and reads it by peek, list, tail and once: as stored, and as a value."""
    payload = ParseDict(resolve(variables["payload"], variables), Payload())
    stream = input_stream("values", type(value)) if isinstance(value := value_of(payload), Message) else None
    target: Any = "values" if stream is None else stream
    sent = encode(target, value)
    async with client.attach(task="conformance") as run:
        receipt = await client.send(run.id, target, value)
        assert receipt.seq == 1
        peeked = await client.peek(run.id, target)
        assert peeked is not None
        listed = [record async for record in client.list_records(run.id, target)]
        tail = client.tail(run.id, target)
        tailed = await anext(tail)
        await tail.aclose()
        for record in (peeked, *listed, tailed):
            assert record.payload == sent
            assert _same(value_of(record.payload), value)
        taken = (await (input_stream("values") if stream is None else stream).once(timeout="10s")).unwrap()
        assert _same(taken, value)


def value_of(payload: Payload) -> Any:
    """What a program works with: a JSON value, bytes, or a message."""
    match payload.WhichOneof("content"):
        case "json":
            return json.loads(payload.json)
        case "raw":
            return payload.raw
        case _:
            return _MESSAGES[payload.proto.type_name].FromString(payload.proto.value)


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same type: False is not 0."""
    return type(one) is type(other) and bool(one == other)
