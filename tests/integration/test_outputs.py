"""Output streams from a task, its steps and an attached run to Python readers, over a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import midstream
from midstream import (
    Client,
    Context,
    Direction,
    OutputView,
    PayloadError,
    Record,
    Rewound,
    RunFinished,
    RunState,
    SeqRange,
    input_stream,
    output,
    output_stream,
    task,
)
from midstream.worker.in_process import in_process_worker
from support.server_process import ServerProcess
from support.worker_process import WorkerProcess

tokens = output_stream("tokens", str)
go = input_stream("go")
executions = 0


@pytest.fixture(autouse=True)
def fresh() -> None:
    global executions
    executions = 0


@pytest.fixture
async def client(server_process: ServerProcess) -> AsyncIterator[Client]:
    async with midstream.connect(server_process.url) as client:
        yield client


async def answer(text: str, failures: int) -> str:
    """Streams a text; the first executions break off half way."""
    global executions
    executions += 1
    for index, letter in enumerate(text):
        if executions <= failures and index == len(text) // 2:
            raise OSError("broken off")
        tokens.append(letter)
        await asyncio.sleep(0)
    return text


def in_thread(count: int) -> int:
    for number in range(count):
        output("numbers").append(number)
    return count


@task("answers")
async def answers(ctx: Context, failures: int) -> str:
    ctx.output("status").append("begun", metadata={"k": "v"})
    await ctx.step(answer, "hello world", failures, retry=4)
    ctx.output(tokens).append("|")
    await go.wait()
    await ctx.step(in_thread, 300)
    ctx.output("status").append({"done": True})
    return "done"


async def suspended(client: Client, run_id: str) -> None:
    async for run in client.watch_run(run_id):
        if run.state is RunState.SUSPENDED:
            return


@pytest.mark.parametrize("always_suspend", [False, True])
async def test_readers_see_each_answer_once(client: Client, always_suspend: bool) -> None:
    views: list[str] = []

    async def watch(run_id: str) -> None:
        async for view in client.watch_output(run_id, tokens):
            views.append("".join(view.values))

    async with in_process_worker(client, [answers], idle_timeout="5s", always_suspend=always_suspend):
        run = await client.start_run("answers", 2)
        watching = asyncio.create_task(watch(run.id))
        await client.send(run.id, go, None)
        async for ended in client.watch_run(run.id):
            run = ended
        await watching
    assert run.result == "done"
    assert views[-1] == "hello world|"
    for view in views:
        assert "hello world|".startswith(view), view
    assert [record.value for record in await client.read_output(run.id, "numbers")] == list(range(300))
    assert [record.value for record in await client.read_output(run.id, "status")] == ["begun", {"done": True}]
    assert {output.stream_id: output.last_seq for output in run.outputs} == {
        "numbers": 300,
        "status": 2,
        "tokens": 5 + 1 + 5 + 1 + 11 + 1,
    }


async def test_the_raw_form_has_what_was_taken_back(client: Client) -> None:
    async with in_process_worker(client, [answers]):
        run = await client.start_run("answers", 1)
        await client.send(run.id, go, None)
        events = [event async for event in client.tail_output(run.id, "tokens")]
    first, mark = events[0], events[5]
    assert isinstance(first, Record)
    assert (first.value, first.direction, first.sender.kind, first.sender.subject) == (
        "h",
        Direction.OUTPUT,
        "RUN",
        run.id,
    )
    assert isinstance(mark, Rewound)
    assert (mark.seq, mark.ranges) == (6, (SeqRange(1, 5),))
    assert mark.covers(first)
    view = OutputView()
    for event in [*events[:7], *events]:
        view.apply(event)
    assert "".join(view.values) == "hello world|"
    assert view.offset == events[-1].offset
    later = [event async for event in client.tail_output(run.id, after_offset=mark.offset)]
    assert later[0].offset == mark.offset + 1


async def test_what_was_appended_is_there_while_the_run_is_suspended(client: Client) -> None:
    async with in_process_worker(client, [answers]):
        run = await client.start_run("answers", 0)
        await suspended(client, run.id)
        assert "".join(record.value for record in await client.read_output(run.id, tokens)) == "hello world|"
        await client.cancel_run(run.id)


async def test_an_attached_run_appends(client: Client) -> None:
    async with client.attach(task="job") as run:
        receipt = await run.output("log").append({"line": 1}, metadata={"k": "v"})
        assert (receipt.seq, receipt.offset, receipt.deduplicated) == (1, 1, False)
        await run.output(tokens).append("a", key="same")
        assert (await run.output(tokens).append("a", key="same")).deduplicated
        with pytest.raises(PayloadError, match="tokens"):
            await run.output(tokens).append(7)  # type: ignore[arg-type, unused-ignore]
        with pytest.raises(PayloadError, match="too large"):
            await run.output("log").append("x" * (1024 * 1024 + 1))
        with pytest.raises(RuntimeError, match=r"await run\.output"):
            tokens.append("a")
    read = await client.read_output(run.id)
    assert [(record.stream_id, record.value, record.sender.kind) for record in read] == [
        ("log", {"line": 1}, "ANONYMOUS"),
        ("tokens", "a", "ANONYMOUS"),
    ]
    assert read[0].metadata == {"k": "v"}
    with pytest.raises(RunFinished):
        await run.output("log").append("late")
    assert [record async for record in client.list_records(run.id)] == [], "they are no input"


MODULE = """
import asyncio
from pathlib import Path
from midstream import output_stream
from midstream.task import task

tokens = output_stream("tokens", str)
gate = Path(__file__).with_name("gate")

async def answer(text):
    for index, letter in enumerate(text):
        tokens.append(letter)
        if index == 4:
            await tokens.flush()
            print("half")
            while not gate.exists():
                await asyncio.sleep(0.01)
    return text

@task("answers")
async def answers(ctx):
    ctx.output("status").append("begun")
    answered = await ctx.step(answer, "hello world")
    ctx.output("status").append("done")
    return answered
"""


@pytest.mark.parametrize("killed", ["the worker", "the server"])
async def test_kill_9_in_the_middle_of_an_answer(
    server_process: ServerProcess, client: Client, tmp_path: Path, killed: str
) -> None:
    (tmp_path / "given.py").write_text(MODULE)
    views: list[str] = []

    async def watch(run_id: str) -> None:
        async for view in client.watch_output(run_id, "tokens"):
            views.append("".join(view.values))

    with WorkerProcess(server_process.url, tmp_path, "given", args=("--worker-id", "one")) as worker:
        run = await client.start_run("answers")
        watching = asyncio.create_task(watch(run.id))
        await asyncio.to_thread(worker.wait_for_print, "half")
        (server_process if killed == "the server" else worker).kill9()
        (tmp_path / "gate").touch()
        (server_process if killed == "the server" else worker).start()
        await asyncio.wait_for(watching, 50)
    assert views[-1] == "hello world"
    for view in views:
        assert "hello world".startswith(view), view
    assert [record.value for record in await client.read_output(run.id, "status")] == ["begun", "done"]
    events = [event async for event in client.tail_output(run.id, "tokens")]
    marks = [event for event in events if isinstance(event, Rewound)]
    assert [mark.ranges for mark in marks] == ([] if killed == "the server" else [(SeqRange(1, 5),)])
