"""Resumes runs with a short log one by one, and prints when each thing happened on the way, of all processes.

One machine has one monotonic clock. The stamps themselves cost some 20 µs of each resume.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import midstream
from bench.frames import STREAM
from bench.managed import REST_SECONDS, Ear, until
from bench.managed_tasks import waiter
from bench.processes import ROOT, child, server_arguments
from bench.telling import SILENT
from bench.trace.stamps import PATH
from midstream import Client
from midstream.models import RunState

_RESUMES_PER_RUN = 3
_SENT, _TOLD = "client: send is called", "child: the task has its record"

Stamps = list[tuple[str, int]]


async def trace(count: int, entries: int, directory: Path) -> list[Stamps]:
    """The stamps of each resume, in order of time."""
    async with AsyncExitStack() as cleanup:
        path = str(Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="trace-"))) / "socket")
        heard = cleanup.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        heard.setblocking(False)
        heard.bind(path)
        os.environ[PATH] = path
        server = cleanup.enter_context(
            child("bench.trace.server", *server_arguments(directory), ready_event="server_started")
        )
        url = str(server.ready["url"])
        worker = ("bench.trace.worker", "worker", "bench.trace.tasks", "--url", url, "--json")
        cleanup.enter_context(child(*worker, ready_event="connected"))
        ear = cleanup.enter_context(Ear())
        client = await cleanup.enter_async_context(midstream.connect(url))
        resumes: list[Stamps] = []
        while len(resumes) < count:
            resumes += await _resumes(client, ear, heard, entries, first_number=1 + len(resumes) * 2)
        return resumes[:count]


async def _resumes(client: Client, ear: Ear, heard: socket.socket, entries: int, *, first_number: int) -> list[Stamps]:
    run = await waiter.start(ear.path, client=client)
    await client.send_many(run.id, STREAM, [SILENT] * (entries - 2 - _RESUMES_PER_RUN // 2 - 1))
    resumes: list[Stamps] = []
    for number in range(first_number, first_number + _RESUMES_PER_RUN + 1):
        await until(client, run.id, RunState.SUSPENDED)
        await asyncio.sleep(REST_SECONDS)
        _all(heard)
        began = time.perf_counter_ns()
        await client.send(run.id, STREAM, number)
        told = await ear.hears(number)
        await until(client, run.id, RunState.SUSPENDED)
        await asyncio.sleep(REST_SECONDS)
        within = [stamp for stamp in _all(heard) if began <= stamp[1] <= told.time_ns]
        resumes.append([(_SENT, began), *sorted(within, key=lambda stamp: stamp[1]), (_TOLD, told.time_ns)])
    await client.cancel_run(run.id)
    await until(client, run.id, RunState.CANCELLED)
    return resumes[1:]


def _all(heard: socket.socket) -> Stamps:
    stamps: Stamps = []
    while True:
        try:
            stamps += map(tuple, json.loads(heard.recv(1 << 18)))
        except BlockingIOError:
            return stamps


def table(resumes: list[Stamps]) -> str:
    """Each hop's milliseconds since the one before: the median, and that of the quickest fifth of the resumes."""
    resumes = sorted(resumes, key=lambda stamps: stamps[-1][1] - stamps[0][1])
    quick = resumes[: max(1, len(resumes) // 5)]
    names = _in_order(resumes)
    lines = ["| | all | the quickest fifth |", "|---|---:|---:|"]
    for name in names:
        lines.append(f"| {name} | {_median(resumes, name):.3f} | {_median(quick, name):.3f} |")
    whole = [statistics.median(_whole(stamps) for stamps in some) for some in (resumes, quick)]
    return "\n".join([*lines, f"| whole | {whole[0]:.3f} | {whole[1]:.3f} |"])


def _in_order(resumes: list[Stamps]) -> list[str]:
    """All names but the first, by the time at which they mostly come."""
    since: dict[str, list[int]] = {}
    for stamps in resumes:
        for name, at_ns in _first_of_each(stamps)[1:]:
            since.setdefault(name, []).append(at_ns - stamps[0][1])
    return sorted(since, key=lambda name: statistics.median(since[name]))


def _first_of_each(stamps: Stamps) -> Stamps:
    seen: dict[str, int] = {}
    for name, at_ns in stamps:
        seen.setdefault(name, at_ns)
    return list(seen.items())


def _median(resumes: list[Stamps], name: str) -> float:
    took: list[float] = []
    for stamps in map(_first_of_each, resumes):
        for (_, before_ns), (each, at_ns) in pairwise(stamps):
            if each == name:
                took.append((at_ns - before_ns) / 1e6)
    return statistics.median(took)


def _whole(stamps: Stamps) -> float:
    return (stamps[-1][1] - stamps[0][1]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.trace", description=__doc__)
    parser.add_argument("--resumes", type=int, default=200)
    parser.add_argument("--entries", type=int, default=10, help="how long the log is")
    options = parser.parse_args()
    parent = ROOT / "bench" / "results"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="trace-") as directory:
        resumes = asyncio.run(trace(options.resumes, options.entries, Path(directory)))
    print(table(resumes), file=sys.stdout)


if __name__ == "__main__":
    main()
