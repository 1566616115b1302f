"""A token with a number of uses sends exactly so many records, whatever goes on at the same time or in between."""

import asyncio
from pathlib import Path

import pytest

import midstream
from midstream import can_read, can_send
from support.keyed_server import KeyedServer

USES = 10


async def accepted(url: str, token: str, run_id: str, values: list[int]) -> int:
    """Sends over a connection of its own. Every refusal must be the one for a token that is used up."""
    async with midstream.connect(url, access_token=token) as client:
        results = await client.send_many(run_id, "s", values)
    reasons = {result.error.reason for result in results if result.error is not None}
    assert reasons <= {"TOKEN_USED_UP"}
    return sum(result.ok for result in results)


async def test_exactly_so_many_are_accepted_under_concurrent_sends(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    token = await backend.mint_token([can_send(run_id)], max_uses=USES)
    sends = [accepted(keyed.url, token.token, run_id, [number] * 3) for number in range(12)]
    assert sum(await asyncio.gather(*sends)) == USES
    stored = [record async for record in backend.list_records(run_id)]
    assert [record.seq for record in stored] == list(range(1, USES + 1))


async def test_exactly_so_many_over_unary_calls_too(keyed: KeyedServer, backend: midstream.Client, run_id: str) -> None:
    token = await backend.mint_token([can_send(run_id)], max_uses=USES)

    def send(number: int) -> bool:
        try:
            midstream.send(run_id, "s", number, url=keyed.url, access_token=token.token)
        except midstream.PermissionDenied as error:
            return error.reason != "TOKEN_USED_UP"
        return True

    outcomes = await asyncio.gather(*(asyncio.to_thread(send, number) for number in range(3 * USES)))
    assert sum(outcomes) == USES
    assert (await backend.get_run(run_id)).stream("s").last_seq == USES


async def test_what_is_refused_or_repeated_uses_nothing_up(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    token = await backend.mint_token([can_send(run_id), can_read(run_id)], max_uses=2)
    async with midstream.connect(keyed.url, access_token=token.token) as client:
        with pytest.raises(midstream.PayloadError):
            await client.send(run_id, "s", "x" * 1_100_000)
        await client.send(run_id, "s", 1, key="k")
        for _ in range(3):
            assert (await client.send(run_id, "s", 1, key="k")).deduplicated
        with pytest.raises(midstream.MidstreamError, match="IDEMPOTENCY_KEY_REUSED"):
            await client.send(run_id, "s", 2, key="k")
        await client.send(run_id, "s", 2)
        with pytest.raises(midstream.PermissionDenied) as refused:
            await client.send(run_id, "s", 3)
        assert refused.value.reason == "TOKEN_USED_UP"
        assert refused.value.metadata == {"token_id": token.token_id, "max_uses": "2"}
        # Reading goes on, and so does the answer to a repetition.
        assert (await client.get_run(run_id)).stream("s").last_seq == 2
        assert (await client.send(run_id, "s", 1, key="k")).deduplicated


async def test_two_tokens_of_equal_scope_count_apart(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    for _ in range(2):
        token = await backend.mint_token([can_send(run_id)], max_uses=1)
        assert await accepted(keyed.url, token.token, run_id, [1, 2]) == 1


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_server_killed_between_uses_remembers_them(tmp_path: Path) -> None:
    with KeyedServer(tmp_path) as server:
        async with midstream.connect(server.url, api_key=server.key) as backend:
            async with backend.attach(task="t") as run:
                run.detach()
            token = midstream.sign_token(server.key, [can_send(run.id)], max_uses=3)
            for _ in range(3):
                server.restart()
                assert await accepted(server.url, token.token, run.id, [1]) == 1
            server.restart()
            assert await accepted(server.url, token.token, run.id, [1, 2]) == 0
            assert (await backend.get_run(run.id)).stream("s").last_seq == 3
