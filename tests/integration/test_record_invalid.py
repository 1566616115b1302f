"""A stored record that does not fit what the task declares: told clearly, skipped where wanted, never a lost run."""

from collections.abc import AsyncIterator

import pytest
from pydantic import BaseModel

from midstream import Context, RecordInvalid, RunState, Task, input_stream, task
from midstream.testing import LocalServer, in_process_worker, local_server


class Strict(BaseModel):
    text: str
    priority: int


class Fitting(BaseModel):
    text: str
    priority: int | str


strict = input_stream("user-message", Strict)
fitting = input_stream("user-message", Fitting)


@task("agent", version="1")
async def breaks(context: Context, payload: None) -> list[str]:
    first = (await strict.wait()).unwrap()
    second = (await strict.wait()).unwrap()
    return [first.text, second.text]


@task("agent", version="2")
async def fits(context: Context, payload: None) -> list[str]:
    first = (await fitting.wait()).unwrap()
    second = (await fitting.wait()).unwrap()
    return [first.text, second.text]


@task("agent", version="1")
async def skips(context: Context, payload: None) -> list[str]:
    texts: list[str] = []
    while len(texts) < 2:
        result = await strict.wait()
        if result.ok:
            texts.append(result.output.text)
        else:
            assert isinstance(result.error, RecordInvalid)
            texts.append(f"skipped {result.error.seq}: {', '.join(result.error.fields)}")
    return texts


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server() as server:
        yield server


async def test_uncaught_it_blocks_the_run_which_goes_on_with_code_that_fits(server: LocalServer) -> None:
    client = server.client
    run = await client.start_run("agent")
    await client.send(run.id, "user-message", {"text": "one", "priority": 1})
    await client.send(run.id, "user-message", {"text": "two", "priority": "high"})
    async with in_process_worker(client, [breaks]):
        async for seen in client.watch_run(run.id):
            if seen.state is RunState.BLOCKED:
                break
    assert seen.failure is not None
    assert seen.failure.error_type == "RecordUnreadable"
    assert "record 2 on stream 'user-message'" in seen.failure.message
    assert "priority" in seen.failure.message
    assert "Deploy code whose declaration fits" in seen.failure.message

    assert await _result(server, fits, run.id) == ["one", "two"]


async def test_a_task_can_go_on_with_the_next_record(server: LocalServer) -> None:
    client = server.client
    run = await client.start_run("agent")
    await client.send(run.id, "user-message", {"text": "one"})
    await client.send(run.id, "user-message", {"text": "two", "priority": 1})
    assert await _result(server, skips, run.id) == ["skipped 1: priority", "two"]


async def _result(server: LocalServer, code: Task[None, list[str]], run_id: str) -> object:
    async with in_process_worker(server.client, [code], always_suspend=True):
        async for seen in server.client.watch_run(run_id):
            if seen.state.is_final:
                return seen.result
    raise AssertionError("unreachable")
