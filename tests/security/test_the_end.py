"""When credentials end: with their run, by revocation, by time; open calls end with them."""

import asyncio
from typing import Any

import pytest

import midstream
from midstream import can_cancel, can_read, can_send
from midstream.errors import from_status
from midstream.testing import local_server
from midstream.v1.stream_service_pb2 import FollowRequest
from support.keyed_server import KeyedServer

OPEN_CALLS = ["tail", "watch"]


async def test_a_token_ends_an_hour_after_its_run_and_until_then_only_reads() -> None:
    async with local_server(api_keys={"backend": "default"}) as server:
        backend = server.client
        async with backend.attach(task="t") as run:
            scopes = [can_send(run.id), can_read(run.id), can_cancel(run.id)]
            token = await backend.mint_token(scopes, ttl="7d")
            async with midstream.connect(server.url, access_token=token.token) as client:
                await client.send(run.id, "s", 1)
        async with midstream.connect(server.url, access_token=token.token) as client:
            with pytest.raises(midstream.RunFinished):
                await client.send(run.id, "s", 2)
            await server.advance("59m")
            assert (await client.get_run(run.id)).state == midstream.RunState.COMPLETED
            assert [record.value async for record in client.list_records(run.id)] == [1]
            await server.advance("2m")
        async with midstream.connect(server.url, access_token=token.token) as client:
            for call in (client.get_run(run.id), client.cancel_run(run.id), anext(client.tail(run.id))):
                with pytest.raises(midstream.Unauthenticated) as refused:
                    await call
                assert refused.value.reason == "TOKEN_REVOKED"
            with pytest.raises(midstream.RunFinished):
                await client.send(run.id, "s", 3)
        assert (await backend.get_run(run.id)).state == midstream.RunState.COMPLETED


async def test_a_token_expires_to_the_second() -> None:
    async with local_server(api_keys={"backend": "default"}) as server, server.client.attach(task="t") as run:
        token = await server.client.mint_token([can_read(run.id)], ttl="90s")
        async with midstream.connect(server.url, access_token=token.token) as client:
            await server.advance("89s")
            await client.get_run(run.id)
            await server.advance("2s")
            with pytest.raises(midstream.Unauthenticated) as refused:
                await client.get_run(run.id)
            assert refused.value.reason == "TOKEN_EXPIRED"
            assert refused.value.metadata["expire_time"].endswith("Z")


async def test_a_callback_goes_on_where_a_token_expired() -> None:
    async with local_server(api_keys={"backend": "default"}) as server, server.client.attach(task="t") as run:
        minted: list[str] = []

        async def mint() -> str:
            minted.append((await server.client.mint_token([can_read(run.id), can_send(run.id)], ttl="60s")).token)
            return minted[-1]

        async with midstream.connect(server.url, access_token=mint) as client:
            for number in range(3):
                await client.send(run.id, "s", number)
                await server.advance("61s")
        assert len(set(minted)) >= 3
        assert [record.value async for record in server.client.list_records(run.id)] == [0, 1, 2]


def opened(client: midstream.Client, call: str, run_id: str) -> Any:
    return client.tail(run_id) if call == "tail" else client.watch_run(run_id)


async def ends_with(items: Any) -> str:
    """Why an open call ends; its first item has come already."""
    try:
        async with asyncio.timeout(30):
            async for _ in items:
                pass
    except midstream.MidstreamError as error:
        return error.reason
    return "OK"


@pytest.mark.parametrize("call", OPEN_CALLS)
async def test_a_revoked_token_ends_the_calls_that_are_open(
    keyed: KeyedServer, backend: midstream.Client, run_id: str, call: str
) -> None:
    await backend.send(run_id, "s", 1)
    token = await backend.mint_token([can_read(run_id)])
    other = await backend.mint_token([can_read(run_id)])
    async with (
        midstream.connect(keyed.url, access_token=token.token) as client,
        midstream.connect(keyed.url, access_token=other.token) as bystander,
    ):
        items, others = opened(client, call, run_id), opened(bystander, call, run_id)
        await asyncio.gather(anext(items), anext(others))
        await backend.revoke_token(token)
        assert await ends_with(items) == "TOKEN_REVOKED"
        with pytest.raises(midstream.Unauthenticated):
            await client.get_run(run_id)
        await bystander.get_run(run_id)
        await others.aclose()


@pytest.mark.parametrize("call", OPEN_CALLS)
async def test_an_expired_token_ends_the_calls_that_are_open(
    keyed: KeyedServer, backend: midstream.Client, run_id: str, call: str
) -> None:
    await backend.send(run_id, "s", 1)
    token = await backend.mint_token([can_read(run_id)], ttl="2s")
    async with midstream.connect(keyed.url, access_token=token.token) as client:
        items = opened(client, call, run_id)
        await anext(items)
        assert await ends_with(items) == "TOKEN_EXPIRED"


async def test_a_token_renewed_in_the_middle_misses_and_repeats_nothing(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    minted: list[midstream.AccessToken] = []

    async def mint() -> str:
        minted.append(await backend.mint_token([can_read(run_id)], ttl="2s"))
        return minted[-1].token

    async with midstream.connect(keyed.url, access_token=mint) as client:
        records = client.tail(run_id)
        seen: list[int] = []
        while len(minted) < 3:
            await backend.send(run_id, "s", len(seen))
            seen.append((await anext(records)).value)
            await asyncio.sleep(0.05)
        await records.aclose()
    assert seen == list(range(len(seen)))


async def test_a_key_revoked_while_calls_are_open_ends_them_all(keyed: KeyedServer, run_id: str) -> None:
    key = keyed.create_key("leaving")
    token = midstream.sign_token(key, [can_read(run_id)])
    async with (
        midstream.connect(keyed.url, api_key=key) as leaving,
        midstream.connect(keyed.url, access_token=token.token) as reader,
    ):
        calls = [opened(client, call, run_id) for client in (leaving, reader) for call in OPEN_CALLS]
        await leaving.send(run_id, "s", 1)
        await asyncio.gather(*map(anext, calls))
        await asyncio.to_thread(keyed.revoke_key, key)
        assert set(await asyncio.gather(*map(ends_with, calls))) == {"CREDENTIALS_INVALID"}
        with pytest.raises(midstream.Unauthenticated):
            await leaving.send(run_id, "s", 2)


async def test_an_attached_process_is_told_that_its_key_was_revoked(keyed: KeyedServer) -> None:
    key = keyed.create_key("leaving")
    async with midstream.connect(keyed.url, api_key=key) as leaving:
        with pytest.raises(midstream.Unauthenticated):
            async with leaving.attach(task="t"), asyncio.timeout(30):
                await asyncio.to_thread(keyed.revoke_key, key)
                await asyncio.Event().wait()


async def test_in_a_subscription_only_the_targets_of_a_revoked_token_end(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    tokens = [await backend.mint_token([can_read(run_id)]) for _ in range(2)]
    records = FollowRequest.Records()
    targets = [
        FollowRequest.Target(ref=ref, run_id=run_id, records=records, access_token=token.token)
        for ref, token in enumerate(tokens, start=1)
    ]
    await backend.send(run_id, "s", 1)
    async with midstream.connect(keyed.url) as page:
        call: Any = page._connection.streams.Follow(FollowRequest(targets=targets))
        assert {(await call.read()).ref for _ in targets} == {1, 2}
        await backend.revoke_token(tokens[0])
        ended = await call.read()
        assert (ended.ref, from_status(ended.error).reason) == (1, "TOKEN_REVOKED")
        await backend.send(run_id, "s", 2)
        assert (await call.read()).ref == 2
        call.cancel()
