"""Tasks in TypeScript, executed by a real worker, started and steered from Python."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import midstream
from midstream import Run, RunState
from support.server_process import ServerProcess
from support.typescript_worker import TypeScriptProject, TypeScriptWorker
from support.worker_process import WorkerProcess

TASKS = "tests/worker/tasks.mjs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("typescript")) as process:
        yield process


@pytest.fixture(scope="module")
def worker(server: ServerProcess) -> Iterator[TypeScriptWorker]:
    with TypeScriptWorker(server.url, TASKS) as process:
        process.wait_for("connected")
        yield process


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[midstream.Client]:
    async with midstream.connect(server.url) as client:
        yield client


async def until(client: midstream.Client, run_id: str, *states: RunState) -> Run:
    async for run in client.watch_run(run_id):
        if run.state in states or run.state.is_final:
            return run
    raise AssertionError("the run ended without a final state")


async def test_steered_suspended_and_resumed(client: midstream.Client, worker: TypeScriptWorker) -> None:
    run = await client.start_run("ts-gather", {"topic": "tides"}, records=[("words", "early")])
    await client.send(run.id, "words", "later")
    await client.send(run.id, "words", "enough")
    await client.send(run.id, "unheard", 1)
    worker.wait_for("run_suspended", run_id=run.id)
    await client.send(run.id, "approval", True)
    ended = await until(client, run.id)
    assert ended.state is RunState.COMPLETED, ended.failure
    began = ended.result.pop("began")
    assert 0 <= began < 1
    assert ended.result == {"payload": {"topic": "tides"}, "heard": ["EARLY", "LATER", "ENOUGH"], "approved": True}
    view = midstream.OutputView()
    async for record in client.tail_output(run.id, "progress"):
        view.apply(record)
    assert [record.value for record in view.records] == [{"heard": 3}]


async def test_a_worker_killed_with_9_loses_nothing(server: ServerProcess, client: midstream.Client) -> None:
    with TypeScriptWorker(server.url, TASKS, args=["--worker-id", "mortal"]) as worker:
        worker.wait_for("connected")
        run = await client.start_run("ts-gather")
        await client.send(run.id, "words", "one")
        worker.wait_for("run_assigned")
        worker.kill9()
        await client.send(run.id, "words", "enough")
        worker.start()
        await client.send(run.id, "approval", False)
        ended = await until(client, run.id)
    assert ended.state is RunState.COMPLETED, ended.failure
    assert ended.result["heard"] == ["ONE", "ENOUGH"]


async def test_a_run_stays_with_the_language_that_it_began_in(tmp_path: Path) -> None:
    same_name = """import midstream

@midstream.task("ts-gather")
async def gather(ctx: midstream.Context) -> str:
    return "not this one's"

@midstream.task("ts-restarts")
async def restarts(ctx: midstream.Context) -> str:
    return "not this one's"
"""
    (tmp_path / "same_name.py").write_text(same_name)
    async with AsyncExitStack() as stack:
        # A server of its own: no other worker is to take the run.
        server = stack.enter_context(ServerProcess(tmp_path))
        client = await stack.enter_async_context(midstream.connect(server.url))
        worker = stack.enter_context(TypeScriptWorker(server.url, TASKS, args=["--idle-timeout", "0s"]))
        worker.wait_for("connected")
        run = await client.start_run("ts-gather")
        await client.send(run.id, "words", "enough")
        worker.wait_for("run_suspended", run_id=run.id)
        second = await client.start_run("ts-restarts", records=[("words", "one")])
        worker.wait_for("run_suspended", run_id=second.id)
        worker.terminate()

        other = stack.enter_context(WorkerProcess(server.url, tmp_path, "same_name"))
        other.wait_for("connected")
        await client.send(run.id, "approval", True)
        refused = other.wait_for("run_blocked", run_id=run.id)
        assert "began in node" in refused["failure"]
        await client.send(second.id, "words", "two")
        refused = other.wait_for("run_blocked", run_id=second.id)
        assert "began in node" in refused["failure"]
        worker.start()
        await client.send(second.id, "words", "three")
        ended = await until(client, run.id, RunState.COMPLETED)
        restarted = await until(client, second.id, RunState.COMPLETED)
    assert ended.state is RunState.COMPLETED, ended.failure
    assert ended.result["heard"] == ["ENOUGH"]
    assert restarted.state is RunState.COMPLETED, restarted.failure
    assert restarted.result == {"generation": 2, "words": ["one", "two", "three"]}


async def test_half_an_answer_is_taken_back(client: midstream.Client, worker: TypeScriptWorker) -> None:
    run = await client.start_run("ts-tokens")
    ended = await until(client, run.id)
    assert ended.result == 2
    view = midstream.OutputView()
    async for record in client.tail_output(run.id, "tokens"):
        view.apply(record)
    assert [record.value for record in view.records] == ["half 2", "an 2", "answer 2"]


async def test_a_failure_has_its_type_and_stack(client: midstream.Client, worker: TypeScriptWorker) -> None:
    run = await client.start_run("ts-fails")
    failure = (await until(client, run.id)).failure
    assert failure is not None
    assert (failure.error_type, failure.message) == ("RangeError", "on purpose")
    assert "tasks.mjs" in failure.stack


async def test_a_thread_that_dies_in_an_at_most_once_step(client: midstream.Client, worker: TypeScriptWorker) -> None:
    run = await client.start_run("ts-dies")
    assert (await until(client, run.id)).result == "StepInterrupted"
    worker.wait_for("run_died", run_id=run.id)


async def test_a_death_while_the_server_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    """Else a run that ends its thread could do so for ever."""
    dies_later = """import { existsSync } from "node:fs";
import { task } from "@midstream/client/worker";

async function die() {
  console.log("in the step");
  while (!existsSync("gate")) await new Promise((resolve) => setTimeout(resolve, 10));
  process.exit(7);
}

export const diesLater = task({
  id: "dies-later",
  run: async (_payload, ctx) => ctx.step("die", die, { atMostOnce: true }).catch((error) => error.name),
});
"""
    project = TypeScriptProject(tmp_path / "project", tsx=False)
    project.write("tasks.mjs", dies_later)
    with ServerProcess(tmp_path) as server, project.worker(server.url, "tasks.mjs") as worker:
        worker.wait_for("connected")
        async with midstream.connect(server.url) as client:
            run = await client.start_run("dies-later")
            worker.wait_for("log", text="in the step")
            server.kill9()
            worker.wait_for("disconnected")
            (project.directory / "gate").touch()
            worker.wait_for("run_died", run_id=run.id)
            server.start()
            assert (await until(client, run.id)).result == "StepInterrupted"
            assert [each.end for each in await client.list_assignments(run.id)] == ["DIED", "FINISHED"]


async def test_a_task_starts_another_and_sends_to_it(client: midstream.Client, worker: TypeScriptWorker) -> None:
    run = await client.start_run("ts-starts", {"task": "ts-gather"})
    ended = await until(client, run.id)
    assert ended.state is RunState.COMPLETED, ended.failure
    assert ended.result["seq"] == 1
    child = ended.result["child"]
    await client.send(child, "approval", True)
    assert (await until(client, child)).result["payload"] == {"from": run.id}


async def test_generations(client: midstream.Client, worker: TypeScriptWorker) -> None:
    run = await client.start_run("ts-restarts", records=[("words", "a"), ("words", "b")])
    await client.send(run.id, "words", "c")
    ended = await until(client, run.id)
    assert ended.state is RunState.COMPLETED, ended.failure
    assert ended.result == {"generation": 2, "words": ["a", "b", "c"]}


async def test_cancel(client: midstream.Client, worker: TypeScriptWorker) -> None:
    run = await client.start_run("ts-gather")
    worker.wait_for("run_assigned", run_id=run.id)
    await client.cancel_run(run.id)
    assert (await until(client, run.id)).state is RunState.CANCELLED


async def test_many_runs_at_once(client: midstream.Client, worker: TypeScriptWorker) -> None:
    runs = [await client.start_run("ts-gather", number, records=[("words", "enough")]) for number in range(10)]
    for run in runs:
        await client.send(run.id, "approval", True)
    ended = await asyncio.gather(*(until(client, run.id) for run in runs))
    assert [run.result["payload"] for run in ended] == list(range(10))


def test_a_stopped_worker_gives_its_runs_back(server: ServerProcess, tmp_path: Path) -> None:
    with TypeScriptWorker(server.url, TASKS) as worker:
        worker.wait_for("connected")
        assert worker.terminate() == 0
        worker.wait_for("worker_stopped")


def test_a_module_without_tasks_is_told(server: ServerProcess, tmp_path: Path) -> None:
    module = tmp_path / "nothing.mjs"
    module.write_text("export const nothing = 1;\n")
    with TypeScriptWorker(server.url, str(module)) as worker:
        assert worker.wait() == 1
        assert any("no task is exported" in text for text in worker.printed())
