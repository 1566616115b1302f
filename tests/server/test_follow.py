"""Following many runs in one call: order, fairness, ends, errors of one target, heartbeats, going on after a break."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from midstream.clock import ManualClock
from midstream.v1 import run_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.operations.follow import HEARTBEAT_US, MAX_TARGETS
from midstream_server.server import Server
from support.calls import attach, finish, numbers, reason_of, send
from support.follow import Heard, records_of, state_of
from support.stubs import Stubs


def follow(stubs: Stubs, *targets: pb.FollowRequest.Target) -> Any:
    return stubs.streams.Follow(pb.FollowRequest(targets=targets))


async def hear(call: Any, until: int) -> Heard:
    """All until so many records or views have come."""
    heard = Heard()
    while heard.news < until:
        heard.take(await call.read())
    return heard


async def test_records_and_states_of_several_runs_come_in_one_call(stubs: Stubs) -> None:
    first, second = await attach(stubs), await attach(stubs)
    await send(stubs, first, "1", stream_id="a")
    call = follow(stubs, records_of(1, first), records_of(2, second, stream_id="b"), state_of(-3, second))
    heard = await hear(call, 2)
    await send(stubs, second, "2", stream_id="b")
    await send(stubs, second, "3", stream_id="a")
    await finish(stubs, first)
    await finish(stubs, second)
    while (response := await call.read()) is not grpc.aio.EOF:
        heard.take(response)
    assert heard.values == {1: [1], 2: [2]}
    assert heard.states[-3][0].state == run_pb2.Run.STATE_RUNNING
    assert heard.states[-3][-1].state == run_pb2.Run.STATE_COMPLETED
    assert heard.ended == {1, 2, -3}
    assert await call.code() is grpc.StatusCode.OK


async def test_a_busy_target_does_not_crowd_out_another(stubs: Stubs) -> None:
    busy, quiet = await attach(stubs), await attach(stubs)
    for begin in range(0, 5_000, 1_000):
        await send(stubs, busy, *numbers(begin + 1, begin + 1_000), stream_id="s")
    await send(stubs, quiet, "7")
    call = follow(stubs, records_of(1, busy), records_of(2, quiet))
    assert [(await call.read()).ref for _ in range(3)] == [1, 2, 1]


async def test_a_refused_target_is_over_and_the_others_go_on(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1")
    nothing = pb.FollowRequest.Target(ref=5, run_id=run_id)
    call = follow(stubs, state_of(1, "run_none"), records_of(2, run_id, stream_id="?"), nothing, records_of(3, run_id))
    heard = await hear(call, 1)
    await finish(stubs, run_id)
    while (response := await call.read()) is not grpc.aio.EOF:
        heard.take(response)
    assert heard.refused == {1: "RUN_NOT_FOUND", 2: "FIELD_INVALID", 5: "FIELD_INVALID"}
    assert (heard.values, heard.ended) == ({3: [1]}, {3})


@pytest.mark.parametrize(
    "targets",
    [
        [],
        [records_of(0, "run_1")],
        [records_of(1, "run_1"), state_of(1, "run_1")],
        [records_of(ref + 1, "run_1") for ref in range(MAX_TARGETS + 1)],
    ],
    ids=["none", "ref 0", "one ref twice", "too many"],
)
async def test_what_makes_no_sense_is_refused_as_a_whole(stubs: Stubs, targets: Sequence[Any]) -> None:
    assert await reason_of(follow(stubs, *targets).read()) == "FIELD_INVALID"


async def test_silence_is_broken_by_heartbeats(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call = follow(stubs, state_of(1, run_id))
    assert (await call.read()).HasField("run")
    for _ in range(2):
        await server.advance(HEARTBEAT_US - 1)
        await server.advance(1)
        response = await call.read()
        assert (response.ref, response.WhichOneof("what")) == (0, "heartbeat")


async def test_news_put_off_the_heartbeat(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call = follow(stubs, records_of(1, run_id))
    for text in ("1", "2"):
        await server.advance(HEARTBEAT_US - 1)
        await send(stubs, run_id, text)
        assert (await call.read()).HasField("records")
    await server.advance(HEARTBEAT_US)
    assert (await call.read()).HasField("heartbeat")


async def test_a_follower_goes_on_from_its_positions_and_adds_a_target(stubs: Stubs) -> None:
    first, second = await attach(stubs), await attach(stubs)
    await send(stubs, first, "1", "2")
    call = follow(stubs, records_of(1, first))
    heard = await hear(call, 2)
    call.cancel()
    await send(stubs, first, "3")
    await send(stubs, second, "4")
    call = follow(stubs, records_of(1, first, after_offset=heard.offsets[1]), records_of(2, second))
    again = await hear(call, 2)
    assert (heard.values, again.values) == ({1: [1, 2]}, {1: [3], 2: [4]})


async def test_a_server_that_drains_says_so_to_the_whole_call(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call = follow(stubs, state_of(1, run_id), records_of(2, run_id))
    assert (await call.read()).HasField("run")
    stopping = asyncio.create_task(server.stop())
    assert await reason_of(call.read()) == "SERVER_DRAINING"
    await stopping


async def test_a_follower_that_leaves_leaves_nothing_behind(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call = follow(stubs, state_of(1, run_id), records_of(2, run_id))
    await call.read()
    call.cancel()
    method = {"method": "/midstream.v1.StreamService/Follow"}
    while server.metrics.registry.get_sample_value("midstream_open_streams", method):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await server.advance(HEARTBEAT_US)
    assert isinstance(server.clock, ManualClock)
    assert server.clock.sleeper_count <= 1, "no more than the timekeeper"
