"""Who gets in: API keys, access tokens, nobody; and who must leave when they are no good any more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from midstream.v1 import run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream.v1.record_pb2 import Sender
from midstream.v1.token_service_pb2 import MintTokenRequest, RevokeTokenRequest
from midstream_server.operations.gate import LOOK_SECONDS
from midstream_server.server import Server
from support.calls import STREAM, attach, finish, get_run, listed, reason_in, reason_of, send
from support.credentials import As, calling, ends_with, mint, new_key, revoke_key, spec_of


@pytest.fixture
async def key(server: Server) -> str:
    return await new_key(server)


@pytest.fixture
async def backend(server: Server, key: str) -> AsyncIterator[As]:
    async with calling(server, key) as backend:
        yield backend


async def test_a_server_without_keys_is_open_until_there_is_one(server: Server) -> None:
    async with calling(server) as anybody:
        run_id = await attach(anybody.stubs)
        await send(anybody.stubs, run_id, "1")
        (record,) = await listed(anybody.stubs, run_id)
        assert record.sender == Sender(kind=Sender.KIND_ANONYMOUS)
        tail = anybody.streams.Tail(pb.TailRequest(run_id=run_id))
        await tail.read()
        key = await new_key(server)
        assert await ends_with(tail) == "CREDENTIALS_MISSING"
        assert await reason_of(get_run(anybody.stubs, run_id)) == "CREDENTIALS_MISSING"
        revoke_key(server, key)
        await server.gate.look()
        assert await reason_of(get_run(anybody.stubs, run_id)) == "CREDENTIALS_MISSING"


async def test_an_api_key_opens_its_namespace_and_signs_its_records(server: Server, backend: As) -> None:
    run_id = await attach(backend.stubs, "the-same-id")
    await send(backend.stubs, run_id, "1")
    (record,) = await listed(backend.stubs, run_id)
    assert record.sender == Sender(kind=Sender.KIND_API_KEY, subject="backend")
    async with calling(server, await new_key(server, namespace="acme")) as other:
        assert await reason_of(get_run(other.stubs, run_id)) == "RUN_NOT_FOUND"
        assert list((await other.runs.ListRuns(run_service_pb2.ListRunsRequest())).runs) == []
        await attach(other.stubs, "the-same-id")
        assert await listed(other.stubs, run_id) == []


@pytest.mark.parametrize("authorization", ["Bearer ", "Basic dXNlcg==", "Bearer midstream_abc", "bearer a.b.c", ""])
async def test_nonsense_is_no_credential_even_on_an_open_server(server: Server, authorization: str) -> None:
    async with calling(server, authorization=authorization) as nobody:
        assert await reason_of(attach(nobody.stubs)) == "CREDENTIALS_INVALID"


async def test_another_secret_of_a_known_key_does_not_do(server: Server, key: str) -> None:
    forged = key[:-1] + ("A" if key[-1] != "A" else "B")
    async with calling(server, forged) as forger:
        error = await error_of(attach(forger.stubs))
        assert reason_in(error) == "CREDENTIALS_INVALID"
        assert forged not in str(error)


async def error_of(call: Any) -> grpc.aio.AioRpcError:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("not refused")


async def test_a_running_server_notices_a_revoked_key_by_itself(server: Server, key: str, backend: As) -> None:
    run_id = await attach(backend.stubs)
    token = await mint(backend, f"read:{run_id}")
    async with calling(server, token.token) as page:
        await send(backend.stubs, run_id, "1")
        calls = [caller.streams.Tail(pb.TailRequest(run_id=run_id)) for caller in (backend, page)]
        for call in calls:
            assert (await call.read()).records
        revoke_key(server, key)
        async with asyncio.timeout(10 * LOOK_SECONDS):
            assert [await ends_with(call) for call in calls] == ["CREDENTIALS_INVALID"] * 2
        assert await reason_of(get_run(backend.stubs, run_id)) == "CREDENTIALS_INVALID"
        assert await reason_of(get_run(page.stubs, run_id)) == "CREDENTIALS_INVALID"


async def test_a_token_does_what_its_scopes_say_and_nothing_else(server: Server, backend: As) -> None:
    run_id, other = await attach(backend.stubs), await attach(backend.stubs)
    token = await mint(backend, f"send:{run_id}/{STREAM}", f"read:{run_id}/{STREAM}", subject="ann")
    await send(backend.stubs, run_id, "0", stream_id="hidden")
    async with calling(server, token.token) as page:
        await send(page.stubs, run_id, "1")
        (record,) = await listed(page.stubs, run_id, stream_id=STREAM)
        assert record.sender == Sender(kind=Sender.KIND_ACCESS_TOKEN, subject="ann")
        run = await get_run(page.stubs, run_id)
        assert [stream.stream_id for stream in run.streams] == [STREAM]
        assert not run.HasField("payload")
        wrong = (
            (send(page.stubs, run_id, "2", stream_id="hidden"), "SCOPE_MISSING"),
            (listed(page.stubs, run_id, stream_id="hidden"), "SCOPE_MISSING"),
            (listed(page.stubs, run_id), "SCOPE_MISSING"),
            (page.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=run_id)), "SCOPE_MISSING"),
            (page.runs.ListEntries(run_service_pb2.ListEntriesRequest(run_id=run_id)), "SCOPE_MISSING"),
            (finish(page.stubs, run_id), "SCOPE_MISSING"),
            (page.streams.Receive(pb.ReceiveRequest(run_id=run_id, stream_id=STREAM)), "SCOPE_MISSING"),
            (page.streams.Ack(pb.AckRequest(run_id=run_id, stream_id=STREAM)), "SCOPE_MISSING"),
            (page.runs.ListRuns(run_service_pb2.ListRunsRequest()), "SCOPE_MISSING"),
            (attach(page.stubs), "SCOPE_MISSING"),
            (page.tokens.MintToken(MintTokenRequest(spec=spec_of(f"read:{run_id}"))), "SCOPE_MISSING"),
            (page.tokens.RevokeToken(RevokeTokenRequest(token_id="x")), "SCOPE_MISSING"),
            (send(page.stubs, other, "2"), "RUN_NOT_FOUND"),
            (get_run(page.stubs, other), "RUN_NOT_FOUND"),
            (finish(page.stubs, other), "RUN_NOT_FOUND"),
            (page.streams.Receive(pb.ReceiveRequest(run_id=other, stream_id=STREAM)), "RUN_NOT_FOUND"),
        )
        for call, reason in wrong:
            assert await reason_of(call) == reason
