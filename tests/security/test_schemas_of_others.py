"""Schemas: for API keys, of one's own namespace, and no way to tell what another one has."""

from collections.abc import AsyncIterator

import grpc
import pytest

import midstream
from midstream import can_cancel, can_read, can_send
from midstream.v1 import schema_service_pb2 as pb
from midstream.v1.input_stream_pb2 import InputStreamOptions
from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.stream_service_pb2 import SendOneRequest
from support.keyed_server import KeyedServer
from support.raw_calls import ask


@pytest.fixture
async def channel(keyed: KeyedServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(keyed.url.removeprefix("grpc://")) as channel:
        yield channel


def registering(stream_id: str, schema: str, *, backend_only: bool = False) -> pb.RegisterSchemasRequest:
    options = InputStreamOptions(id=stream_id, backend_only=backend_only)
    return pb.RegisterSchemasRequest(
        json_streams=[pb.RegisterSchemasRequest.JsonStream(options=options, schema=schema)]
    )


def sending(run_id: str, stream_id: str) -> SendOneRequest:
    return SendOneRequest(run_id=run_id, stream_id=stream_id, records=[NewRecord(payload=Payload(json="1"))])


REQUESTS = {
    "RegisterSchemas": registering("anything", "true"),
    "GetSchema": pb.GetSchemaRequest(stream_id="anything"),
    "ListSchemas": pb.ListSchemasRequest(),
    "GetSchemaSettings": pb.GetSchemaSettingsRequest(),
    "UpdateSchemaSettings": pb.UpdateSchemaSettingsRequest(settings=pb.SchemaSettings()),
}


async def test_no_access_token_does_for_schemas(
    channel: grpc.aio.Channel, backend: midstream.Client, run_id: str
) -> None:
    token = await backend.mint_token([can_send(run_id), can_read(run_id), can_cancel(run_id)])
    for method, request in REQUESTS.items():
        answer = await ask(channel, method, [request], f"Bearer {token.token}")
        assert answer.reason == "SCOPE_MISSING", method


async def test_another_namespace_is_told_what_it_would_be_told_of_nothing(
    channel: grpc.aio.Channel, keyed: KeyedServer
) -> None:
    mine, other = f"Bearer {keyed.key}", f"Bearer {keyed.other_key}"
    assert (await ask(channel, "RegisterSchemas", [registering("hidden", "false")], mine)).code == "OK"
    asked = [
        await ask(channel, "GetSchema", [pb.GetSchemaRequest(stream_id=each)], other) for each in ("hidden", "hidder")
    ]
    assert asked[0].reason == asked[1].reason == "SCHEMA_NOT_FOUND"
    assert str(asked[0]).replace("hidden", "hidder") == str(asked[1])
    listed = await ask(channel, "ListSchemas", [pb.ListSchemasRequest(stream_id="hidden")], other)
    assert not pb.ListSchemasResponse.FromString(listed.responses[0]).schemas
    registered = await ask(channel, "RegisterSchemas", [registering("hidden", "true")], other)
    response = pb.RegisterSchemasResponse.FromString(registered.responses[0])
    assert [(each.schema.version, each.created) for each in response.registered] == [(1, True)]
    refuse = pb.SchemaSettings(undeclared_streams=pb.SchemaSettings.UNDECLARED_STREAMS_REFUSE)
    assert (
        await ask(channel, "UpdateSchemaSettings", [pb.UpdateSchemaSettingsRequest(settings=refuse)], other)
    ).code == "OK"
    own = await ask(channel, "GetSchemaSettings", [pb.GetSchemaSettingsRequest()], mine)
    assert pb.GetSchemaSettingsResponse.FromString(own.responses[0]).settings != refuse


async def test_a_stream_for_backends_takes_nothing_from_a_token(
    channel: grpc.aio.Channel, keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    key = f"Bearer {keyed.key}"
    await ask(channel, "RegisterSchemas", [registering("budget", "true", backend_only=True)], key)
    token = await backend.mint_token([can_send(run_id)])
    refused = await ask(channel, "SendOne", [sending(run_id, "budget")], f"Bearer {token.token}")
    assert (refused.reason, refused.code) == ("STREAM_BACKEND_ONLY", "PERMISSION_DENIED")
    assert (await ask(channel, "SendOne", [sending(run_id, "budget")], key)).code == "OK"
    # Whoever may not send there at all hears of that, and not of the declaration.
    narrow = await backend.mint_token([can_send(run_id, "other")])
    assert (
        await ask(channel, "SendOne", [sending(run_id, "budget")], f"Bearer {narrow.token}")
    ).reason == "SCOPE_MISSING"
    elsewhere = await ask(channel, "SendOne", [sending("no-such-run", "budget")], f"Bearer {token.token}")
    assert elsewhere.reason == "RUN_NOT_FOUND"


async def test_what_was_sent_is_not_in_the_refusal_of_a_json_schema(
    channel: grpc.aio.Channel, keyed: KeyedServer, run_id: str
) -> None:
    """A refusal may end up in logs."""
    key = f"Bearer {keyed.key}"
    await ask(channel, "RegisterSchemas", [registering("private", '{"maxLength": 3, "pattern": "^a"}')], key)
    record = NewRecord(payload=Payload(json='"my secret"'))
    answer = await ask(channel, "SendOne", [SendOneRequest(run_id=run_id, stream_id="private", records=[record])], key)
    assert answer.reason == "PAYLOAD_INVALID"
    assert "my secret" not in str(answer)
