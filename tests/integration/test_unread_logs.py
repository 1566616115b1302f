"""A server or a worker goes on when nobody reads its log any more."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import midstream
from support.typescript_worker import COMMAND, TypeScriptProject, node_program

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
TASK = """
from midstream import Context, task

@task("adds")
async def adds(context: Context, number: int) -> int:
    return number + 1
"""
TASK_IN_JAVASCRIPT = """
import { task } from "@midstream/client/worker";
export const adds = task({ id: "adds", run: async (number) => number + 1 });
"""


def start(*command: str, directory: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, cwd=directory, env=ENV, stdout=subprocess.PIPE)


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


def python(tmp_path: Path) -> tuple[list[str], Path]:
    (tmp_path / "tasks.py").write_text(TASK)
    return [sys.executable, "-m", "midstream.cli", "worker", "tasks"], tmp_path


def typescript(tmp_path: Path) -> tuple[list[str], Path]:
    project = TypeScriptProject(tmp_path, tsx=False)
    project.write("tasks.mjs", TASK_IN_JAVASCRIPT)
    return [node_program(), str(COMMAND), "worker", "tasks.mjs"], tmp_path


@pytest.mark.parametrize("language", [python, typescript])
async def test_nobody_reads(tmp_path: Path, language: Callable[[Path], tuple[list[str], Path]]) -> None:
    command, directory = language(tmp_path)
    listen = [flag for name in ("--listen", "--web-listen", "--metrics-listen") for flag in (name, "127.0.0.1:0")]
    server = start(
        *(sys.executable, "-m", "midstream_server", "--database", "a.db", "--log-level", "debug", *listen),
        directory=tmp_path,
    )
    processes = [server]
    try:
        url = read_until(server, "server_started")["url"]
        worker = start(*command, "--url", url, "--json", directory=directory)
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
