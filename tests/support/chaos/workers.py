"""Managed runs under fire: a server and two workers as processes, killed at random, and what must stay true."""

import asyncio
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

import midstream
from midstream import Client, Run, RunState
from midstream.v1.run_service_pb2 import ListEntriesRequest, ListEntriesResponse
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from support.chaos.scenario import quiet_port
from support.chaos.wire import CHANNEL_OPTIONS, call_until_answered
from support.server_process import ServerProcess
from support.worker_process import WorkerProcess, children_of

TASK, STREAM, STOP = "listens", "words", "stop"
MODULE = """
from midstream import input_stream
from midstream.task import task

words = input_stream("words")

async def echo(number):
    return number

@task("listens")
async def listens(ctx, payload):
    heard, echoes = [], []
    while (word := (await words.wait()).unwrap()) != "stop":
        heard.append(word)
        if len(heard) % 4 == 0:
            echoes.append(await ctx.step(echo, len(heard)))
    return [heard, echoes]
"""


@dataclass
class Seen:
    """What clients saw: acknowledged words with their seqs, and what must never be seen."""

    acknowledged: dict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)
    suspensions: int = 0
    answers: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answered(self) -> None:
        async with self.changed:
            self.answers += 1
            self.changed.notify_all()

    async def until_answers(self, number: int) -> None:
        goal = self.answers + number
        async with self.changed:
            await self.changed.wait_for(lambda: self.answers >= goal or bool(self.violations))


async def worker_chaos(
    directory: Path, *, seed: str, runs: int, words: int, faults: int, launch: list[str] | None = None
) -> Seen:
    """Sends `words` to each run while processes are killed, then stops the runs, and judges what has become of them."""
    randomness = random.Random(seed)
    (directory / "chaos_tasks.py").write_text(MODULE)
    server = ServerProcess(
        directory,
        module="midstream_server" if launch is None else "support.chaos.launch",
        args=[*(launch or ()), "--listen", f"127.0.0.1:{quiet_port(randomness)}"],
        env={"MIDSTREAM_LEASE": "1s"},
    )
    seen = Seen()
    with server:
        workers = [
            WorkerProcess(server.url, directory, "chaos_tasks", args=["--idle-timeout", "0s", "--spares", "1"])
            for _ in range(2)
        ]
        async with AsyncExitStack() as ending, midstream.connect(server.url, retry_timeout=None) as client:
            for worker in workers:
                ending.enter_context(worker)
            run_ids = [f"run-{number}" for number in range(runs)]
            for run_id in run_ids:
                await client.start_run(TASK, run_id=run_id)
            attack = asyncio.create_task(_attack(randomness, seen, server, workers, faults))
            async with asyncio.TaskGroup() as group:
                for run_id in run_ids:
                    group.create_task(_lead(client, run_id, words, seen, random.Random(f"{seed}/{run_id}")))
                await attack
            if not seen.violations:
                for run_id in run_ids:
                    await _judge(server.url, client, run_id, seen)
    return seen


async def _lead(client: Client, run_id: str, words: int, seen: Seen, randomness: random.Random) -> None:
    """Sends words one by one, now and then to a suspended run, and stops it; watches it to its end."""
    for number in range(words):
        await _send(client, run_id, f"{run_id}/{number}", seen)
        if randomness.random() < 0.3 and not seen.violations:
            await _watch(client, run_id, seen, lambda run: run.state is RunState.SUSPENDED)
            seen.suspensions += 1
        if seen.violations:
            return
    await _send(client, run_id, STOP, seen)
    await _watch(client, run_id, seen, lambda run: run.state.is_final)


async def _send(client: Client, run_id: str, word: str, seen: Seen) -> None:
    receipt = await client.send(run_id, STREAM, word)
    seen.acknowledged[run_id].append((word, receipt.seq))
    await seen.answered()


async def _watch(client: Client, run_id: str, seen: Seen, reached: Callable[[Run], bool]) -> None:
    """Until the run is there, or somebody has seen what must not be."""
    async for run in client.watch_run(run_id):
        unread = sum(stream.unread_count for stream in run.streams)
        if run.state is RunState.SUSPENDED and unread:
            seen.violations.append(f"{run_id} is suspended with {unread} records on the stream that it listens to")
        if run.state is RunState.BLOCKED:
            seen.violations.append(f"{run_id} is blocked: {run.failure}")
        if seen.violations or reached(run):
            await seen.answered()
            return


async def _attack(
    randomness: random.Random, seen: Seen, server: ServerProcess, workers: list[WorkerProcess], faults: int
) -> None:
    order = [_kill_server, _kill_worker, _kill_child, _stop_worker] * faults
    randomness.shuffle(order)
    for fault in order:
        await seen.until_answers(randomness.randint(4, 15))
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        if seen.violations:
            return
        await asyncio.to_thread(fault, randomness, server, workers)
    await seen.until_answers(1)
    for worker in workers:
        worker.send_signal(signal.SIGCONT)


def _kill_server(randomness: random.Random, server: ServerProcess, workers: list[WorkerProcess]) -> None:
    server.restart()


def _kill_worker(randomness: random.Random, server: ServerProcess, workers: list[WorkerProcess]) -> None:
    """Another takes its place, under another name."""
    worker = randomness.choice(workers)
    worker.kill9()
    worker.start()


def _stop_worker(randomness: random.Random, server: ServerProcess, workers: list[WorkerProcess]) -> None:
    """It comes back some answers later, its lease gone perhaps."""
    randomness.choice(workers).send_signal(signal.SIGSTOP)


def _kill_child(randomness: random.Random, server: ServerProcess, workers: list[WorkerProcess]) -> None:
    """Of a run, or a spare one."""
    templates = [pid for worker in workers for pid in children_of(worker.pid)]
    children = [pid for template in templates for pid in children_of(template)] or templates
    if children:
        with suppress(ProcessLookupError):
            os.kill(randomness.choice(children), signal.SIGKILL)


async def _judge(url: str, client: Client, run_id: str, seen: Seen) -> None:
    """Compares the run's result with a fold of its records, and its log with what was acknowledged."""
    run = await client.get_run(run_id)
    if run.state is not RunState.COMPLETED:
        seen.violations.append(f"{run_id} is {run.state}: {run.failure}")
        return
    stored = [(record.seq, record.value) async for record in client.list_records(run_id, STREAM)]
    if [seq for seq, _ in stored] != list(range(1, len(stored) + 1)):
        seen.violations.append(f"{run_id}: seqs {stored}")
    for word, seq in seen.acknowledged[run_id]:
        if (seq, word) not in stored:
            seen.violations.append(f"{run_id}: {word} was acknowledged as {seq} and is lost")
    heard = [word for _, word in stored]
    if len(set(heard)) != len(heard):
        seen.violations.append(f"{run_id}: a record is stored twice: {heard}")
    heard = heard[: heard.index(STOP)]
    expected = [heard, list(range(4, len(heard) + 1, 4))]
    if run.result != expected:
        seen.violations.append(f"{run_id}: the result is {run.result}, the fold of its log is {expected}")
    (stream,) = run.streams
    if (stream.cursor, stream.unread_count) != (len(heard) + 1, len(stored) - len(heard) - 1):
        seen.violations.append(f"{run_id}: {stream} after {len(heard) + 1} of {len(stored)} records")
    seen.violations += await _log_violations(url, run_id)


async def _log_violations(url: str, run_id: str) -> list[str]:
    """Offsets without gaps, time that never goes back, each step once, and one epoch at a time."""
    async with grpc.aio.insecure_channel(url.removeprefix("grpc://"), options=CHANNEL_OPTIONS) as channel:
        request = ListEntriesRequest(run_id=run_id, page_size=1_000)
        page: ListEntriesResponse = await call_until_answered(RunServiceStub(channel).ListEntries, request)
    found = []
    if [entry.offset for entry in page.entries] != list(range(1, len(page.entries) + 1)):
        found.append(f"{run_id}: offsets {[entry.offset for entry in page.entries]}")
    times = [entry.append_time.ToMicroseconds() for entry in page.entries]
    if times != sorted(times):
        found.append(f"{run_id}: time goes back: {times}")
    steps = [entry.step_ended.operation for entry in page.entries if entry.HasField("step_ended")]
    if len(set(steps)) != len(steps):
        found.append(f"{run_id}: a step ended twice: {steps}")
    for before, after in zip(page.assignments, page.assignments[1:], strict=False):
        ended = before.end_time.ToMicroseconds()
        if not before.HasField("end_time") or ended > after.assign_time.ToMicroseconds() or before.epoch >= after.epoch:
            found.append(f"{run_id}: epochs {before.epoch} and {after.epoch} at the same time")
    return found


def describe(seen: Seen) -> str:
    return json.dumps(seen.violations[:10], indent=1)
