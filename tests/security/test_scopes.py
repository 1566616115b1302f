"""What a token allows, and what of it shows: the scope that is missing, and who sent a record."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import midstream
from midstream import can_read, can_send, ulid
from midstream.errors import from_status
from midstream.v1.run_pb2 import Outcome
from midstream.v1.run_service_pb2 import FinishRunRequest
from midstream.v1.stream_service_pb2 import FollowRequest, FollowResponse
from support.keyed_server import KeyedServer


async def test_wrong_scope_and_wrong_stream(keyed: KeyedServer, backend: midstream.Client, run_id: str) -> None:
    await backend.send(run_id, "a", 1)
    await backend.send(run_id, "b", 2)
    cases: list[tuple[list[midstream.Scope], dict[str, str]]] = [
        ([can_send(run_id, "a")], {"send a": "OK", "send b": f"send:{run_id}/b", "get": f"read:{run_id}"}),
        ([can_send(run_id)], {"send a": "OK", "send b": "OK", "peek a": f"read:{run_id}/a"}),
        (
            [can_read(run_id)],
            {"get": "OK", "peek a": "OK", "list": "OK", "entries": "OK", "send a": f"send:{run_id}/a"},
        ),
        ([can_read(run_id, "a")], {"peek a": "OK", "peek b": f"read:{run_id}/b", "list a": "OK"}),
        (
            [can_read(run_id, "a")],
            {"list": f"read:{run_id}", "entries": f"read:{run_id}", "cancel": f"cancel:{run_id}"},
        ),
        ([can_read(run_id)], {"cancel": f"cancel:{run_id}", "finish": "", "start": "", "runs": "", "mint": ""}),
    ]
    for scopes, expected in cases:
        token = await backend.mint_token(scopes, subject="user-17")
        async with midstream.connect(keyed.url, access_token=token.token) as client:
            outcome = {what: await _try(client, what, run_id) for what in expected}
        assert outcome == expected, scopes


async def _try(client: midstream.Client, what: str, run_id: str) -> str:
    """OK, or the scope that is missing."""
    verb, _, stream = what.partition(" ")

    async def all_of(items: Any) -> None:
        async for _ in items:
            pass

    calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "send": lambda: client.send(run_id, stream, 1),
        "get": lambda: client.get_run(run_id),
        "peek": lambda: client.peek(run_id, stream),
        "list": lambda: all_of(client.list_records(run_id, stream or None)),
        "entries": lambda: all_of(client.list_entries(run_id)),
        "cancel": lambda: client.cancel_run(run_id),
        "finish": lambda: _finish(client, run_id),
        "start": lambda: client.start_run("t"),
        "runs": lambda: all_of(client.list_runs()),
        "mint": lambda: client.mint_token([can_read(run_id)]),
    }
    try:
        await calls[verb]()
    except midstream.PermissionDenied as error:
        return error.metadata["scope"] if error.reason == "SCOPE_MISSING" else error.reason
    return "OK"


async def _finish(client: midstream.Client, run_id: str) -> None:
    outcome = Outcome(cancelled=Outcome.Cancelled())
    await client._connection.unary(client._connection.runs.FinishRun, FinishRunRequest(run_id=run_id, outcome=outcome))


async def test_the_sender_is_who_the_credentials_say(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    token = await backend.mint_token([can_send(run_id)], subject="user-17 é")
    await backend.send(run_id, "s", 1)
    async with midstream.connect(keyed.url, access_token=token.token) as client:
        await client.send(run_id, "s", 2, metadata={"sender": "someone else"})
    senders = [record.sender async for record in backend.list_records(run_id)]
    assert senders == [
        midstream.Sender("API_KEY", "backend"),
        midstream.Sender("ACCESS_TOKEN", "user-17 é"),
    ]


async def test_a_run_comes_with_its_token(keyed: KeyedServer, backend: midstream.Client) -> None:
    access = midstream.Access([can_read(), can_send(stream="a")], subject="user-17", ttl="10m", max_uses=1)
    run = await backend.start_run("t", run_id=f"own-{ulid.new()}", access=access)
    assert run.access_token is not None
    assert run.access_token.token not in repr(run)
    again = await backend.start_run("t", run_id=run.id, access=access)
    assert again == run, "the token is no part of the run"
    assert again.access_token != run.access_token
    async with midstream.connect(keyed.url, access_token=run.access_token.token) as page:
        await page.send(run.id, "a", 1)
        assert [record.sender.subject async for record in page.list_records(run.id)] == ["user-17"]
        assert await _try(page, "send b", run.id) == f"send:{run.id}/b"
    assert (await backend.start_run("t")).access_token is None


async def test_each_target_of_a_subscription_has_its_own_rights(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    """One page shows two runs, with a token for each."""
    other = (await backend.start_run("t")).id
    mine, theirs = await backend.mint_token([can_read(run_id)]), await backend.mint_token([can_read(other)])
    target = FollowRequest.Target
    targets = [
        target(ref=1, run_id=run_id, state=FollowRequest.State()),
        target(ref=2, run_id=other, state=FollowRequest.State(), access_token=theirs.token),
        target(ref=3, run_id=other, state=FollowRequest.State()),
        target(ref=4, run_id=run_id, state=FollowRequest.State(), access_token=theirs.token),
        target(ref=5, run_id=run_id, state=FollowRequest.State(), access_token="nonsense"),
        target(ref=6, run_id=run_id, state=FollowRequest.State(), access_token=keyed.other_key),
    ]
    async with midstream.connect(keyed.url, access_token=mine.token) as page:
        bearer = await page._connection.bearer.metadata()
        call = page._connection.streams.Follow(FollowRequest(targets=targets), metadata=bearer)
        heard: dict[int, str] = {}
        while len(heard) < len(targets):
            response = await call.read()
            assert isinstance(response, FollowResponse)
            heard[response.ref] = (
                from_status(response.error).reason if response.HasField("error") else response.run.run_id
            )
        call.cancel()
    not_found = "RUN_NOT_FOUND"
    assert heard == {1: run_id, 2: other, 3: not_found, 4: not_found, 5: "CREDENTIALS_INVALID", 6: not_found}


async def test_who_may_read_one_stream_sees_no_more_of_the_run(keyed: KeyedServer, backend: midstream.Client) -> None:
    async with backend.attach(task="t", payload={"secret": "payload"}) as attached:
        await backend.send(attached.id, "a", 1)
        await backend.send(attached.id, "b", "secret")
        attached.finish("secret result")
    token = await backend.mint_token([can_read(attached.id, "a")])
    async with midstream.connect(keyed.url, access_token=token.token) as page:
        seen = [await page.get_run(attached.id), *[run async for run in page.watch_run(attached.id)]]
        assert [record.value async for record in page.tail(attached.id, "a")] == [1]
        with pytest.raises(midstream.PermissionDenied):
            await anext(page.tail(attached.id))
    whole = await backend.get_run(attached.id)
    assert (whole.payload, whole.result, len(whole.streams)) == ({"secret": "payload"}, "secret result", 2)
    for run in seen:
        assert run.state == midstream.RunState.COMPLETED
        assert (run.payload, run.result) == (None, None)
        assert [stream.stream_id for stream in run.streams] == ["a"]
