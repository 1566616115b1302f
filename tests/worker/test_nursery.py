"""Children with real processes: warm spares, kill and reap, death, the template's death, spawning."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from midstream.v1.entry_pb2 import Entry
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker.nursery import Nursery
from midstream.worker.ready import Ready, TemplateFailed
from midstream.worker.settings import StartMethod
from midstream.worker.template_settings import TemplateSettings
from midstream.worker.warm_child import WarmChild
from support.worker_process import children_of, exists

MODULE = """
import os, sys
from midstream import input_stream
from midstream.task import task

assert "grpc" not in sys.modules

def about(): return {"pid": os.getpid(), "grpc": "grpc" in sys.modules, "seed": os.environ["PYTHONHASHSEED"]}
def crash(): os._exit(7)

@task("tell")
async def tell(ctx): return await ctx.step(about)

@task("crash")
async def crash_task(ctx): return await ctx.step(crash)

@task("wait")
async def wait(ctx): return await input_stream("go").wait()
"""


class Deaths:
    """What the nursery says about its template."""

    def __init__(self) -> None:
        self.templates: asyncio.Queue[str] = asyncio.Queue()
        self.tasks: asyncio.Queue[object] = asyncio.Queue()


@asynccontextmanager
async def nursery_of(
    directory: Path, source: str = MODULE, *, spares: int = 1, start_method: StartMethod = "auto"
) -> AsyncIterator[tuple[Nursery, Ready, Deaths]]:
    (directory / "given.py").write_text(source)
    settings = TemplateSettings(
        modules=("given",),
        directory=str(directory),
        idle_timeout_us=0,
        log_format="json",
        start_method=start_method,
        push_schemas=False,
    )
    deaths = Deaths()
    nursery = Nursery(
        settings,
        spares=spares,
        environment={},
        on_template_death=deaths.templates.put_nowait,
        on_new_tasks=deaths.tasks.put_nowait,
    )
    try:
        yield nursery, await nursery.start(), deaths
    finally:
        await nursery.close()


class Child:
    """A child with a run that has just begun."""

    def __init__(self, nursery: Nursery, task: str) -> None:
        self.frames: asyncio.Queue[WorkRequest] = asyncio.Queue()
        self.deaths: asyncio.Queue[str] = asyncio.Queue()
        self.process: WarmChild = nursery.take(
            on_frame=lambda data: self.frames.put_nowait(WorkRequest.FromString(data)),
            on_death=self.deaths.put_nowait,
        )
        created = Entry(offset=1)
        created.created.spec.task = task
        started = Entry(offset=2, started=Entry.Started(seed=b"seed"))
        self.deliver(WorkResponse(assigned=WorkResponse.Assigned(run_id="run", epoch=1, task=task, last_offset=2)))
        self.deliver(WorkResponse(entries=WorkResponse.Entries(run_id="run", epoch=1, entries=[created, started])))

    def deliver(self, frame: WorkResponse) -> None:
        self.process.deliver(frame.SerializeToString())


async def until(condition: Callable[[], bool]) -> None:
    """For what only /proc can tell."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def told_by(child: Child) -> dict[str, object]:
    append = (await child.frames.get()).append
    told = json.loads(append.entry.step_ended.value.json)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
async def test_a_child_executes_a_run_without_grpc(tmp_path: Path, start_method: StartMethod) -> None:
    async with nursery_of(tmp_path, start_method=start_method) as (nursery, ready, _):
        assert set(ready.tasks) == {"tell", "crash", "wait"}
        child = Child(nursery, "tell")
        told = await told_by(child)
        assert told == {"pid": child.process.pid, "grpc": False, "seed": "0"}


async def test_every_run_has_a_process_of_its_own(tmp_path: Path) -> None:
    async with nursery_of(tmp_path, spares=2) as (nursery, _, _):
        children = [Child(nursery, "tell") for _ in range(5)]
        pids = {(await told_by(child))["pid"] for child in children}
        assert len(pids) == 5
        assert os.getpid() not in pids


async def test_a_spare_takes_the_run_and_is_replaced(tmp_path: Path) -> None:
    async with nursery_of(tmp_path, spares=1) as (nursery, _, _):
        await until(lambda: nursery.spare_count == 1)
        (spare,) = nursery.child_pids
        child = Child(nursery, "tell")
        assert child.process.pid == spare
        await until(lambda: nursery.spare_count == 1)


async def test_a_killed_child_is_gone_and_no_zombie(tmp_path: Path) -> None:
    async with nursery_of(tmp_path, spares=0) as (nursery, _, _):
        child = Child(nursery, "wait")
        assert (await child.frames.get()).HasField("suspend")
        pid = child.process.pid
        assert pid is not None
        child.process.kill()
        await until(lambda: not exists(pid))
        assert children_of(nursery.template_pid) == {}
        assert child.deaths.empty()


async def test_a_child_that_dies_is_reported_with_how(tmp_path: Path) -> None:
    async with nursery_of(tmp_path) as (nursery, _, _):
        crashing = Child(nursery, "crash")
        assert await crashing.deaths.get() == "ended with exit code 7"
        killed = Child(nursery, "wait")
        await killed.frames.get()
        assert killed.process.pid is not None
        os.kill(killed.process.pid, signal.SIGKILL)
        assert await killed.deaths.get() == "was killed by SIGKILL"


async def test_children_survive_their_template_and_are_reaped(tmp_path: Path) -> None:
    async with nursery_of(tmp_path) as (nursery, _, deaths):
        orphan = Child(nursery, "wait")
        assert (await orphan.frames.get()).HasField("suspend")
        pid = orphan.process.pid
        assert pid is not None
        os.kill(nursery.template_pid, signal.SIGKILL)
        assert await deaths.templates.get() == "was killed by SIGKILL"

        orphan.deliver(WorkResponse(suspend_refused=WorkResponse.SuspendRefused(run_id="run", epoch=1)))
        assert (await orphan.frames.get()).HasField("suspend")  # it goes on

        after = Child(nursery, "tell")
        assert (await told_by(after))["pid"] == after.process.pid
        orphan.process.kill()
        await until(lambda: not exists(pid))


async def test_close_leaves_no_process(tmp_path: Path) -> None:
    async with nursery_of(tmp_path, spares=2) as (nursery, _, _):
        child = Child(nursery, "wait")
        await child.frames.get()
        pids = {nursery.template_pid, *nursery.child_pids}
    assert not [pid for pid in pids if exists(pid)]


async def test_threads_in_the_module_mean_spawning(tmp_path: Path) -> None:
    threads = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='busy').start()\n"
    async with nursery_of(tmp_path, threads + MODULE) as (nursery, ready, _):
        assert ready.spawns
        assert ready.threads == ("busy",)
        child = Child(nursery, "tell")
        assert (await told_by(child))["pid"] == child.process.pid


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1", "has no tasks"),
        ("import nowhere_to_be_found", "imports 'nowhere_to_be_found', which is not installed"),
        ("raise ValueError('oh')", "ValueError: oh"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
async def test_a_module_that_cannot_be_used(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(TemplateFailed, match=says):
        async with nursery_of(tmp_path, source):
            pass
