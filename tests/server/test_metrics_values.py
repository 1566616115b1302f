"""The metrics say what happened."""

import asyncio
import urllib.request
from pathlib import Path

import pytest

from midstream.v1 import run_pb2, run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.calls import SECOND_US, STREAM, Subscriber, attach, finish, get_run, new_record, reason_of, send, until
from support.stubs import Stubs

METHODS = "/midstream.v1.StreamService/"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        database=tmp_path / "midstream.db", listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", web_listen=""
    )


def sample(server: Server, name: str, **labels: str) -> float:
    return server.metrics.registry.get_sample_value(name, labels) or 0.0


async def scraped(server: Server) -> str:
    """The page that Prometheus reads. Gauges over stored runs are read for it."""
    assert server.metrics_url is not None
    url = server.metrics_url

    def read() -> str:
        with urllib.request.urlopen(url) as response:
            text: str = response.read().decode()
            return text

    return await asyncio.to_thread(read)


async def test_sends_are_counted_by_result(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1", "2", "nonsense", "1")
    request = pb.SendOneRequest(run_id="no-run", stream_id=STREAM, records=[new_record("1"), new_record("2")])
    await stubs.streams.SendOne(request)
    results = ("accepted", "deduplicated", "PAYLOAD_INVALID", "RUN_NOT_FOUND", "STREAM_FULL")
    assert [sample(server, "midstream_sends_total", result=result) for result in results] == [2, 1, 1, 2, 0]
    assert sample(server, "midstream_send_latency_seconds_count") == 2
    assert sample(server, "midstream_commit_batch_operations_sum") >= 2
    assert sample(server, "midstream_commit_seconds_count") >= 2


async def test_deliveries_are_counted_with_their_age(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1", "2", "3")
    await server.advance(5 * SECOND_US)
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(3)
    await reader.half_closes()
    await reader.ends()
    assert sample(server, "midstream_delivered_records_total") == 3
    assert sample(server, "midstream_deliver_latency_seconds_count") == 1
    assert sample(server, "midstream_deliver_latency_seconds_sum") == 5


async def test_calls_and_streams_are_counted(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    subscribe = METHODS + "Subscribe"
    readers = [await Subscriber(stubs, run_id, f"s{number}").open() for number in range(3)]
    assert sample(server, "midstream_open_streams", method=subscribe) == 3
    await readers[0].half_closes()
    await readers[0].ends()
    readers[1].cancel()
    await finish(stubs, run_id)
    await readers[2].hears("run_ended")
    await until(lambda: sample(server, "midstream_open_streams", method=subscribe) == 0)
    codes = {code: sample(server, "midstream_calls_total", method=subscribe, code=code) for code in ("OK", "CANCELLED")}
    assert sum(codes.values()) == 3
    assert await reason_of(get_run(stubs, "no-run")) == "RUN_NOT_FOUND"
    method = "/midstream.v1.RunService/GetRun"
    await until(lambda: sample(server, "midstream_calls_total", method=method, code="NOT_FOUND") == 1)


async def test_gauges_show_the_stored_runs(server: Server, stubs: Stubs) -> None:
    await attach(stubs, max_seconds=60)
    await finish(stubs, await attach(stubs))
    for _ in range(3):
        await stubs.runs.StartRun(run_service_pb2.StartRunRequest(spec=run_pb2.RunSpec(task="agent")))
    lines = (await scraped(server)).splitlines()
    assert 'midstream_runs{state="QUEUED"} 3.0' in lines
    assert 'midstream_runs{state="RUNNING"} 1.0' in lines
    assert 'midstream_runs{state="COMPLETED"} 1.0' in lines
    assert 'midstream_queue_depth{task="agent"} 3.0' in lines
    assert "midstream_waits 0.0" in lines
    for kind in ("DEADLINE", "UNHELD", "RETENTION"):
        assert f'midstream_timers{{kind="{kind}"}} 1.0' in lines
