"""Access tokens on a server: made, used up, revoked, expired, and what becomes of them when their run ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from midstream.v1 import run_pb2, run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream.v1.access_token_pb2 import AccessTokenSpec
from midstream.v1.access_token_pb2 import Scope as ScopeMessage
from midstream.v1.record_pb2 import Sender
from midstream.v1.token_service_pb2 import MintTokenRequest, RevokeTokenRequest
from midstream_server.domain import api_key
from midstream_server.domain.access_token import TokenSpec, sign
from midstream_server.domain.scope import Action, Scope
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.calls import (
    HOUR_US,
    SECOND_US,
    STREAM,
    Sending,
    attach,
    finish,
    get_run,
    listed,
    new_record,
    reason_in,
    reason_of,
    send,
)
from support.credentials import As, calling, ends_with, mint, new_key, spec_of
from support.follow import Heard, records_of, state_of


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"token_burst": 20, "token_records_per_second": 10})


@pytest.fixture
async def key(server: Server) -> str:
    return await new_key(server)


@pytest.fixture
async def backend(server: Server, key: str) -> AsyncIterator[As]:
    async with calling(server, key) as backend:
        yield backend


@pytest.fixture
async def run_id(backend: As) -> str:
    return await attach(backend.stubs)


async def test_a_run_comes_with_a_token_for_it(server: Server, backend: As) -> None:
    request = run_service_pb2.StartRunRequest(spec=run_pb2.RunSpec(task="t"), access=spec_of("send:", "read:"))
    started = await backend.runs.StartRun(request)
    async with calling(server, started.access_token.token) as page:
        run_id = started.run.run_id
        await send(page.stubs, run_id, "1")
        assert (await get_run(page.stubs, run_id)).run_id == run_id
        request.run_id = "chosen"
        again = [await backend.runs.StartRun(request) for _ in range(2)]
        assert [each.created for each in again] == [True, False]
        assert again[0].access_token.token_id != again[1].access_token.token_id
        assert await reason_of(get_run(page.stubs, "chosen")) == "RUN_NOT_FOUND"


async def test_a_run_whose_token_cannot_be_made_is_not_started(backend: As) -> None:
    request = run_service_pb2.StartRunRequest(
        run_id="chosen", spec=run_pb2.RunSpec(task="t"), access=spec_of("send:", ttl_seconds=0)
    )
    assert await reason_of(backend.runs.StartRun(request)) == "FIELD_INVALID"
    assert await reason_of(get_run(backend.stubs, "chosen")) == "RUN_NOT_FOUND"


async def test_a_token_of_an_open_server_ends_when_it_is_closed(server: Server) -> None:
    async with calling(server) as anybody:
        run_id = await attach(anybody.stubs)
        token = await mint(anybody, f"send:{run_id}", subject="ann")
    async with calling(server, token.token) as page:
        await send(page.stubs, run_id, "1")
        assert await reason_of(listed(page.stubs, run_id)) == "SCOPE_MISSING"
        await new_key(server)
        assert await reason_of(send(page.stubs, run_id, "2")) == "CREDENTIALS_INVALID"


async def test_a_token_that_a_backend_signs_is_as_good(server: Server, key: str, backend: As, run_id: str) -> None:
    spec = TokenSpec((Scope(Action.SEND, run_id, STREAM),), subject="bob")
    signing, kid = api_key.signing_key_of(key), api_key.key_id_of(key) or ""
    text, _ = sign(spec, signing, key_id=kid, token_id="its own", now_us=server.clock.now_us())
    async with calling(server, text) as page:
        await send(page.stubs, run_id, "1")
    (record,) = await listed(backend.stubs, run_id)
    assert record.sender == Sender(kind=Sender.KIND_ACCESS_TOKEN, subject="bob")
    for other in ("server", "nobodyskey00"):
        forged, _ = sign(spec, signing, key_id=other, token_id="x", now_us=server.clock.now_us())
        async with calling(server, forged) as forger:
            assert await reason_of(send(forger.stubs, run_id, "2")) == "CREDENTIALS_INVALID"


async def test_the_key_of_another_namespace_cannot_sign_for_this_one(server: Server, backend: As, run_id: str) -> None:
    async with calling(server, await new_key(server, namespace="acme")) as other:
        token = await mint(other, f"read:{run_id}", f"send:{run_id}")
    async with calling(server, token.token) as page:
        assert await reason_of(get_run(page.stubs, run_id)) == "RUN_NOT_FOUND"
        assert await reason_of(send(page.stubs, run_id, "1")) == "RUN_NOT_FOUND"


async def test_one_approval(server: Server, backend: As, run_id: str) -> None:
    token = await mint(backend, f"send:{run_id}", max_uses=1)
    async with calling(server, token.token) as page:
        assert await reason_of(send(page.stubs, run_id, "no json")) == "PAYLOAD_INVALID"
        (first,) = await send(page.stubs, run_id, "1")
        (again,) = await send(page.stubs, run_id, "1")
        assert again.accepted.deduplicated
        assert again.accepted.seq == first.accepted.seq
        assert await reason_of(send(page.stubs, run_id, "2")) == "TOKEN_USED_UP"
        sending = Sending(page.stubs, run_id)
        await sending.writes([new_record("3")])
        (receipt,) = await sending.hears()
        assert receipt.error.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
        sending.call.cancel()


async def test_a_revoked_token_is_worthless_and_its_calls_end(server: Server, backend: As, run_id: str) -> None:
    token = await mint(backend, f"send:{run_id}", f"read:{run_id}")
    await send(backend.stubs, run_id, "1")
    async with calling(server, token.token) as page:
        tail = page.streams.Tail(pb.TailRequest(run_id=run_id))
        assert (await tail.read()).records
        watch = page.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run_id))
        assert (await watch.read()).run.run_id == run_id
        sending = Sending(page.stubs, run_id)
        await sending.writes([new_record("2")])
        assert (await sending.hears())[0].accepted.seq == 2
        await backend.tokens.RevokeToken(RevokeTokenRequest(token_id=token.token_id))
        assert [await ends_with(call) for call in (tail, watch, sending.call)] == ["TOKEN_REVOKED"] * 3
        assert await reason_of(get_run(page.stubs, run_id)) == "TOKEN_REVOKED"


async def test_another_namespace_revokes_nothing_here(server: Server, backend: As, run_id: str) -> None:
    token = await mint(backend, f"read:{run_id}")
    async with calling(server, await new_key(server, namespace="acme")) as other:
        await other.tokens.RevokeToken(RevokeTokenRequest(token_id=token.token_id))
    async with calling(server, token.token) as page:
        assert (await get_run(page.stubs, run_id)).run_id == run_id


async def test_a_token_may_be_revoked_before_it_was_seen_and_a_restart_forgets_nothing(
    settings: Settings, server: Server, key: str, backend: As, run_id: str
) -> None:
    token = await mint(backend, f"read:{run_id}")
    far = Timestamp(seconds=253_402_300_799)
    await backend.tokens.RevokeToken(RevokeTokenRequest(token_id=token.token_id, expire_time=far))
    await server.stop()
    async with Server(settings, clock=server.clock) as another, calling(another, token.token) as page:
        assert await reason_of(get_run(page.stubs, run_id)) == "TOKEN_REVOKED"


async def test_an_expired_token_ends_its_calls_and_makes_no_more(server: Server, backend: As, run_id: str) -> None:
    token = await mint(backend, f"read:{run_id}", ttl_seconds=60)
    await send(backend.stubs, run_id, "1")
    async with calling(server, token.token) as page:
        tail = page.streams.Tail(pb.TailRequest(run_id=run_id))
        assert (await tail.read()).records
        await server.advance(59 * SECOND_US)
        assert (await get_run(page.stubs, run_id)).run_id == run_id
        await server.advance(1 * SECOND_US)
        assert await ends_with(tail) == "TOKEN_EXPIRED"
        assert await reason_of(get_run(page.stubs, run_id)) == "TOKEN_EXPIRED"


async def test_a_token_ends_with_its_run_but_for_reading_and_that_an_hour_later(
    server: Server, backend: As, run_id: str
) -> None:
    token = await mint(backend, f"send:{run_id}", f"read:{run_id}", f"cancel:{run_id}", ttl_seconds=86_400)
    await finish(backend.stubs, run_id, '"secret result"')
    async with calling(server, token.token) as page:
        assert await reason_of(send(page.stubs, run_id, "1")) == "RUN_FINISHED"
        await server.advance(HOUR_US - 1)
        assert (await get_run(page.stubs, run_id)).result.json == '"secret result"'
        await server.advance(1)
        assert await reason_of(get_run(page.stubs, run_id)) == "TOKEN_REVOKED"
        assert await reason_of(listed(page.stubs, run_id)) == "TOKEN_REVOKED"


async def test_whoever_may_only_cancel_sees_nothing_of_the_run(server: Server, backend: As) -> None:
    spec = run_pb2.RunSpec(task="t")
    spec.payload.json = '"secret"'
    await backend.runs.StartRun(run_service_pb2.StartRunRequest(run_id="r", spec=spec))
    await send(backend.stubs, "r", "1")
    async with calling(server, (await mint(backend, "cancel:r")).token) as page:
        response = await page.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id="r"))
        assert response.run.state == run_pb2.Run.STATE_CANCELLED
        assert not response.run.HasField("payload")
        assert list(response.run.streams) == []


async def test_the_rate_of_one_token_is_bounded_and_nobody_elses(server: Server, backend: As, run_id: str) -> None:
    token, other = await mint(backend, f"send:{run_id}"), await mint(backend, f"send:{run_id}")
    async with calling(server, token.token) as page, calling(server, other.token) as another:
        await send(page.stubs, run_id, *map(str, range(30)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(page.stubs, run_id, "x")
        assert reason_in(caught.value) == "RATE_LIMITED"
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        delay_us = retry_delay_us(caught.value)
        sending = Sending(page.stubs, run_id)
        await sending.writes([new_record("1")])
        (receipt,) = await sending.hears()
        assert receipt.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        await send(another.stubs, run_id, '"another token"')
        await send(backend.stubs, run_id, *(f'"{number}"' for number in range(100)))
        await server.advance(delay_us)
        assert await send(page.stubs, run_id, '"in time"')


def retry_delay_us(error: grpc.aio.AioRpcError) -> int:
    status = Status.FromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    info = RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    delay_us: int = info.retry_delay.ToMicroseconds()
    return delay_us


class TestSubscriptions:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_subscriptions_per_token": 2})

    async def test_one_token_has_so_many_at_once(self, server: Server, backend: As, run_id: str) -> None:
        await send(backend.stubs, run_id, "1")
        async with calling(server, (await mint(backend, f"read:{run_id}")).token) as page:
            tails = [page.streams.Tail(pb.TailRequest(run_id=run_id)) for _ in range(2)]
            for tail in tails:
                assert (await tail.read()).records
            for _ in range(3):
                assert await ends_with(page.streams.Tail(pb.TailRequest(run_id=run_id))) == "TOO_MANY_SUBSCRIPTIONS"
            backends = [backend.streams.Tail(pb.TailRequest(run_id=run_id)) for _ in range(5)]
            for call in backends:
                assert (await call.read()).records
            tails[0].cancel()
            async with asyncio.timeout(10):
                while await first_of(page, run_id) == "TOO_MANY_SUBSCRIPTIONS":
                    await server.advance(SECOND_US)  # So that asking again is not too fast.

    async def test_a_follow_is_one_subscription_of_each_token_in_it(
        self, server: Server, backend: As, run_id: str
    ) -> None:
        token = (await mint(backend, f"read:{run_id}")).token
        async with calling(server) as page:
            calls = []
            for expected in ({}, {}, dict.fromkeys(range(1, 6), "TOO_MANY_SUBSCRIPTIONS")):
                targets = [state_of(ref, run_id) for ref in range(1, 6)]
                for target in targets:
                    target.access_token = token
                call = page.streams.Follow(pb.FollowRequest(targets=targets))
                calls.append(call)
                heard = Heard()
                for _ in targets:
                    heard.take(await call.read())
                assert heard.refused == expected


async def first_of(page: As, run_id: str) -> Any:
    """The first response of a Tail, or why there is none."""
    call = page.streams.Tail(pb.TailRequest(run_id=run_id))
    try:
        return await call.read()
    except grpc.aio.AioRpcError as error:
        return reason_in(error)


async def test_each_target_of_a_follow_has_credentials_of_its_own(server: Server, backend: As, run_id: str) -> None:
    await send(backend.stubs, run_id, "1")
    await send(backend.stubs, run_id, "2", stream_id="hidden")
    short = (await mint(backend, f"read:{run_id}/{STREAM}", ttl_seconds=60)).token
    long = (await mint(backend, f"read:{run_id}", ttl_seconds=3_600)).token
    targets = [
        with_token(records_of(1, run_id, stream_id=STREAM), short),
        with_token(records_of(2, run_id), short),
        with_token(state_of(3, run_id), short),
        with_token(records_of(4, run_id), long),
        with_token(records_of(5, run_id), long + "x"),
        with_token(records_of(6, "other"), long),
        records_of(7, run_id),
    ]
    async with calling(server) as nobody:
        call = nobody.streams.Follow(pb.FollowRequest(targets=targets))
        heard = Heard()
        while heard.news < 4 or len(heard.refused) < 4:
            heard.take(await call.read())
        assert heard.refused == {
            2: "SCOPE_MISSING",
            5: "CREDENTIALS_INVALID",
            6: "RUN_NOT_FOUND",
            7: "CREDENTIALS_MISSING",
        }
        assert heard.values == {1: [1], 4: [1, 2]}
        assert [stream.stream_id for stream in heard.states[3][0].streams] == [STREAM]
        await server.advance(60 * SECOND_US)
        while len(heard.refused) < 6:
            heard.take(await call.read())
        assert (heard.refused[1], heard.refused[3]) == ("TOKEN_EXPIRED", "TOKEN_EXPIRED")
        await send(backend.stubs, run_id, "3")
        while len(heard.values[4]) < 3:
            heard.take(await call.read())
        call.cancel()


def with_token(target: pb.FollowRequest.Target, token: str) -> pb.FollowRequest.Target:
    target.access_token = token
    return target


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (spec_of(), "spec.scopes"),
        (spec_of("read:"), "spec.scopes[0].run_id"),
        (spec_of("read:r", ttl_seconds=0), "spec.ttl"),
        (spec_of("read:r", ttl_seconds=31 * 86_400), "spec.ttl"),
        (spec_of("read:r", subject="x" * 129), "spec.subject"),
        (spec_of("read:r", max_uses=-1), "spec.max_uses"),
        (spec_of("cancel:r/s"), "spec.scopes[0].stream_id"),
        (AccessTokenSpec(scopes=[ScopeMessage(run_id="r")]), "spec.scopes[0].action"),
    ],
)
async def test_tokens_that_cannot_be_made(backend: As, spec: Any, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=field.replace("[", r"\[")) as caught:
        await backend.tokens.MintToken(MintTokenRequest(spec=spec))
    assert reason_in(caught.value) == "FIELD_INVALID"


@pytest.mark.parametrize("token_id", ["", "x" * 65, "a\0b"])
async def test_tokens_that_cannot_be_revoked(backend: As, token_id: str) -> None:
    assert await reason_of(backend.tokens.RevokeToken(RevokeTokenRequest(token_id=token_id))) == "FIELD_INVALID"
