"""What a namespace or a token may not see, it cannot tell from what does not exist: byte for byte, over every RPC."""

import itertools
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from google.protobuf.message import Message

import midstream
from midstream import can_cancel, can_read, can_send
from midstream.testing import in_process_worker
from midstream.v1 import record_pb2, run_pb2, run_service_pb2, token_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream.v1.worker_service_pb2 import WorkRequest
from support.keyed_server import KeyedServer
from support.raw_calls import METHODS, Answer, ask
from support.web_channel import WebChannel

RECORD = record_pb2.NewRecord(payload=record_pb2.Payload(json="1"))
SPEC = run_pb2.RunSpec(task="t")
OUTCOME = run_pb2.Outcome(result=record_pb2.Payload(json="1"))
INPUT = record_pb2.DIRECTION_INPUT
OUTPUT = record_pb2.DIRECTION_OUTPUT
Channel = grpc.aio.Channel | WebChannel
_numbers = itertools.count()


def _work(run_id: str) -> list[Message]:
    """A worker that says it has the run."""
    opening = WorkRequest.Open(worker_id=f"w{next(_numbers)}", credit=0, runtime="python3.11")
    opening.tasks.add(task="nothing-of-this-name", code_version="1")
    opening.held.add(run_id=run_id, epoch=1)
    return [WorkRequest(open=opening)]


# Well-formed requests about a run. A new RPC must be added here, or the first test fails.
ABOUT_A_RUN: dict[str, Callable[[str], list[Message]]] = {
    "Send": lambda run_id: [pb.SendRequest(run_id=run_id, stream_id="s", records=[RECORD])],
    "SendOne": lambda run_id: [pb.SendOneRequest(run_id=run_id, stream_id="s", records=[RECORD])],
    "Subscribe": lambda run_id: [
        pb.SubscribeRequest(open=pb.SubscribeRequest.Open(run_id=run_id, stream_id="s", credit=1))
    ],
    "Receive": lambda run_id: [pb.ReceiveRequest(run_id=run_id, stream_id="s")],
    "Ack": lambda run_id: [pb.AckRequest(run_id=run_id, stream_id="s", holder_epoch=1, through_seq=1)],
    "Peek": lambda run_id: [pb.PeekRequest(run_id=run_id, stream_id="s")],
    "Tail": lambda run_id: [pb.TailRequest(run_id=run_id, direction=INPUT)],
    "Follow": lambda run_id: [
        pb.FollowRequest(
            targets=[
                pb.FollowRequest.Target(ref=1, run_id=run_id, records=pb.FollowRequest.Records(direction=INPUT)),
                pb.FollowRequest.Target(ref=2, run_id=run_id, records=pb.FollowRequest.Records(direction=OUTPUT)),
                pb.FollowRequest.Target(ref=3, run_id=run_id, state=pb.FollowRequest.State()),
            ]
        )
    ],
    "AppendOutput": lambda run_id: [pb.AppendOutputRequest(run_id=run_id, stream_id="s", records=[RECORD])],
    "ListRecords": lambda run_id: [pb.ListRecordsRequest(run_id=run_id, direction=INPUT)],
    "GetRun": lambda run_id: [run_service_pb2.GetRunRequest(run_id=run_id)],
    "ListEntries": lambda run_id: [run_service_pb2.ListEntriesRequest(run_id=run_id)],
    "CancelRun": lambda run_id: [run_service_pb2.CancelRunRequest(run_id=run_id)],
    "FinishRun": lambda run_id: [run_service_pb2.FinishRunRequest(run_id=run_id, outcome=OUTCOME)],
    "WatchRun": lambda run_id: [run_service_pb2.WatchRunRequest(run_id=run_id)],
    "Work": _work,
}
MAKES_A_RUN: dict[str, Callable[[str], list[Message]]] = {
    "StartRun": lambda run_id: [run_service_pb2.StartRunRequest(run_id=run_id, spec=SPEC)],
    "AttachRun": lambda run_id: [run_service_pb2.AttachRunRequest(run_id=run_id, spec=SPEC)],
}
ABOUT_NO_RUN = {"ListRuns", "MintToken", "RevokeToken"} | {
    *("RegisterSchemas", "GetSchema", "ListSchemas", "GetSchemaSettings", "UpdateSchemaSettings"),
}


def test_every_rpc_is_here() -> None:
    assert ABOUT_A_RUN.keys() | MAKES_A_RUN.keys() | ABOUT_NO_RUN == METHODS.keys()


@pytest.fixture
async def channel(keyed: KeyedServer) -> AsyncIterator[Channel]:
    async with grpc.aio.insecure_channel(keyed.url.removeprefix("grpc://")) as channel:
        yield channel


@pytest.fixture
async def owner(keyed: KeyedServer) -> AsyncIterator[midstream.Client]:
    async with midstream.connect(keyed.url, api_key=keyed.key) as client:
        yield client


async def make(owner: midstream.Client, run_id: str) -> None:
    """A run with records, in the namespace of `owner`."""
    async with owner.attach(run_id, task="t") as run:
        run.detach()
    await owner.send(run_id, "s", "secret")


async def before_and_after(
    channel: Channel, owner: midstream.Client, requests: tuple[str, list[Message]], run_id: str, bearer: str
) -> tuple[Answer, Answer]:
    """The answers about a run that nobody has, and about the same run once the owner has it."""
    method, messages = requests
    before = await ask(channel, method, messages, bearer)
    await make(owner, run_id)
    return before, await ask(channel, method, messages, bearer)


@pytest.mark.parametrize("method", ABOUT_A_RUN)
async def test_a_run_of_another_namespace(
    keyed: KeyedServer, channel: Channel, owner: midstream.Client, method: str
) -> None:
    run_id = f"foreign-{next(_numbers)}"
    requests = method, ABOUT_A_RUN[method](run_id)
    before, after = await before_and_after(channel, owner, requests, run_id, f"Bearer {keyed.other_key}")
    assert after == before
    if method != "Work":  # The run is no worker's; see below.
        seen_by_owner = await ask_owner(channel, keyed, method, run_id)
        assert seen_by_owner != after, "the owner sees it, so there was something to hide"


@pytest.mark.parametrize("way", ["connect", "grpc-web"])
@pytest.mark.parametrize("method", [name for name in ABOUT_A_RUN if not METHODS[name].client_streaming])
async def test_a_run_of_another_namespace_from_a_browser(
    keyed: KeyedServer, owner: midstream.Client, method: str, way: str
) -> None:
    run_id = f"foreign-{next(_numbers)}"
    requests = method, ABOUT_A_RUN[method](run_id)
    async with WebChannel(keyed.web_url, way) as channel:
        before, after = await before_and_after(channel, owner, requests, run_id, f"Bearer {keyed.other_key}")
    assert after == before
    assert b"RUN_NOT_FOUND" in b"".join(after.responses) or after.reason == "RUN_NOT_FOUND"


async def ask_owner(channel: Channel, keyed: KeyedServer, method: str, run_id: str) -> Answer | None:
    """None: the call goes on, which no refused one does."""
    try:
        return await ask(channel, method, ABOUT_A_RUN[method](run_id), f"Bearer {keyed.key}", seconds=1)
    except TimeoutError:
        return None


@pytest.mark.parametrize("method", ABOUT_A_RUN | MAKES_A_RUN)
async def test_a_run_that_the_token_does_not_name(
    keyed: KeyedServer, channel: Channel, owner: midstream.Client, method: str
) -> None:
    run_id = f"unnamed-{next(_numbers)}"
    named = [can_send("other-run"), can_read("other-run"), can_cancel("other-run"), can_send(f"{run_id}x")]
    token = (await owner.mint_token(named)).token
    requests = method, {**ABOUT_A_RUN, **MAKES_A_RUN}[method](run_id)
    before, after = await before_and_after(channel, owner, requests, run_id, f"Bearer {token}")
    assert after == before
    assert before.code != "OK" or b"RUN_NOT_FOUND" in b"".join(before.responses)


@pytest.mark.parametrize("method", ABOUT_A_RUN)
async def test_a_token_of_another_namespace_that_names_the_very_run(
    keyed: KeyedServer, channel: Channel, owner: midstream.Client, method: str
) -> None:
    run_id = f"named-{next(_numbers)}"
    scopes = [can_send(run_id), can_read(run_id), can_cancel(run_id)]
    token = midstream.sign_token(keyed.other_key, scopes).token
    requests = method, ABOUT_A_RUN[method](run_id)
    before, after = await before_and_after(channel, owner, requests, run_id, f"Bearer {token}")
    assert after == before


@pytest.mark.parametrize("method", MAKES_A_RUN)
async def test_a_run_id_that_another_namespace_uses_is_free(
    keyed: KeyedServer, channel: Channel, owner: midstream.Client, method: str
) -> None:
    run_id = f"both-{next(_numbers)}"
    await make(owner, run_id)
    answer = await ask(channel, method, MAKES_A_RUN[method](run_id), f"Bearer {keyed.other_key}")
    assert answer.code == "OK"
    async with midstream.connect(keyed.url, api_key=keyed.other_key) as other:
        assert [record async for record in other.list_records(run_id)] == []
        listed = [run.id async for run in other.list_runs()]
        assert run_id in listed
    assert (await owner.get_run(run_id)).streams[0].unread_count == 1


async def test_a_worker_gets_no_run_of_another_namespace(keyed: KeyedServer, owner: midstream.Client) -> None:
    @midstream.task(f"work-{next(_numbers)}")
    async def work(ctx: midstream.Context, payload: str) -> str:
        return payload

    mine = await owner.start_run(work.name, "mine")
    async with midstream.connect(keyed.url, api_key=keyed.other_key) as other:
        theirs = await other.start_run(work.name, "theirs")
        async with in_process_worker(other, [work]):
            assert [run.result async for run in other.watch_run(theirs.id)][-1] == "theirs"
    assert (await owner.get_run(mine.id)).state == midstream.RunState.QUEUED
    async with in_process_worker(owner, [work]):
        assert [run.result async for run in owner.watch_run(mine.id)][-1] == "mine"


async def test_lists_hold_only_ones_own(keyed: KeyedServer, owner: midstream.Client) -> None:
    mine = f"mine-{next(_numbers)}"
    await make(owner, mine)
    async with midstream.connect(keyed.url, api_key=keyed.other_key) as other:
        assert mine not in [run.id async for run in other.list_runs()]
    assert mine in [run.id async for run in owner.list_runs()]


async def test_a_token_that_another_namespace_revokes_is_not_touched(
    keyed: KeyedServer, channel: Channel, owner: midstream.Client
) -> None:
    run_id = f"kept-{next(_numbers)}"
    await make(owner, run_id)
    token = await owner.mint_token([can_read(run_id)])
    revoke = [token_service_pb2.RevokeTokenRequest(token_id=token.token_id)]
    nothing = [token_service_pb2.RevokeTokenRequest(token_id="x" * len(token.token_id))]
    answers = [await ask(channel, "RevokeToken", each, f"Bearer {keyed.other_key}") for each in (revoke, nothing)]
    assert answers[0] == answers[1]
    async with midstream.connect(keyed.url, access_token=token.token) as reader:
        assert (await reader.get_run(run_id)).id == run_id
