"""A round trip through client and server; `make test-oldest` runs it on the oldest versions that the packages allow."""

import importlib
import pkgutil
from types import ModuleType

import pytest
from pydantic import BaseModel

import midstream
import midstream.testing
import midstream_server


class UserMessage(BaseModel):
    text: str
    urgent: bool = False


user_message = midstream.input_stream("supported-versions", UserMessage)
anything = midstream.input_stream("supported-versions-json")
raw = midstream.input_stream("supported-versions-raw", bytes)


@pytest.mark.parametrize("package", [midstream, midstream_server], ids=lambda package: package.__name__)
def test_every_module_can_be_imported(package: ModuleType) -> None:
    modules = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    assert len(modules) > 5
    for module in modules:
        if not module.endswith(".__main__"):
            importlib.import_module(module)


async def test_a_record_of_each_kind_makes_the_round_trip() -> None:
    async with midstream.testing.local_server() as server:
        run = await server.client.start_run("round-trip", {"topic": "versions"})
        first = UserMessage(text="Grüße 🌊", urgent=True)
        receipt = await server.client.send(run.id, user_message, first)
        await server.client.send(run.id, anything, None)
        await server.client.send(run.id, raw, b"\x00\xff")

        records = [record async for record in server.client.list_records(run.id)]
        assert receipt.seq == records[0].seq == 1
        assert user_message.decode(records[0]) == first
        assert anything.decode(records[1]) is None
        assert raw.decode(records[2]) == b"\x00\xff"


async def test_the_same_key_twice_is_one_record() -> None:
    async with midstream.testing.local_server() as server:
        run = await server.client.start_run("round-trip", None)
        first = await server.client.send(run.id, anything, 1, key="once")
        again = await server.client.send(run.id, anything, 1, key="once")
        assert (again.seq, again.deduplicated) == (first.seq, True)


async def test_an_attached_run_receives() -> None:
    async with midstream.testing.local_server() as server:
        async with server.client.attach(task="round-trip", payload=None) as run:
            await server.client.send(run.id, user_message, UserMessage(text="hello"))
            answer = await user_message.once(timeout="30s")
            run.finish(answer.unwrap().text)
        ended = await server.client.get_run(run.id)
        assert ended.state == midstream.RunState.COMPLETED


async def test_a_refusal_carries_its_reason() -> None:
    async with midstream.testing.local_server() as server:
        with pytest.raises(midstream.RunNotFound) as refused:
            await server.client.send("run_00000000000000000000000000", anything, 1)
        assert refused.value.reason == "RUN_NOT_FOUND"


def test_an_access_token_is_signed() -> None:
    token = midstream.sign_token("midstream_abcdefghijkl_secret", [midstream.can_read("run_1")])
    assert token.token.count(".") == 2


async def test_an_access_token_opens_what_it_names() -> None:
    async with midstream.testing.local_server(api_keys={"backend": "default"}) as server:
        run = await server.client.start_run("t")
        token = await server.client.mint_token([midstream.can_read(run.id)])
        async with midstream.connect(server.url, access_token=token.token) as page:
            assert (await page.get_run(run.id)).id == run.id
            with pytest.raises(midstream.PermissionDenied):
                await page.cancel_run(run.id)
