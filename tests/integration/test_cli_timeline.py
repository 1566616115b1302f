"""`midstream runs show` tells what happened to a run, from the log that a real server kept."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

import midstream
from midstream.cli import main
from support.raw_worker import RawWorker
from support.server_process import ServerProcess

TASK = "research-agent"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("timeline")) as process:
        yield process


@pytest.fixture(autouse=True)
def url(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MIDSTREAM_URL", server.url)
    monkeypatch.setenv("TZ", "UTC")
    return server.url


def show(capsys: pytest.CaptureFixture[str], run_id: str, *options: str) -> str:
    assert main(["runs", "show", run_id, *options]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def lines_of(page: str) -> list[str]:
    """The timeline, without offsets and times."""
    lines = page.partition("Timeline\n")[2].partition("\n\n")[0].splitlines()
    # Offset (5), clock (12) and distance (12), with two spaces between them.
    return [line[35:].rstrip() for line in lines if line.startswith(" ")]


def in_order(lines: list[str], *expected: tuple[str, ...]) -> None:
    """Each line begins with the first of its parts and holds the others."""
    assert len(lines) == len(expected), lines
    for line, (word, *parts) in zip(lines, expected, strict=True):
        assert line.startswith(word), (line, word)
        for part in parts:
            assert part in line


def step(operation: int, attempt: int, **result: Any) -> dict[str, Any]:
    return {"step_ended": {"operation": operation, "attempt": attempt, "name": "research", **result}}


async def steered(url: str) -> str:
    """A run that one worker begins, suspends, and another one ends."""
    async with midstream.connect(url) as client:
        run = await client.start_run(TASK, {"topic": "tides"}, records=[("user-message", "go")])
        async with RawWorker(url, "worker-1", TASK) as worker:
            await worker.claim()
            failure = {"error_type": "TimeoutError", "message": "no answer"}
            await worker.says("append", entry=step(0, 1, failure=failure, duration={"nanos": 500_000_000}))
            await worker.says("append", entry=step(0, 2, value={"json": '{"found": 3}'}, duration={"seconds": 125}))
            await worker.says("suspend", listening=["approval"])
        await client.send(run.id, "approval", {"approved": True})
        async with RawWorker(url, "worker-2", TASK, code_version="2") as worker:
            await worker.claim()
            due = {"seconds": int(run.create_time.timestamp())}
            await worker.says("append", entry={"timer_fired": {"operation": 1, "due_time": due}})
            await worker.says("append", entry={"step_began": {"operation": 2, "epoch": 2}})
            await worker.says("restart", None, payload={"json": '"deeper"'})
            await worker.claim()
            await worker.says("finish", outcome={"result": {"json": '"a report"'}})
        return run.id


def test_a_managed_run_as_a_timeline(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = show(capsys, asyncio.run(steered(url)))
    in_order(
        lines_of(page),
        ("created", '{"topic": "tides"}'),
        ("record", "user-message #1", '"go"'),
        ("started", "by worker worker-1", "epoch 1", "code 1"),
        ("step", "research raised TimeoutError: no answer", "500 ms", "tried again"),
        ("step", 'research → {"found": 3}', "attempt 2", "2 min 5 s"),
        ("suspended", "its process is gone", "no process for"),
        ("record", "approval #1", '{"approved": true}'),
        ("resumed", "by worker worker-2", "epoch 2", "code 2"),
        ("timer", "came due (operation 1)"),
        ("step", "operation 2", "at most once"),
        ("restart", "generation 1 begins", '"deeper"'),
        ("completed",),
    )
    assert page.endswith("Result\na report\n")
    first = page.partition("Timeline\n")[2].splitlines()[1]
    assert first.split()[0] == "1"
    assert "+0 ms" in first


def test_a_run_s_history_as_json(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = asyncio.run(steered(url))
    shape = json.loads(show(capsys, run_id, "--json"))
    kinds = [list(entry)[-1] for entry in shape["log"]]
    assert kinds == [
        *("created", "record", "started", "step_ended", "step_ended"),
        *("record", "timer_fired", "step_began", "restarted", "ended"),
    ]
    assert [entry["offset"] for entry in shape["log"]] == list(range(1, 11))
    assert shape["log"][0]["created"]["payload"] == {"encoding": "json", "value": {"topic": "tides"}}
    assert shape["log"][4]["applied_offset"] == 4
    assert shape["log"][4]["step_ended"] == {
        "operation": 0,
        "name": "research",
        "attempt": 2,
        "duration_seconds": 125.0,
        "value": {"encoding": "json", "value": {"found": 3}},
        "failure": None,
    }
    assert [(each["worker_id"], each["end"]) for each in shape["assignments"]] == [
        ("worker-1", "SUSPENDED"),
        ("worker-2", "FINISHED"),
    ]
    without = json.loads(show(capsys, run_id, "--json", "--no-log"))
    assert "log" not in without
    assert without["result"] == shape["result"]
    assert "Timeline" not in show(capsys, run_id, "--no-log")


def test_what_goes_wrong_with_workers(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def unlucky() -> str:
        async with midstream.connect(url) as client:
            run = await client.start_run(TASK)
            async with RawWorker(url, "worker-1", TASK) as worker:
                await worker.claim()
            async with RawWorker(url, "worker-1", TASK) as worker:  # Come back without its runs.
                await worker.claim()
                await worker.says("release", None, died=True, reason="exit code -9")
                await worker.claim()
                await worker.says("append", entry=step(0, 1, value={"json": "1"}))
                await worker.says("release", None)
                await worker.claim()
                await client.cancel_run(run.id)
                await worker.hears("entries")
                await worker.says("finish", outcome={"cancelled": {}})
            return run.id

    in_order(
        lines_of(show(capsys, asyncio.run(unlucky()))),
        ("created",),
        ("started", "worker-1", "epoch 1"),
        ("lease lost", "worker worker-1 was not heard of any more", "no process for"),
        ("resumed", "worker-1", "epoch 2"),
        ("died", "its process on worker worker-1 died"),
        ("resumed", "epoch 3"),
        ("step", "research → 1"),
        ("released", "worker worker-1 gave it back"),
        ("resumed", "epoch 4"),
        ("cancel", "somebody asked it to stop"),
        ("cancelled",),
    )


def test_a_blocked_run_shows_both_sides_and_how_to_go_on(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def blocked() -> str:
        async with midstream.connect(url) as client:
            run = await client.start_run(TASK)
            async with RawWorker(url, "worker-1", TASK, code_version="old") as worker:
                await worker.claim()
                await worker.says("suspend", listening=["approval"])
            await client.send(run.id, "approval", value=None)
            async with RawWorker(url, "worker-2", TASK, code_version="new") as worker:
                await worker.claim()
                both = {"error_type": "Diverged", "message": "at offset 3.\n  the log:   a step\n  this code: a timer"}
                await worker.says("block", None, failure={**both, "stack": "somewhere in the runtime"})
                async for changed in client.watch_run(run.id):
                    if changed.state is midstream.RunState.BLOCKED:
                        return run.id
        raise AssertionError

    async def put_right(run_id: str) -> None:
        async with RawWorker(url, "worker-3", TASK, code_version="old") as worker:
            await worker.claim()
            assert worker.run_id == run_id
            await worker.says("finish", outcome={"result": {"json": "1"}})

    run_id = asyncio.run(blocked())
    page = show(capsys, run_id)
    assert "Failure\nDiverged: at offset 3.\n  the log:   a step\n  this code: a timer\n\nHow to go on\n" in page
    assert "Code old executed it before." in page
    assert "It has been tried with new." in page
    assert f"midstream cancel {run_id}" in page
    assert lines_of(page)[-1].startswith(
        "blocked     the code of worker worker-2 does not fit the log  no process since"
    )

    asyncio.run(put_right(run_id))
    page = show(capsys, run_id)
    assert "How to go on" not in page
    in_order(lines_of(page)[-3:], ("blocked", "no process for"), ("resumed", "worker-3", "code old"), ("completed",))


def test_a_crash_loop_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def crashing() -> str:
        async with midstream.connect(url) as client:
            run = await client.start_run("crashing")
            async with RawWorker(url, "worker-1", "crashing") as worker:
                for _ in range(5):
                    await worker.claim()
                    await worker.says("release", None, died=True, reason="signal 11")
                async for changed in client.watch_run(run.id):
                    if changed.state is midstream.RunState.BLOCKED:
                        return run.id
        raise AssertionError

    page = show(capsys, asyncio.run(crashing()))
    lines = lines_of(page)
    assert [line.split()[0] for line in lines].count("died") == 5
    assert lines[-1].startswith("blocked")
    assert "CRASH_LOOP" in page
    assert "signal 11" in page


def test_an_attached_run_as_a_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    async def attached() -> str:
        async with midstream.connect() as client, client.attach(task=TASK, payload="tides") as run:
            await client.send(run.id, "notes", "hello")
            run.finish("done")
        return run.id

    run_id = asyncio.run(attached())
    lines = lines_of(show(capsys, run_id))
    assert [line.split()[0] for line in lines] == ["created", "record", "completed"]
    assert json.loads(show(capsys, run_id, "--json"))["assignments"] == []


def test_of_a_long_log_the_newest_lines_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    async def long() -> str:
        async with midstream.connect() as client, client.attach(task=TASK) as run:
            await client.send_many(run.id, "notes", range(1_500))
            run.finish(None)
        return run.id

    run_id = asyncio.run(long())
    page = show(capsys, run_id)
    assert "1,402 earlier lines: see them with --log" in page
    assert len(lines_of(page)) == 100
    assert len(lines_of(show(capsys, run_id, "--log"))) == 1_502


async def test_an_unknown_run_has_no_log(server: ServerProcess) -> None:
    async with midstream.connect() as client:
        with pytest.raises(midstream.RunNotFound):
            await client.list_assignments("run_nobody")
        with pytest.raises(midstream.RunNotFound):
            await anext(client.list_entries("run_nobody"))
