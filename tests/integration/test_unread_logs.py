"""A server or a worker goes on when nobody reads its log any more."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import midstream

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
TASK = """
from midstream import Context, task

@task("adds")
async def adds(context: Context, number: int) -> int:
    return number + 1
"""


def start(*command: str, directory: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", *command], cwd=directory, env=ENV, stdout=subprocess.PIPE)


def read_until(process: "subprocess.Popen[bytes]", event: str) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        said: dict[str, Any] = json.loads(line)
        if said["event"] == event:
            return said
    raise AssertionError(f"it ended without {event}")


def stop_reading(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()


async def test_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASK)
    listen = [flag for name in ("--listen", "--web-listen", "--metrics-listen") for flag in (name, "127.0.0.1:0")]
    server = start("midstream_server", "--database", "a.db", "--log-level", "debug", *listen, directory=tmp_path)
    processes = [server]
    try:
        url = read_until(server, "server_started")["url"]
        worker = start("midstream.cli", "worker", "tasks", "--url", url, "--json", directory=tmp_path)
        processes.append(worker)
        read_until(worker, "connected")
        stop_reading(processes)
        async with midstream.connect(url) as client:
            for number in range(3):
                run = await client.start_run("adds", number)
                seen = [each async for each in client.watch_run(run.id)]
                assert seen[-1].result == number + 1
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
