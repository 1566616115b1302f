"""The load balancer as deployed, in front of two servers on one PostgreSQL: calls spread, whoever is dead gets none."""

import asyncio
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from grpc.aio import AioRpcError
from prometheus_client.parser import text_string_to_metric_families

import midstream
from midstream import input_stream
from midstream.v1 import run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from support.calls import STREAM, attach, connected, send, until
from support.envoy import Envoy, running_envoy
from support.follow import Heard, records_of
from support.postgres import Databases
from support.server_process import ServerProcess
from support.stubs import Stubs
from support.web import STREAMS, Page, follow_on, hear, socket

TAIL = STREAMS + "Tail"
SOCKETS = 6
MANY = 1_200
"""More streams than Envoy's own bounds allow, on one connection."""


class Site(NamedTuple):
    envoy: Envoy
    servers: list[ServerProcess]

    @property
    def url(self) -> str:
        return f"grpc://{self.envoy.address('grpc')}"


@pytest.fixture(scope="module")
def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as started:
        store = started.enter_context(databases.one())
        servers = []
        for name in "ab":
            home: Path = tmp_path_factory.mktemp(name)
            servers.append(started.enter_context(ServerProcess(home, args=["--store", store])))
        addresses = {
            "grpc": [(address(server.url), metrics_port(server)) for server in servers],
            "web": [(address(server.web_url), metrics_port(server)) for server in servers],
        }
        envoy = started.enter_context(running_envoy(tmp_path_factory.mktemp("envoy"), addresses))
        for cluster, hosts in addresses.items():
            envoy.until_healthy(cluster, {host for host, _ in hosts})
        yield Site(envoy, servers)


def address(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def metrics_port(server: ServerProcess) -> int:
    return int(address(server.metrics_url).rpartition(":")[2])


def told(server: ServerProcess, name: str, **labels: str) -> float:
    with urllib.request.urlopen(server.metrics_url) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = (sample for family in families for sample in family.samples)
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


async def open_tails(stubs: Stubs, run_id: str, count: int) -> list[asyncio.Task[str]]:
    """Each has its first record, and tells how it ended."""
    await send(stubs, run_id, "1")
    first = asyncio.Semaphore(0)

    async def tail() -> str:
        try:
            async for _ in stubs.streams.Tail(pb.TailRequest(run_id=run_id, stream_id=STREAM)):
                first.release()
        except AioRpcError as error:
            return error.code().name
        return "OK"

    tails = [asyncio.create_task(tail()) for _ in range(count)]
    for _ in tails:
        await first.acquire()
    return tails


async def test_streams_and_calls_of_one_connection_spread_over_both(site: Site) -> None:
    async with connected(site.url) as stubs:
        run_id = await attach(stubs)
        tails = await open_tails(stubs, run_id, MANY)
        streams = [told(server, "midstream_open_streams", method=TAIL) for server in site.servers]
        assert sum(streams) == MANY
        assert streams == [MANY / 2] * 2

        for _ in range(40):
            await stubs.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run_id))
        method = "/midstream.v1.RunService/GetRun"
        calls = [told(server, "midstream_calls_total", method=method, code="OK") for server in site.servers]
        assert sum(calls) == 40
        assert min(calls) > 0
        for each in tails:
            each.cancel()


async def test_pages_and_their_websockets_pass(site: Site) -> None:
    page = Page(f"http://{site.envoy.address('web')}")
    async with page.http:
        run_id = await page.attach()
        assert (await page.send(run_id, 1)).status_code == 200
        heard = [Heard() for _ in range(SOCKETS)]
        async with asyncio.timeout(30):
            async with await socket(page.url) as first:
                await follow_on(first, [records_of(1, run_id)])
                await hear(first, heard[0], news=1)
                others = [await socket(page.url) for _ in heard[1:]]
                for opened, its in zip(others, heard[1:], strict=True):
                    await follow_on(opened, [records_of(1, run_id)])
                    await hear(opened, its, news=1)
                follows = [told(server, "midstream_open_streams", method=STREAMS + "Follow") for server in site.servers]
                assert follows == [SOCKETS / 2] * 2
                await page.send(run_id, 2)
                for opened, its in zip([first, *others], heard, strict=True):
                    await hear(opened, its, news=2)
                await asyncio.gather(*(opened.close() for opened in others))
    assert [its.values for its in heard] == [{1: [1, 2]}] * SOCKETS


async def test_a_killed_server_gets_nothing_more_until_it_is_back(site: Site) -> None:
    killed, other = site.servers
    inputs = input_stream(STREAM, int)
    heard: list[int] = []
    async with midstream.connect(site.url) as client, client.attach(task="t") as run, connected(site.url) as stubs:
        inputs.on(heard.append)
        run_id = await attach(stubs)
        tails = await open_tails(stubs, run_id, 20)
        # Those of the test before may take a while to go.
        await until(lambda: sum(told(each, "midstream_open_streams", method=TAIL) for each in site.servers) == 20)
        lost = told(killed, "midstream_open_streams", method=TAIL)
        # About half: the run and its sender have streams of their own, and all are balanced together.
        assert 8 <= lost <= 12

        killed.kill9()
        await until(lambda: sum(each.done() for each in tails) == lost)
        # What Envoy makes of a stream that has had an answer; the clients take it for what it is.
        assert {each.result() for each in tails if each.done()} == {"INTERNAL"}
        site.envoy.until_healthy("grpc", {address(other.url)})
        for number in range(20):
            await send(stubs, run_id, str(100 + number))
            await client.send(run.id, STREAM, number)
        await until(lambda: heard == list(range(20)))
        assert sum(each.done() for each in tails) == lost

        killed.restart()
        site.envoy.until_healthy("grpc", {address(each.url) for each in site.servers})
        tails += await open_tails(stubs, run_id, 10)
        assert told(killed, "midstream_open_streams", method=TAIL) >= 8
        for each in tails:
            each.cancel()
