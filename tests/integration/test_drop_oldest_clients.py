"""Streams that keep only the newest, from their declaration to attached runs, tasks and the command line."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import midstream
from midstream import RunState, StreamFull, input_stream
from midstream.cli import main
from midstream.runtime.context import Context
from midstream.task import task
from midstream.testing import LocalServer, in_process_worker
from support.heard import Heard
from support.server_process import ServerProcess

latest = input_stream("latest", int, max_unread_records=1, when_full="drop_oldest")
few = input_stream("few", int, max_unread_records=2)
go = input_stream("go")


async def test_receipts_tell_what_was_dropped(local: LocalServer) -> None:
    await local.client.schemas.register([latest, few])
    async with local.client.attach(task="t") as run:
        run.detach()
    assert [(await local.client.send(run.id, latest, value)).dropped for value in (1, 2)] == [0, 1]
    results = await local.client.send_many(run.id, latest, [3, 4, 5])
    assert sum(result.unwrap().dropped for result in results) == 3
    assert [result.ok for result in await local.client.send_many(run.id, few, [1, 2, 3])] == [True, True, False]
    with pytest.raises(StreamFull):
        await local.client.send(run.id, few, 4)
    async with local.client.attach(run.id) as run:
        assert latest.peek() == 5
        assert await latest.drain() == [5]
        assert await few.drain() == [1, 2]
    assert (await local.client.get_run(run.id)).stream("latest").cursor == 5


async def test_a_slow_handler_holds_nothing_up_and_its_failure_is_recorded(local: LocalServer) -> None:
    """It may still see what had been delivered before it was dropped: at least once."""
    await local.client.schemas.register([latest])
    gate = asyncio.Event()
    began, done = Heard[int](), asyncio.Event()

    async def slow(value: int) -> None:
        began(value)
        await gate.wait()
        if value == 5:
            done.set()
        if value == 1:
            raise ValueError("one")

    async with local.client.attach(task="t") as run:
        latest.on(slow)
        await local.client.send(run.id, latest, 1)
        await began.first(1)
        for value in (2, 3, 4, 5):
            assert (await local.client.send(run.id, latest, value)).dropped == 1
        gate.set()
        await done.wait()
    info = await local.client.get_run(run.id)
    assert began.values == sorted(set(began.values))
    assert (info.stream("latest").cursor, info.stream("latest").unread_count) == (5, 0)
    assert [(failure.seq, failure.message) for failure in info.handler_failures] == [(1, "one")]


@task("keeps-the-latest")
async def keeps_the_latest(ctx: Context) -> list[Any]:
    seen: list[Any] = []
    for _ in range(2):
        await go.wait()
        seen.append(await latest.drain())
    return seen


@pytest.mark.parametrize("idle_timeout", ["0s", "1h"])
async def test_a_task_sees_the_latest_whether_or_not_it_was_suspended(local: LocalServer, idle_timeout: str) -> None:
    await local.client.schemas.register([latest])
    async with in_process_worker(local.client, [keeps_the_latest], idle_timeout=idle_timeout):
        run = await local.client.start_run("keeps-the-latest", records=[(latest, 1), (latest, 2)])
        for first in (3, 5):
            for value in (first, first + 1):
                await local.client.send(run.id, latest, value)
            await local.client.send(run.id, go, None)
        async for info in local.client.watch_run(run.id):
            if info.state.is_final:
                break
    info = await local.client.get_run(run.id)
    assert (info.state, info.stream("latest").unread_count) == (RunState.COMPLETED, 0)
    assert info.result == [[4], [6]]


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as process:
        monkeypatch.setenv("MIDSTREAM_URL", process.url)
        yield process


def test_the_command_line_says_what_was_dropped(process: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    async def prepare() -> str:
        async with midstream.connect() as client, client.attach(task="t") as run:
            await client.schemas.register([latest])
            run.detach()
            return run.id

    run_id = asyncio.run(prepare())
    for arguments in (["1"], ["2"], ["3", "--json"]):
        assert main(["send", run_id, "latest", *arguments]) == 0
    plain, dropped, shape = capsys.readouterr().out.splitlines()
    assert plain == "Stored as latest #1."
    assert dropped == "Stored as latest #2. 1 unread record dropped to make room."
    assert json.loads(shape)["dropped_count"] == 1
    assert main(["runs", "show", run_id]) == 0
    timeline = capsys.readouterr().out.split("Timeline")[1]
    lines = [line.partition(" ms  ")[2].split(maxsplit=1) for line in timeline.splitlines() if "made room" in line]
    assert lines == [["dropped", f"latest #{seq}  1 unread record made room for the next one"] for seq in (1, 2)]
    assert main(["runs", "show", run_id, "--json"]) == 0
    log = json.loads(capsys.readouterr().out)["log"]
    assert [each["records_dropped"] for each in log if "records_dropped" in each] == [
        {"stream_id": "latest", "first_seq": 1, "last_seq": 1},
        {"stream_id": "latest", "first_seq": 2, "last_seq": 2},
    ]
