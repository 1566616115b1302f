"""`/metrics` and `/healthz`, and what the metrics say."""

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from midstream_server.domain.errors import Reason
from midstream_server.domain.run import State, TimerKind
from midstream_server.server import Server
from midstream_server.settings import Settings
from midstream_server.store.interface import Demand, Snapshot
from midstream_server.telemetry.http import MAX_CONNECTIONS, MetricsHttp
from midstream_server.telemetry.metrics import ACCEPTED, Metrics

NOTHING = Snapshot(runs_by_state={}, timers_by_kind={})
NO_DEMAND = Demand(queued={}, assigned={})


class Source:
    """A store's figures, as the test sets them."""

    def __init__(self) -> None:
        self.all = NOTHING
        self.wanted = NO_DEMAND
        self.error: Exception | None = None
        self.healthy = True
        self.counting = asyncio.Event()
        self.counting.set()
        self.counted = 0

    async def snapshot(self) -> Snapshot:
        self.counted += 1
        await self.counting.wait()
        return self.all

    async def demand(self) -> Demand:
        if self.error is not None:
            raise self.error
        return self.wanted


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def port(source: Source, metrics: Metrics) -> AsyncIterator[int]:
    http = MetricsHttp(metrics, healthy=lambda: source.healthy, source=source)
    yield http.start("127.0.0.1", 0)
    await http.stop()


async def get(port: int, path: str) -> tuple[int, str]:
    def fetch() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


async def scrape(port: int) -> dict[tuple[str, str], float]:
    """Samples by (name, value of the only label or empty)."""
    status, text = await get(port, "/metrics")
    assert status == HTTPStatus.OK
    families = text_string_to_metric_families(text)
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


async def test_counts_are_scraped(port: int, metrics: Metrics) -> None:
    metrics.sent(ACCEPTED, 3)
    metrics.sent(Reason.STREAM_FULL)
    metrics.send_took(0.002)
    metrics.delivered(5, 0.001)
    metrics.committed(7, 0.0004)
    samples = await scrape(port)
    assert samples["midstream_sends_total", "accepted"] == 3
    assert samples["midstream_sends_total", "STREAM_FULL"] == 1
    assert samples["midstream_sends_total", "RUN_FINISHED"] == 0
    assert samples["midstream_send_latency_seconds_count", ""] == 1
    assert samples["midstream_delivered_records_total", ""] == 5
    assert samples["midstream_deliver_latency_seconds_sum", ""] == 0.001
    assert samples["midstream_commit_batch_operations_sum", ""] == 7
    assert samples["midstream_commit_seconds_count", ""] == 1


async def test_gauges_follow_the_store_at_each_scrape(port: int, source: Source) -> None:
    source.all = Snapshot({State.RUNNING: 2, State.SUSPENDED: 4}, {TimerKind.UNHELD: 2})
    source.wanted = Demand(queued={"agent": 3}, assigned={"agent": 2})
    samples = await scrape(port)
    assert samples["midstream_runs", "RUNNING"] == 2
    assert samples["midstream_runs", "FAILED"] == 0
    assert samples["midstream_waits", ""] == 4
    assert samples["midstream_queue_depth", "agent"] == 3
    assert samples["midstream_assigned_runs", "agent"] == 2
    assert samples["midstream_timers", "UNHELD"] == 2
    source.wanted = NO_DEMAND
    samples = await scrape(port)
    assert ("midstream_queue_depth", "agent") not in samples
    assert ("midstream_assigned_runs", "agent") not in samples


async def test_the_queue_is_told_while_a_count_of_everything_takes_its_time(port: int, source: Source) -> None:
    source.all = Snapshot({State.SUSPENDED: 4}, {})
    source.counting.clear()
    for depth in (3, 5):
        source.wanted = Demand(queued={"agent": depth}, assigned={})
        samples = await scrape(port)
        assert samples["midstream_queue_depth", "agent"] == depth
        assert samples["midstream_waits", ""] == 0
    assert source.counted == 1
    source.counting.set()
    assert (await scrape(port))["midstream_waits", ""] == 4
    # It took long; so it is not done again soon.
    assert (await scrape(port))["midstream_waits", ""] == 4
    assert source.counted == 1


async def test_a_failing_store_leaves_the_other_metrics_readable(port: int, source: Source, metrics: Metrics) -> None:
    source.error = OSError("disk")
    metrics.sent(ACCEPTED)
    with capture_logs() as logs:
        assert (await scrape(port))["midstream_sends_total", "accepted"] == 1
    assert [event["event"] for event in logs] == ["snapshot_failed"]


async def test_healthz_says_when_the_server_drains(port: int, source: Source) -> None:
    assert await get(port, "/healthz") == (HTTPStatus.OK, "ok\n")
    source.healthy = False
    assert await get(port, "/healthz") == (HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")


async def test_other_paths_are_not_found(port: int) -> None:
    status, _ = await get(port, "/")
    assert status == HTTPStatus.NOT_FOUND


async def test_connections_beyond_the_bound_are_closed_and_those_within_are_served(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", port)) as refused:
        assert await asyncio.to_thread(refused.recv, 1) == b""
    for each in silent:
        each.close()


async def test_the_server_serves_its_own_metrics(settings: Settings) -> None:
    async with Server(settings.model_copy(update={"metrics_listen": "127.0.0.1:0"})) as server:
        assert server.metrics_url == f"http://127.0.0.1:{server.metrics_port}/metrics"
        assert server.metrics_port is not None
        assert ("midstream_sends_total", "accepted") in await scrape(server.metrics_port)


async def test_the_server_serves_none_where_the_setting_is_empty(server: Server) -> None:
    assert server.metrics_port is None
    assert server.metrics_url is None
