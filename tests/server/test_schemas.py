"""The registry over gRPC, and the door that every record comes through."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from midstream.v1 import run_pb2, run_service_pb2
from midstream.v1 import schema_service_pb2 as pb
from midstream.v1 import stream_service_pb2 as streams_pb
from midstream.v1.record_pb2 import NewRecord, Payload, PayloadView, TypedMessage
from midstream.v1.schema_service_pb2_grpc import SchemaServiceStub
from midstream_server.server import Server
from support.calls import STREAM, attach, listed, new_record, reason_of, send
from support.schemas import message_set, register, register_json, status_of, violations_in
from support.stubs import Stubs

if TYPE_CHECKING:
    from midstream.v1.schema_service_pb2_grpc import SchemaServiceAsyncStub

TEXT = "string text = 1 [(buf.validate.field).string = {min_len: 1, max_len: 5}];"
JSON_TEXT = {"type": "object", "properties": {"text": {"type": "string", "minLength": 1}}, "required": ["text"]}


@pytest.fixture
def schemas(channel: grpc.aio.Channel) -> "SchemaServiceAsyncStub":
    return SchemaServiceStub(channel)


async def send_payloads(stubs: Stubs, run_id: str, *payloads: Payload, key: str = "") -> list[streams_pb.Receipt]:
    records = [NewRecord(payload=payload, idempotency_key=key) for payload in payloads]
    request = streams_pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=records)
    return list((await stubs.streams.SendOne(request)).receipts)


async def refusal(stubs: Stubs, run_id: str, payload: Payload) -> tuple[str, list[tuple[str, str]]]:
    """The message, and the fields with their rules."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send_payloads(stubs, run_id, payload)
    status = status_of(caught.value)
    return status.message, violations_in(status)


def typed(value: bytes, type_name: str = "acme.Message") -> Payload:
    return Payload(proto=TypedMessage(type_name=type_name, value=value))


async def test_a_message_that_fits_is_stored_as_it_came(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    (registered,) = await register(schemas, message_set(TEXT))
    assert (registered.schema.stream_id, registered.schema.version, registered.created) == ("s", 1, True)
    run_id = await attach(stubs)
    # With a field that the server's schema does not know.
    value = b"\x0a\x02hi\xa2\x06\x03abc"
    await send_payloads(stubs, run_id, typed(value))
    (record,) = await listed(stubs, run_id)
    assert record.payload == typed(value)
    assert record.schema_version == 1


async def test_json_is_stored_as_the_message_that_it_says(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    await register(schemas, message_set(TEXT + "int64 big_number = 2;"))
    run_id = await attach(stubs)
    await send(stubs, run_id, '{"text": "hi", "bigNumber": "9007199254740993"}')
    (record,) = await listed(stubs, run_id)
    assert record.payload == typed(b"\x0a\x02hi\x10\x81\x80\x80\x80\x80\x80\x80\x10")
    assert record.schema_version == 1


async def test_what_does_not_fit_is_refused_with_fields_and_rules(
    stubs: Stubs, schemas: "SchemaServiceAsyncStub"
) -> None:
    await register(schemas, message_set(TEXT + "repeated Message items = 2;"))
    run_id = await attach(stubs)
    message, violations = await refusal(stubs, run_id, Payload(json='{"text":"","items":[{"text":"a"},{}]}'))
    assert violations == [("text", "string.min_len"), ("items[1].text", "string.min_len")]
    assert message == (
        "the payload does not fit stream 's', schema version 1: text: must be at least 1 characters (and 1 more)"
    )
    assert (await refusal(stubs, run_id, typed(b"\x0a\x00")))[1] == [("text", "string.min_len")]
    assert (await refusal(stubs, run_id, typed(b"\x0a\xff")))[1] == [("", "type")]
    assert (await refusal(stubs, run_id, typed(b"\x0a\x01a", "acme.Other")))[1] == [("", "type")]
    assert (await refusal(stubs, run_id, Payload(raw=b"x")))[1] == [("", "type")]
    assert (await refusal(stubs, run_id, Payload(json='{"items":[{"nope":1}]}')))[1] == [("items[0].nope", "type")]
    assert await listed(stubs, run_id) == []


async def test_a_json_schema_is_checked_too(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    await register_json(schemas, JSON_TEXT)
    run_id = await attach(stubs)
    await send(stubs, run_id, '{"text": "hi"}')
    assert (await refusal(stubs, run_id, Payload(json='{"text":""}')))[1] == [("text", "minLength")]
    assert (await refusal(stubs, run_id, Payload(json="{}")))[1] == [("text", "required")]
    assert (await refusal(stubs, run_id, typed(b"")))[1] == [("", "type")]
    (record,) = await listed(stubs, run_id)
    assert (record.payload.json, record.schema_version) == ('{"text": "hi"}', 1)


async def test_what_fits_of_a_batch_is_stored(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    await register_json(schemas, JSON_TEXT)
    run_id = await attach(stubs)
    receipts = await send(stubs, run_id, '{"text":"a"}', "1", '{"text":"b"}')
    assert [receipt.accepted.seq for receipt in receipts] == [1, 0, 2]
    assert violations_in(receipts[1].error) == [("", "type")]


async def test_first_records_come_through_the_door(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    await register(schemas, message_set(TEXT))

    def request(text: str, run_id: str) -> run_service_pb2.StartRunRequest:
        first = run_service_pb2.FirstRecord(stream_id=STREAM, record=new_record(text))
        return run_service_pb2.StartRunRequest(run_id=run_id, spec=run_pb2.RunSpec(task="t"), records=[first])

    assert await reason_of(stubs.runs.StartRun(request("{}", "bad"))) == "PAYLOAD_INVALID"
    assert await reason_of(stubs.runs.GetRun(run_service_pb2.GetRunRequest(run_id="bad"))) == "RUN_NOT_FOUND"
    started = await stubs.runs.StartRun(request('{"text":"a"}', "good"))
    assert started.created
    (record,) = await listed(stubs, "good")
    assert record.payload == typed(b"\x0a\x01a")
    await register_json(schemas, True, force=True)
    assert not (await stubs.runs.StartRun(request('{"text":"a"}', "good"))).created


async def test_a_retry_of_a_stored_record_gets_its_receipt_whatever_the_schema_says_now(
    stubs: Stubs, schemas: "SchemaServiceAsyncStub"
) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, '{"text":"too long"}', '{"text":"b"}')
    await register(schemas, message_set(TEXT))
    receipts = await send(stubs, run_id, '{"text":"too long"}', '{"text":"b"}', '{"text":"c"}')
    assert [(each.accepted.seq, each.accepted.deduplicated) for each in receipts] == [(1, True), (2, True), (3, False)]
    await register(schemas, message_set(TEXT.replace("min_len: 1", "min_len: 2")))
    (receipt,) = await send(stubs, run_id, '{"text":"c"}')
    assert receipt.accepted.deduplicated
    records = [NewRecord(payload=Payload(json='{"text":"other"}'), idempotency_key='{"text":"c"}')]
    again = streams_pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=records)
    assert await reason_of(stubs.streams.SendOne(again)) == "IDEMPOTENCY_KEY_REUSED"


async def test_the_newest_version_counts_at_once(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    run_id = await attach(stubs)
    for version in range(1, 4):
        (registered,) = await register_json(schemas, {"const": version})
        assert registered.schema.version == version
        await send(stubs, run_id, str(version))
    assert [record.schema_version for record in await listed(stubs, run_id)] == [1, 2, 3]


async def test_the_same_again_is_no_new_version(schemas: "SchemaServiceAsyncStub") -> None:
    for created in (True, False, False):
        (registered,) = await register(schemas, message_set(TEXT))
        assert (registered.schema.version, registered.created) == (1, created)
    # What concerns other messages, comments and generators of code makes no difference.
    more = message_set(TEXT + " // Said again.", rest='option java_package = "x";\nmessage Other { int32 a = 1; }')
    (registered,) = await register(schemas, more)
    assert not registered.created
    (registered,) = await register(schemas, message_set(TEXT, options='id: "s", max_unread_records: 3'))
    assert (registered.schema.version, registered.created) == (2, True)


async def test_many_register_at_once(schemas: "SchemaServiceAsyncStub") -> None:
    calls = [register_json(schemas, {"const": number}) for number in range(8)]
    versions = [registered.schema.version for (registered,) in await asyncio.gather(*calls)]
    assert sorted(versions) == list(range(1, 9))


async def test_a_check_alone_registers_nothing(schemas: "SchemaServiceAsyncStub") -> None:
    (registered,) = await register(schemas, message_set(TEXT), validate_only=True)
    assert registered.created
    request = pb.GetSchemaRequest(stream_id="s")
    assert await reason_of(schemas.GetSchema(request)) == "SCHEMA_NOT_FOUND"


async def test_all_are_registered_or_none(schemas: "SchemaServiceAsyncStub") -> None:
    good = pb.RegisterSchemasRequest.JsonStream(schema="true")
    good.options.id = "good"
    bad = pb.RegisterSchemasRequest.JsonStream(schema='{"type":"nonsense"}')
    bad.options.id = "bad"
    call = schemas.RegisterSchemas(pb.RegisterSchemasRequest(json_streams=[good, bad]))
    assert await reason_of(call) == "SCHEMA_INVALID"
    assert not (await schemas.ListSchemas(pb.ListSchemasRequest())).schemas


async def test_a_schema_is_given_whole_and_listed_in_short(schemas: "SchemaServiceAsyncStub") -> None:
    await register(
        schemas, message_set(TEXT + "google.protobuf.Struct more = 2;", rest='import "google/protobuf/struct.proto";')
    )
    await register_json(schemas, JSON_TEXT, stream_id="t", max_payload_bytes=100)
    schema = (await schemas.GetSchema(pb.GetSchemaRequest(stream_id="s"))).schema
    assert schema.protobuf.type_name == "acme.Message"
    assert b"google/protobuf/struct.proto" in schema.protobuf.file_descriptor_set
    schema = (await schemas.GetSchema(pb.GetSchemaRequest(stream_id="t", version=1))).schema
    assert json.loads(schema.json.schema) == JSON_TEXT
    assert schema.options.max_payload_bytes == 100
    assert schema.HasField("register_time")
    listed_schemas = (await schemas.ListSchemas(pb.ListSchemasRequest())).schemas
    assert [(each.stream_id, each.version, each.WhichOneof("definition")) for each in listed_schemas] == [
        ("s", 1, "protobuf"),
        ("t", 1, "json"),
    ]
    assert not listed_schemas[0].protobuf.file_descriptor_set
    assert not listed_schemas[1].json.schema


async def test_lists_come_in_pages(schemas: "SchemaServiceAsyncStub") -> None:
    for number in range(5):
        await register_json(schemas, True, stream_id=f"s{number}")
        await register_json(schemas, {"const": number}, stream_id="many")

    async def all_of(**fields: Any) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        request = pb.ListSchemasRequest(page_size=2, **fields)
        while True:
            page = await schemas.ListSchemas(request)
            assert len(page.schemas) <= 2
            found += [(each.stream_id, each.version) for each in page.schemas]
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    assert await all_of() == [("many", 5), *((f"s{number}", 1) for number in range(5))]
    assert await all_of(stream_id="many") == [("many", version) for version in range(1, 6)]
    first = await schemas.ListSchemas(pb.ListSchemasRequest(page_size=2))
    other = pb.ListSchemasRequest(page_size=2, stream_id="many", page_token=first.next_page_token)
    assert await reason_of(schemas.ListSchemas(other)) == "FIELD_INVALID"
    assert await reason_of(schemas.ListSchemas(pb.ListSchemasRequest(page_token="AAAA"))) == "FIELD_INVALID"


async def test_undeclared_streams_are_refused_where_the_namespace_says_so(
    stubs: Stubs, schemas: "SchemaServiceAsyncStub"
) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1", stream_id="free")
    refuse = pb.SchemaSettings(undeclared_streams=pb.SchemaSettings.UNDECLARED_STREAMS_REFUSE)
    await schemas.UpdateSchemaSettings(pb.UpdateSchemaSettingsRequest(settings=refuse))
    assert (await schemas.GetSchemaSettings(pb.GetSchemaSettingsRequest())).settings == refuse
    assert await reason_of(send(stubs, run_id, "2", stream_id="free")) == "STREAM_UNDECLARED"
    (again,) = await send(stubs, run_id, "1", stream_id="free")
    assert again.accepted.deduplicated
    assert await reason_of(send(stubs, "nowhere", "2", stream_id="free")) == "RUN_NOT_FOUND"
    await register_json(schemas, True, stream_id="free")
    await send(stubs, run_id, "2", stream_id="free")


async def test_declared_limits_count(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    await register_json(schemas, True, max_payload_bytes=5, max_unread_records=2)
    run_id = await attach(stubs)
    assert await reason_of(send(stubs, run_id, '"12345"')) == "PAYLOAD_TOO_LARGE"
    await send(stubs, run_id, "1", "2")
    assert await reason_of(send(stubs, run_id, "3")) == "STREAM_FULL"


async def test_batches_keep_their_order_while_schemas_change(
    server: Server, stubs: Stubs, schemas: "SchemaServiceAsyncStub"
) -> None:
    run_id = await attach(stubs)
    call = stubs.streams.Send()
    for number in range(100):
        if number % 10 == 0:
            await register_json(schemas, {"minimum": -number})
        records = [new_record(str(number))]
        await call.write(streams_pb.SendRequest(run_id=run_id, stream_id=STREAM, records=records))
    await call.done_writing()
    async for response in call:
        assert response.receipts[0].WhichOneof("result") == "accepted"
    assert [record.payload.json for record in await listed(stubs, run_id)] == [str(number) for number in range(100)]


async def test_a_change_that_breaks_others_is_refused_and_can_be_forced(schemas: "SchemaServiceAsyncStub") -> None:
    await register(schemas, message_set(TEXT + "int32 number = 2;"))
    changed = message_set("int32 text = 1;")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await register(schemas, changed)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert violations_in(status_of(caught.value)) == [
        ("acme.Message.text", "FIELD_WIRE_COMPATIBLE_TYPE"),
        ("acme.Message.number", "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED"),
    ]
    (registered,) = await register(schemas, changed, force=True)
    assert registered.schema.version == 2
    assert registered.warnings == [
        "forced: field text = 1 of acme.Message was of type string and would be of type int32",
        "forced: message acme.Message has no field number = 2 any more, and the number is not reserved",
    ]
    await register(schemas, message_set("int32 text = 1; string more = 3;"))


async def test_another_kind_or_type_is_refused(schemas: "SchemaServiceAsyncStub") -> None:
    await register_json(schemas, JSON_TEXT)
    assert await reason_of(register(schemas, message_set(TEXT))) == "SCHEMA_INCOMPATIBLE"
    await register(schemas, message_set(TEXT), force=True)
    assert await reason_of(register_json(schemas, JSON_TEXT)) == "SCHEMA_INCOMPATIBLE"


async def test_a_narrower_json_schema_is_warned_of(schemas: "SchemaServiceAsyncStub") -> None:
    await register_json(schemas, JSON_TEXT)
    (registered,) = await register_json(schemas, JSON_TEXT | {"required": ["text", "more"]})
    assert (registered.schema.version, list(registered.warnings)) == (2, ["the payload: 'more' is required now"])


async def json_view(stubs: Stubs, run_id: str) -> list[Payload]:
    request = streams_pb.ListRecordsRequest(run_id=run_id, payload_view=PayloadView.PAYLOAD_VIEW_JSON)
    return [record.payload for record in (await stubs.streams.ListRecords(request)).records]


async def test_people_read_each_record_with_the_schema_that_it_was_checked_against(
    stubs: Stubs, schemas: "SchemaServiceAsyncStub"
) -> None:
    run_id = await attach(stubs)
    await send_payloads(stubs, run_id, typed(b"\x08\x07"))
    await register(schemas, message_set("int32 number = 1;"))
    await send_payloads(stubs, run_id, typed(b"\x08\x07"))
    await register(schemas, message_set("int64 amount = 1;"))
    await send_payloads(stubs, run_id, typed(b"\x08\x07"))
    await register_json(schemas, True, force=True)
    await send(stubs, run_id, " 7 ")
    assert await json_view(stubs, run_id) == [
        typed(b"\x08\x07"),
        Payload(json='{"number":7}'),
        Payload(json='{"amount":"7"}'),
        Payload(json=" 7 "),
    ]
    assert [record.payload.WhichOneof("content") for record in await listed(stubs, run_id)] == ["proto"] * 3 + ["json"]


async def test_what_cannot_be_read_as_json_stays_as_it_is(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    imported = 'import "google/protobuf/any.proto";'
    await register(schemas, message_set("google.protobuf.Any any = 1; repeated bool many = 2;", rest=imported))
    run_id = await attach(stubs)
    unknown = typed(b"\x0a\x0b\x0a\x09x/no.Such")
    large = typed(b"\x12" + b"\xc0\x84\x3d" + b"\x01" * 1_000_000)
    await send_payloads(stubs, run_id, unknown)
    await send_payloads(stubs, run_id, large)
    assert await json_view(stubs, run_id) == [unknown]
    request = streams_pb.PeekRequest(run_id=run_id, stream_id=STREAM, payload_view=PayloadView.PAYLOAD_VIEW_JSON)
    assert (await stubs.streams.Peek(request)).record.payload == large


async def test_a_view_that_does_not_exist(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    request = streams_pb.ListRecordsRequest(run_id=run_id, payload_view=9)  # type: ignore[arg-type]
    assert await reason_of(stubs.streams.ListRecords(request)) == "FIELD_INVALID"


async def test_a_message_of_the_largest_size(stubs: Stubs, schemas: "SchemaServiceAsyncStub") -> None:
    await register(schemas, message_set("bytes blob = 1; repeated double numbers = 2;"))
    run_id = await attach(stubs)
    blob = b"\x0a\xfa\xff\x3f" + b"x" * (1024 * 1024 - 6)
    await send_payloads(stubs, run_id, typed(blob))
    # As JSON it is small enough; as a message it is not.
    numbers = Payload(json=json.dumps({"numbers": [0] * 200_000}))
    assert await reason_of(send_payloads(stubs, run_id, numbers)) == "PAYLOAD_TOO_LARGE"
