"""Several servers on one PostgreSQL: what is registered on one, the others check."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from midstream.v1 import schema_service_pb2 as pb
from midstream.v1.schema_service_pb2_grpc import SchemaServiceStub
from midstream.v1.stream_service_pb2 import SendOneRequest
from support.calls import attach, new_record, reason_in, send
from support.postgres import Databases
from support.replicas import Replica, replicas
from support.schemas import register_json


@pytest.fixture
async def pair(databases: Databases) -> AsyncIterator[list[Replica]]:
    with databases.one() as url:
        async with replicas(url, 2) as pair:
            yield pair


async def test_the_others_hear_of_it(pair: list[Replica]) -> None:
    first, second = pair
    schemas = SchemaServiceStub(first.channel)
    run_id = await attach(second.stubs)
    await send(second.stubs, run_id, "1")

    async def until_it_says(reason: str, text: str, stream_id: str) -> None:
        """Until the notice has come, the second server checks with what it knows."""
        async with asyncio.timeout(10):
            while await reason_or_ok(second, run_id, text, stream_id=stream_id) != reason:
                pass

    for version in range(1, 4):
        await register_json(schemas, {"const": version})
        await until_it_says("PAYLOAD_INVALID", "0", "s")
        await until_it_says("OK", str(version), "s")
    refuse = pb.SchemaSettings(undeclared_streams=pb.SchemaSettings.UNDECLARED_STREAMS_REFUSE)
    await schemas.UpdateSchemaSettings(pb.UpdateSchemaSettingsRequest(settings=refuse))
    await until_it_says("STREAM_UNDECLARED", "1", "other")


async def reason_or_ok(replica: Replica, run_id: str, text: str, *, stream_id: str = "s") -> str:
    request = SendOneRequest(run_id=run_id, stream_id=stream_id, records=[new_record(text)])
    try:
        await replica.stubs.streams.SendOne(request)
    except grpc.aio.AioRpcError as error:
        return reason_in(error)
    return "OK"


async def test_registering_on_both_at_once(pair: list[Replica]) -> None:
    calls = [register_json(SchemaServiceStub(pair[number % 2].channel), {"const": number}) for number in range(6)]
    versions = [registered.schema.version for (registered,) in await asyncio.gather(*calls)]
    assert sorted(versions) == list(range(1, 7))
