"""`midstream worker` against a real server, both as processes that are stopped and killed."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import midstream
from midstream import Client, RunState
from support.server_process import ServerProcess
from support.worker_process import WorkerProcess, children_of, exists, is_running

MODULE = '''
import asyncio, logging, os, time
from pathlib import Path
from midstream import input_stream
from midstream.task import task

go = input_stream("go")
gate = Path(__file__).with_name("gate")
print("imported")

async def pass_gate(number):
    """Tells that it is there, and waits for the file."""
    print("at-gate", os.getpid(), number)
    while not gate.exists():
        await asyncio.sleep(0.01)
    return number

async def die():
    os._exit(9)

@task("waits")
async def waits(ctx, count):
    ctx.log.info("begun")
    logging.getLogger("mine").info("also begun")
    heard = []
    for number in range(count):
        heard.append((await go.wait()).output)
        ctx.log.info("heard %s", heard[-1])
        print("pid", os.getpid())
    return heard

@task("steps")
async def steps(ctx, number):
    return await ctx.step(pass_gate, number)

@task("crashes")
async def crashes(ctx):
    return await ctx.step(die)

@task("spins")
async def spins(ctx):
    print("spinning", os.getpid())
    while True:
        pass
'''


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "given.py").write_text(MODULE)
    return tmp_path


@pytest.fixture
async def client(server_process: ServerProcess) -> AsyncIterator[Client]:
    async with midstream.connect(server_process.url) as client:
        yield client


def worker_of(server: ServerProcess, directory: Path, *args: str, module: str = "given") -> WorkerProcess:
    return WorkerProcess(server.url, directory, module, args=args)


async def in_state(client: Client, run_id: str, state: RunState) -> midstream.Run:
    async for run in client.watch_run(run_id):
        if run.state is state:
            return run
        assert not run.state.is_final, run
    raise AssertionError("the run ended")


def template_of(worker: WorkerProcess) -> int:
    (template,) = children_of(worker.pid)
    return template


async def test_a_suspended_run_has_no_process_and_goes_on_in_another(
    server_process: ServerProcess, client: Client, directory: Path
) -> None:
    with worker_of(server_process, directory, "--idle-timeout", "0", "--spares", "0") as worker:
        run = await client.start_run("waits", 2)
        for number in range(2):
            worker.wait_for("run_suspended", count=number + 1, run_id=run.id)
            worker.wait_until(lambda: not children_of(template_of(worker)))  # neither alive nor a zombie
            await client.send(run.id, "go", number)
        ended = await in_state(client, run.id, RunState.COMPLETED)
        assert ended.result == [0, 1]
        worker.wait_for("run_finished", outcome="completed")
    # What the task logs is said once; what it prints is said by every replay.
    said = [event["event"] for event in worker.events if event.get("logger")]
    assert said == ["begun", "also begun", "heard 0", "heard 1"]
    assert {event["run_id"] for event in worker.events if event.get("logger")} == {run.id}
    pids = [text for text in worker.printed() if text.startswith("pid")]
    assert len(pids) == 3
    assert len(set(pids)) == 2


async def test_a_child_that_dies_is_given_back_and_blocked_in_a_loop(
    server_process: ServerProcess, client: Client, directory: Path
) -> None:
    with worker_of(server_process, directory) as worker:
        run = await client.start_run("crashes")
        blocked = await in_state(client, run.id, RunState.BLOCKED)
        assert blocked.failure is not None
        assert blocked.failure.error_type == "CRASH_LOOP"
        assert "exit code 9" in blocked.failure.message
        assert worker.wait_for("run_died", run_id=run.id)["how"] == "ended with exit code 9"


async def test_a_child_killed_in_a_step_is_replaced(
    server_process: ServerProcess, client: Client, directory: Path
) -> None:
    with worker_of(server_process, directory) as worker:
        run = await client.start_run("steps", 5)
        gate = worker.wait_for_print("at-gate")
        os.kill(int(gate.split()[1]), signal.SIGKILL)
        assert worker.wait_for("run_died", run_id=run.id)["how"] == "was killed by SIGKILL"
        worker.wait_for("run_assigned", count=2, run_id=run.id)
        (directory / "gate").touch()
        assert (await in_state(client, run.id, RunState.COMPLETED)).result == 5


async def test_runs_go_on_while_the_server_is_away(
    server_process: ServerProcess, client: Client, directory: Path
) -> None:
    with worker_of(server_process, directory, "--idle-timeout", "1h") as worker:
        stepping, waiting = await client.start_run("steps", 7), await client.start_run("waits", 1)
        pid = worker.wait_for_print("at-gate").split()[1]
        worker.wait_for("begun")
        server_process.kill9()
        worker.wait_for("disconnected")
        (directory / "gate").touch()
        server_process.start()
        assert worker.wait_for("connected", count=2)["held"] == 2
        assert (await in_state(client, stepping.id, RunState.COMPLETED)).result == 7
        await client.send(waiting.id, "go", "still there")
        assert (await in_state(client, waiting.id, RunState.COMPLETED)).result == ["still there"]
        gates = [text for text in worker.printed() if text.startswith("at-gate")]
        assert gates == [f"at-gate {pid} 7"]  # once, and in the same process


async def test_a_death_while_the_server_is_away_is_told_when_it_is_back(
    server_process: ServerProcess, client: Client, directory: Path
) -> None:
    """Else a run that kills its process could do so for ever."""
    with worker_of(server_process, directory) as worker:
        run = await client.start_run("steps", 3)
        pid = int(worker.wait_for_print("at-gate").split()[1])
        server_process.kill9()
        worker.wait_for("disconnected")
        os.kill(pid, signal.SIGKILL)
        worker.wait_for("run_died", run_id=run.id)
        server_process.start()
        worker.wait_for("run_assigned", count=2, run_id=run.id)
        (directory / "gate").touch()
        assert (await in_state(client, run.id, RunState.COMPLETED)).result == 3
        assert [each.end for each in await client.list_assignments(run.id)] == ["DIED", "FINISHED"]


async def test_a_worker_drains(server_process: ServerProcess, client: Client, directory: Path) -> None:
    with worker_of(server_process, directory, "--idle-timeout", "1h", "--drain-timeout", "1h") as worker:
        waiting, stepping = await client.start_run("waits", 1), await client.start_run("steps", 1)
        worker.wait_for("begun")
        worker.wait_for_print("at-gate")
        worker.send_signal(signal.SIGTERM)
        worker.wait_for("run_suspended", run_id=waiting.id)
        (directory / "gate").touch()
        assert worker.wait() == 0
    assert (await client.get_run(waiting.id)).state is RunState.SUSPENDED
    assert (await client.get_run(stepping.id)).result == 1
    worker.wait_for("worker_stopped")


async def test_what_does_not_drain_in_time_is_given_back(
    server_process: ServerProcess, client: Client, directory: Path
) -> None:
    with worker_of(server_process, directory, "--drain-timeout", "10ms") as worker:
        run = await client.start_run("spins")
        pid = int(worker.wait_for_print("spinning").split()[1])
        assert worker.terminate() == 0
        assert not exists(pid)
        worker.wait_for("run_released", run_id=run.id)
    assert (await client.get_run(run.id)).state is RunState.QUEUED


async def test_a_second_signal_ends_it_at_once(server_process: ServerProcess, client: Client, directory: Path) -> None:
    with worker_of(server_process, directory, "--drain-timeout", "1h") as worker:
        await client.start_run("spins")
        pid = int(worker.wait_for_print("spinning").split()[1])
        worker.send_signal(signal.SIGINT)
        worker.wait_for("worker_draining")
        worker.send_signal(signal.SIGINT)
        assert worker.wait() == 0
        assert not exists(pid)


async def test_nothing_outlives_a_killed_worker(server_process: ServerProcess, client: Client, directory: Path) -> None:
    with worker_of(server_process, directory) as worker:
        await client.start_run("spins")
        worker.wait_for_print("spinning")
        template = template_of(worker)
        pids = {template, *children_of(template)}
        worker.kill9()
        worker.wait_until(lambda: not any(is_running(pid) for pid in pids))


async def test_it_waits_for_a_server(server_process: ServerProcess, client: Client, directory: Path) -> None:
    server_process.kill9()
    with worker_of(server_process, directory) as worker:
        worker.wait_for("disconnected")
        server_process.start()
        worker.wait_for("connected")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("nothing", "there is no module 'nothing'"),
        ("given:nobody", "has no 'nobody'. Tasks in it: given:crashes, given:spins, given:steps, given:waits"),
        ("given:go", "is a InputStream, not a task"),
        ("given.py", "write it with dots and without `.py`"),
    ],
)
async def test_what_cannot_be_imported_is_explained(
    server_process: ServerProcess, directory: Path, module: str, says: str
) -> None:
    with worker_of(server_process, directory, module=module) as worker:
        assert worker.wait() == 1
    assert says in "\n".join(worker.printed())
