"""What is acknowledged when, who holds a stream, and broken connections: no gap, and no repeat but after a crash."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import midstream
from midstream import Client, Fenced, RunState
from midstream.clock import ManualClock
from midstream.input_stream import input_stream
from midstream.testing import LocalServer
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.heard import Heard
from support.server_process import ServerProcess

numbers = input_stream("numbers", int)
others = input_stream("others", int)


async def _cursor(client: Client, run_id: str) -> int:
    return (await client.get_run(run_id)).stream("numbers").cursor


async def test_a_record_is_acknowledged_when_its_stream_is_next_asked(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        await local.client.send_many(run.id, numbers, [1, 2, 3])
        await numbers.once()
        await numbers.once()
        async for seen in local.client.watch_run(run.id):
            if seen.stream("numbers").cursor:
                break
        assert await _cursor(local.client, run.id) == 1
        await numbers.ack()
        assert await _cursor(local.client, run.id) == 2
        run.detach()
    assert await _cursor(local.client, run.id) == 2


async def test_the_cursor_waits_for_the_slowest_handler(local: LocalServer) -> None:
    gate = asyncio.Event()
    quick = Heard[int]()

    async def slow(number: int) -> None:
        await gate.wait()

    async with local.client.attach(task="t") as run:
        numbers.on(slow)
        numbers.on(quick)
        await local.client.send_many(run.id, numbers, [1, 2])
        await quick.first(2)
        await numbers.ack()
        assert await _cursor(local.client, run.id) == 0
        gate.set()
        run.detach()
    assert await _cursor(local.client, run.id) in (1, 2)


async def test_a_crash_after_receive_and_before_ack_delivers_again(local: LocalServer) -> None:
    """The process that crashes is a client of its own, whose block never gets to say anything more."""
    crashing = midstream.connect(local.url)
    received = asyncio.Event()

    async def process() -> None:
        async with crashing.attach("job", task="t"):
            assert (await numbers.once()).unwrap() == 1
            assert (await numbers.once()).unwrap() == 2
            await numbers.ack()
            assert (await numbers.once()).unwrap() == 3
            received.set()
            await asyncio.Event().wait()

    async with local.client.attach("job", task="t") as run:
        run.detach()
    await local.client.send_many("job", numbers, [1, 2, 3, 4])
    process_task = asyncio.create_task(process())
    await received.wait()
    await crashing.close()
    async with local.client.attach("job") as run:
        assert await numbers.drain() == [3, 4]
        run.detach()
    process_task.cancel()
    await asyncio.wait([process_task])
    assert (await local.client.get_run("job")).state is RunState.RUNNING


async def test_the_newest_holder_wins_and_the_old_ones_block_ends_with_fenced(local: LocalServer) -> None:
    holding = asyncio.Event()

    async def old_holder() -> None:
        async with local.client.attach("job", task="t"):
            assert (await numbers.once()).unwrap() == 1
            holding.set()
            await numbers.once()

    async with local.client.attach("job", task="t") as run:
        run.detach()
    await local.client.send("job", numbers, 1)
    old = asyncio.create_task(old_holder())
    await holding.wait()
    async with local.client.attach("job"):
        # 1 comes again unless the old holder's acknowledgement of it, due with its second call, was quicker.
        assert await numbers.drain() in ([1], [])
        with pytest.raises(Fenced):
            await old
        assert (await local.client.get_run("job")).state is RunState.RUNNING
        await local.client.send("job", numbers, 2)
        assert (await numbers.once()).unwrap() == 2
    assert (await local.client.get_run("job")).state is RunState.COMPLETED


async def test_fenced_ends_a_block_that_is_busy_elsewhere(local: LocalServer) -> None:
    holding = asyncio.Event()

    async def old_holder() -> None:
        async with local.client.attach("job", task="t"):
            numbers.on(lambda number: None)
            assert (await others.once()).unwrap() == 1
            holding.set()
            await asyncio.Event().wait()

    async with local.client.attach("job", task="t") as run:
        run.detach()
    await local.client.send("job", others, 1)
    old = asyncio.create_task(old_holder())
    await holding.wait()
    async with local.client.attach("job"):
        # Taking `others` is enough: the block that held it ends as a whole.
        assert (await others.once(timeout=0)).ok
        with pytest.raises(Fenced):
            await old


async def test_two_runs_in_one_process_do_not_share_their_streams(local: LocalServer) -> None:
    async def work(run_id: str, number: int) -> list[int]:
        async with local.client.attach(run_id, task="t"):
            await numbers.send(run_id, number)
            return [(await numbers.once()).unwrap()]

    assert await asyncio.gather(*(work(f"run-{n}", n) for n in range(5))) == [[0], [1], [2], [3], [4]]


class Restartable:
    """An in-process server that can be stopped and started again on its database and port."""

    def __init__(self, directory: Path) -> None:
        self._settings = Settings(
            database=directory / "midstream.db", listen="127.0.0.1:0", metrics_listen="", web_listen="", drain_seconds=5
        )
        self._server = Server(self._settings, clock=ManualClock())

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def restart(self) -> None:
        await self.stop()
        settings = self._settings.model_copy(update={"listen": self.url.removeprefix("grpc://")})
        self._server = Server(settings, clock=ManualClock())
        await self._server.start()


@pytest.fixture
async def restartable(tmp_path: Path) -> AsyncIterator[Restartable]:
    server = Restartable(tmp_path)
    await server.start()
    yield server
    await server.stop()


async def test_a_subscription_outlives_the_server_without_a_gap_or_a_repeat(restartable: Restartable) -> None:
    heard, answers = Heard[int](), Heard[int]()

    async def answer() -> None:
        async for number in others:
            answers(number)

    async with midstream.connect(restartable.url) as client, client.attach(task="t") as run:
        numbers.on(heard)
        answering = asyncio.create_task(answer())
        for round_ in range(4):
            batch = range(round_ * 50, round_ * 50 + 50)
            sending = asyncio.gather(client.send_many(run.id, numbers, batch), client.send_many(run.id, others, batch))
            if round_:
                await restartable.restart()
            results = await sending
            assert all(result.ok for many in results for result in many)
        assert await heard.first(200) == list(range(200))
        assert await answers.first(200) == list(range(200))
        await client.send(run.id, numbers, 200)
        assert (await heard.first(201))[-1] == 200
        answering.cancel()
        await asyncio.wait([answering])
    assert len(heard.values) == 201
    async with midstream.connect(restartable.url) as client:
        info = await client.get_run(run.id)
        assert info.state is RunState.COMPLETED
        assert info.stream("numbers").cursor == 201


async def test_a_subscription_outlives_kill_9_without_a_gap_or_a_repeat(server_process: ServerProcess) -> None:
    heard = Heard[int]()
    async with midstream.connect(server_process.url) as client, client.attach(task="t") as run:
        numbers.on(heard)
        for round_ in range(3):
            batch = range(round_ * 300, round_ * 300 + 300)
            sending = asyncio.ensure_future(client.send_many(run.id, numbers, batch))
            await heard.first(batch.start + 1)
            await asyncio.to_thread(server_process.kill9)
            await asyncio.to_thread(server_process.start)
            assert all(result.ok for result in await sending)
        assert await heard.first(900) == list(range(900))
    assert len(heard.values) == 900


async def test_a_failure_is_recorded_once_across_a_restart(restartable: Restartable) -> None:
    heard = Heard[int]()

    def bad(number: int) -> None:
        heard(number)
        raise ValueError

    async with midstream.connect(restartable.url) as client:
        async with client.attach(task="t") as run:
            numbers.on(bad)
            await client.send(run.id, numbers, 1)
            await heard.first(1)
            await restartable.restart()
            await client.send(run.id, numbers, 2)
            await heard.first(2)
        assert (await client.get_run(run.id)).handler_failure_count == 2
