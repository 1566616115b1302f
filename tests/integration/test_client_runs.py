"""Runs, against a real server: starting, finding, listing, watching, cancelling, following their records."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import midstream
from midstream import Client, MidstreamError, RunKind, RunState, input_stream
from midstream_server.server import Server
from midstream_server.settings import Settings

chat = input_stream("chat", str)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with midstream.connect(server.url) as client:
        yield client


async def test_a_started_run_is_as_it_was_asked_for(client: Client) -> None:
    run = await client.start_run(
        "research-agent",
        {"topic": "tea"},
        records=[(chat, "hello"), ("events", None)],
        max_duration="1h",
        metadata={"team": "a"},
    )
    assert run.id.startswith("run_")
    assert (run.task, run.kind, run.state) == ("research-agent", RunKind.MANAGED, RunState.QUEUED)
    assert (run.payload, run.result, run.failure) == ({"topic": "tea"}, None, None)
    assert run.deadline is not None
    assert run.deadline - run.create_time == timedelta(hours=1)
    assert run.metadata == {"team": "a"}
    assert [(stream.stream_id, stream.last_seq, stream.unread_count) for stream in run.streams] == [
        ("chat", 1, 1),
        ("events", 1, 1),
    ]
    assert run.stream("never").last_seq == 0
    found = await client.get_run(run.id)
    assert found == run
    assert [record.value async for record in client.list_records(run.id)] == ["hello", None]


async def test_the_same_start_again_finds_the_run_and_another_is_refused(client: Client) -> None:
    first = await client.start_run("research-agent", 1, run_id="report-7", records=[(chat, "a")])
    again = await client.start_run("research-agent", 1, run_id="report-7", records=[(chat, "a")])
    assert again.create_time == first.create_time
    with pytest.raises(MidstreamError) as caught:
        await client.start_run("research-agent", 2, run_id="report-7")
    assert caught.value.reason == "RUN_ID_REUSED"


async def test_an_unknown_run(client: Client) -> None:
    with pytest.raises(midstream.RunNotFound):
        await client.get_run("run_unknown")
    with pytest.raises(midstream.RunNotFound):
        await client.cancel_run("run_unknown")
    with pytest.raises(midstream.RunNotFound):
        await client.peek("run_unknown", chat)
    with pytest.raises(midstream.RunNotFound):
        await anext(client.watch_run("run_unknown"))
    with pytest.raises(midstream.RunNotFound):
        await anext(client.tail("run_unknown"))


@pytest.mark.parametrize("max_duration", ["-1s", "5 parsecs", "20y", True])
async def test_a_duration_that_makes_no_sense_is_no_missing_one(client: Client, max_duration: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        await client.start_run("research-agent", max_duration=max_duration)


async def test_runs_are_listed_newest_first_page_after_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midstream.client._RUNS_PER_PAGE", 2)
    ids = [(await client.start_run("research-agent")).id for _ in range(5)]
    other = await client.start_run("another-task")
    await client.cancel_run(ids[0])
    assert [run.id async for run in client.list_runs()] == [other.id, *reversed(ids)]
    assert [run.id async for run in client.list_runs(task="research-agent", states=["QUEUED"])] == ids[:0:-1]
    assert [run.id async for run in client.list_runs(states=[RunState.CANCELLED])] == [ids[0]]
    with pytest.raises(ValueError, match="ASLEEP"):
        await anext(client.list_runs(states=["ASLEEP"]))


async def test_watching_sees_changes_and_ends_with_the_run(client: Client) -> None:
    run = await client.start_run("research-agent")
    seen: list[midstream.Run] = []
    async for now in client.watch_run(run.id):
        seen.append(now)
        if len(seen) == 1:
            await client.send(run.id, chat, "hello")
        elif now.stream("chat").unread_count and not now.state.is_final:
            await client.cancel_run(run.id)
    assert seen[0].state is RunState.QUEUED
    assert seen[-1].state is RunState.CANCELLED
    assert seen[-1].finish_time is not None
    assert seen[-1].stream("chat").unread_count == 1
    assert [now.state async for now in client.watch_run(run.id)] == [RunState.CANCELLED]


async def test_tail_follows_from_any_offset_until_the_run_ends(client: Client) -> None:
    run = await client.start_run("research-agent", records=[(chat, "1"), ("events", 2)])
    receipt = await client.send(run.id, chat, "3")
    tail = client.tail(run.id, chat)
    assert [(await anext(tail)).value, (await anext(tail)).value] == ["1", "3"]
    next_one = asyncio.ensure_future(anext(tail))
    await client.send(run.id, chat, "4")
    assert (await next_one).value == "4"
    await client.cancel_run(run.id)
    assert [record.value async for record in tail] == []
    assert [record.value async for record in client.tail(run.id)] == ["1", 2, "3", "4"]
    assert [record.value async for record in client.tail(run.id, after_offset=receipt.offset)] == ["4"]


async def test_leaving_a_tail_early_ends_its_call(client: Client) -> None:
    run = await client.start_run("research-agent", records=[(chat, "1")])
    tail = client.tail(run.id)
    assert (await anext(tail)).value == "1"
    await tail.aclose()
    assert (await client.send(run.id, chat, "2")).seq == 2


async def test_watch_and_tail_go_on_over_a_restart(tmp_path: Path) -> None:
    settings = Settings(
        database=tmp_path / "midstream.db", listen="127.0.0.1:0", metrics_listen="", web_listen="", drain_seconds=1
    )
    first = Server(settings)
    await first.start()
    async with midstream.connect(first.url) as client:
        run = await client.start_run("research-agent", records=[(chat, "1")])
        tail, watch = client.tail(run.id), client.watch_run(run.id)
        assert (await anext(tail)).value == "1"
        assert (await anext(watch)).state is RunState.QUEUED
        await first.stop()
        async with Server(settings.model_copy(update={"listen": f"127.0.0.1:{first.port}"})):
            await client.send(run.id, chat, "2")
            assert (await anext(tail)).value == "2"
            await client.cancel_run(run.id)
            assert [record.value async for record in tail] == []
            assert [now.state async for now in watch][-1] is RunState.CANCELLED


async def test_a_call_waits_for_a_server_that_comes_back(tmp_path: Path) -> None:
    settings = Settings(
        database=tmp_path / "midstream.db", listen="127.0.0.1:0", metrics_listen="", web_listen="", drain_seconds=1
    )
    first = Server(settings)
    await first.start()
    async with midstream.connect(first.url) as client:
        await first.stop()
        starting = asyncio.create_task(client.start_run("research-agent"))
        await asyncio.sleep(0)
        async with Server(settings.model_copy(update={"listen": f"127.0.0.1:{first.port}"})):
            assert (await starting).state is RunState.QUEUED


async def test_without_a_server_a_call_fails_when_its_time_is_up() -> None:
    async with midstream.connect("grpc://127.0.0.1:1", retry_timeout="10ms") as client:
        with pytest.raises(midstream.Unavailable):
            await client.get_run("run_1")


async def test_a_closed_client_says_so(server: Server) -> None:
    async with midstream.connect(server.url) as client:
        assert client.url == server.url
    assert client.closed
    with pytest.raises(MidstreamError, match="closed"):
        await client.get_run("run_1")


async def test_closing_ends_a_call_with_an_error_and_not_as_if_its_task_was_cancelled(server: Server) -> None:
    client = midstream.connect(server.url)
    run = await client.start_run("research-agent")
    watch, tail = client.watch_run(run.id), client.tail(run.id)
    await anext(watch)
    waiting = [asyncio.ensure_future(anext(watch)), asyncio.ensure_future(anext(tail))]
    await asyncio.sleep(0)
    await client.close()
    for call in waiting:
        with pytest.raises(MidstreamError, match="closed"):
            await call


def test_a_url_or_timeout_that_makes_no_sense_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="ftp"):
        midstream.connect("ftp://x")
    with pytest.raises(ValueError, match="parsecs"):
        midstream.connect(retry_timeout="5 parsecs")
    with pytest.raises(ValueError, match="over 0"):
        midstream.connect(retry_timeout=0)
