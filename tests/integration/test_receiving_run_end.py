"""How an attached run ends, what it leaves on the server, and that it leaves nothing in the process."""

import asyncio
from typing import Any

import pytest

from midstream import MidstreamError, RunCancelled, RunFinished, RunState, connect
from midstream.attached_run import AttachedRun
from midstream.input_stream import input_stream
from midstream.receiving import Result
from midstream.testing import LocalServer
from support.heard import Heard

numbers = input_stream("numbers", int)
others = input_stream("others")


async def test_leaving_the_block_completes_the_run_with_its_result(local: LocalServer) -> None:
    async with local.client.attach(task="t", payload={"topic": "tea"}, metadata={"a": "b"}) as run:
        assert run.info.state is RunState.RUNNING
        assert run.payload == {"topic": "tea"}
        run.finish({"pages": 3})
    info = await local.client.get_run(run.id)
    assert (info.state, info.result, info.metadata) == (RunState.COMPLETED, {"pages": 3}, {"a": "b"})


async def test_a_block_that_raises_fails_the_run_with_type_message_and_stack(local: LocalServer) -> None:
    with pytest.raises(ZeroDivisionError):
        async with local.client.attach(task="t") as run:
            run.finish(1 / 0)
    failure = (await local.client.get_run(run.id)).failure
    assert failure is not None
    assert (failure.error_type, failure.message) == ("ZeroDivisionError", "division by zero")
    assert "run.finish(1 / 0)" in failure.stack


async def test_a_result_that_cannot_be_stored_fails_the_run(local: LocalServer) -> None:
    with pytest.raises(MidstreamError, match="PAYLOAD_TOO_LARGE"):
        async with local.client.attach(task="t") as run:
            run.finish("x" * (2 << 20))
    assert (await local.client.get_run(run.id)).state is RunState.FAILED


async def test_a_detached_run_goes_on(local: LocalServer) -> None:
    async with local.client.attach(task="t", payload=[1]) as run:
        await local.client.send_many(run.id, numbers, [1, 2])
        assert (await numbers.once()).unwrap() == 1
        run.detach()
    assert (await local.client.get_run(run.id)).state is RunState.RUNNING
    async with local.client.attach(run.id, task="t") as again:
        assert again.payload == [1]
        assert (await numbers.once()).unwrap() == 2
    assert (await local.client.get_run(run.id)).state is RunState.COMPLETED


async def test_unread_records_are_listed_on_the_ended_run(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        await local.client.send_many(run.id, numbers, [1, 2, 3])
        await local.client.send(run.id, others, "unasked")
        assert (await numbers.once()).unwrap() == 1
    info = await local.client.get_run(run.id)
    assert (info.stream("numbers").cursor, info.stream("numbers").unread_count) == (1, 2)
    assert info.stream("others").unread_count == 1
    with pytest.raises(RunFinished):
        await local.client.send(run.id, numbers, 4)


async def test_handler_calls_that_have_begun_finish_and_no_other_begins(local: LocalServer) -> None:
    begun = Heard[int]()
    ended: list[int] = []
    go_on = asyncio.Event()

    async def slow(number: int) -> None:
        begun(number)
        await go_on.wait()
        ended.append(number)

    async with local.client.attach(task="t") as run:
        numbers.on(slow)
        await local.client.send_many(run.id, numbers, [1, 2])
        await begun.first(1)
        asyncio.get_running_loop().call_soon(go_on.set)
    assert (begun.values, ended) == ([1], [1])
    stream = (await local.client.get_run(run.id)).stream("numbers")
    assert (stream.cursor, stream.unread_count) == (1, 1)


async def test_what_a_failing_block_took_and_did_not_finish_stays_unconsumed(local: LocalServer) -> None:
    async def work() -> None:
        async with local.client.attach("job", task="t"):
            await local.client.send_many("job", numbers, [1, 2])
            assert (await numbers.once()).unwrap() == 1
            assert (await numbers.once()).unwrap() == 2
            raise KeyError

    with pytest.raises(KeyError):
        await work()
    assert (await local.client.get_run("job")).stream("numbers").cursor == 1


async def cancel_when(attached: asyncio.Event, local: LocalServer, run_id: str) -> None:
    await attached.wait()
    await local.client.cancel_run(run_id)


async def test_a_cancelled_run_leaves_its_block_with_run_cancelled(local: LocalServer) -> None:
    cleaned_up: list[bool] = []

    async def work() -> None:
        async with local.client.attach("job", task="t"):
            attached.set()
            try:
                await numbers.once()
            finally:
                cleaned_up.append(True)

    attached = asyncio.Event()
    cancelling = asyncio.create_task(cancel_when(attached, local, "job"))
    with pytest.raises(RunCancelled):
        await work()
    await cancelling
    assert cleaned_up
    assert (await local.client.get_run("job")).state is RunState.CANCELLED
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_run_that_returns_a_value_in_spite_of_the_cancel_is_completed(local: LocalServer) -> None:
    attached = asyncio.Event()
    cancelling = asyncio.create_task(cancel_when(attached, local, "job"))
    async with local.client.attach("job", task="t") as run:
        attached.set()
        try:
            await numbers.once()
        except asyncio.CancelledError:
            run.finish("anyway")
    await cancelling
    assert (await local.client.get_run("job")).result == "anyway"


async def test_a_task_that_is_cancelled_cancels_its_run_and_stays_cancelled(local: LocalServer) -> None:
    ids: list[str] = []
    attached = asyncio.Event()

    async def work() -> None:
        async with local.client.attach(task="t") as run:
            ids.append(run.id)
            attached.set()
            await numbers.once()

    task = asyncio.create_task(work())
    await attached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await local.client.get_run(ids[0])).state is RunState.CANCELLED


async def test_a_run_that_expires_leaves_its_block_with_run_finished(local: LocalServer) -> None:
    async def work() -> None:
        async with local.client.attach(task="t", max_duration="1h"):
            pending = asyncio.ensure_future(numbers.once())
            await local.advance("2h")
            await pending

    with pytest.raises(RunFinished, match="EXPIRED"):
        await work()


async def test_closing_the_client_ends_the_block_and_leaves_the_run(local: LocalServer) -> None:
    client = connect(local.url)

    async def work() -> None:
        async with client.attach("job", task="t"):
            assert (await numbers.once(timeout=0)).error is not None
            await client.close()
            await numbers.once()

    with pytest.raises(MidstreamError, match="this client is closed"):
        await work()
    assert (await local.client.get_run("job")).state is RunState.RUNNING


async def test_a_second_block_on_a_finished_run_is_refused(local: LocalServer) -> None:
    async with local.client.attach("done", task="t"):
        pass
    with pytest.raises(RunFinished):
        async with local.client.attach("done"):
            raise AssertionError("not reached")


async def test_a_thousand_cancelled_receives_leave_nothing(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        # What the subscription itself needs is there from the first call on.
        assert (await numbers.once(timeout=0)).error is not None
        tasks_before, names_before = len(run._tasks), _task_names()
        for timeout in (None, "7d"):
            receives = [asyncio.ensure_future(numbers.once(timeout=timeout)) for _ in range(500)]
            await asyncio.sleep(0)
            for receive in receives:
                receive.cancel()
            await asyncio.wait(receives)
        await asyncio.sleep(0)
        assert (len(run._tasks), _task_names()) == (tasks_before, names_before)
        inbox = run.inbox("numbers")
        assert not inbox._pending
        assert not inbox._buffer._receives
        await local.client.send(run.id, numbers, 1)
        assert (await numbers.once()).unwrap() == 1


async def test_no_task_outlives_the_block(local: LocalServer) -> None:
    stuck = asyncio.Event()

    async def handler(number: int) -> None:
        stuck.set()
        await others.once()

    run = AttachedRun(local.client, task="t")
    background: list[asyncio.Future[Result[Any]]] = []

    async def work() -> None:
        async with run:
            numbers.on(handler)
            await local.client.send(run.id, numbers, 1)
            await stuck.wait()
            background.append(asyncio.ensure_future(others.once(timeout="7d")))
            await local.client.cancel_run(run.id)
            await asyncio.Event().wait()

    with pytest.raises(RunCancelled):
        await work()
    with pytest.raises(RunCancelled):
        await background[0]
    assert (len(run._tasks), len(run._calls)) == (0, 0)
    ours = {"Subscription", "AttachedRun", "AttachedInbox", "InputStream"}
    assert [name for name in _task_names() if name.split(".")[0] in ours or "handler" in name] == []


def _task_names() -> list[str]:
    """The coroutine functions of all tasks."""
    return sorted(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


async def test_a_receive_that_outlives_the_block_is_told(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        pending = asyncio.ensure_future(numbers.once())
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=f"the block of run {run.id} has been left"):
        await pending
    with pytest.raises(RuntimeError, match="outside a run"):
        numbers.peek()
