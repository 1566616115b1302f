"""The demo from end to end, and what steering changes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.server_process import ServerProcess

AGENT = Path(__file__).parents[2] / "examples" / "research_agent"


def midstream(url: str, *arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "midstream.cli", "--url", url, "--json", *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


@contextmanager
def worker(url: str) -> Iterator[None]:
    """Executes the agent's runs for as long as the block lasts, then must end well."""
    command = [sys.executable, "-m", "midstream.cli", "--url", url, "worker", "agent", "--directory", str(AGENT)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
        assert process.wait() == 0


def start(url: str, *arguments: str) -> str:
    """Starts a run that nobody needs to wait for, and returns its id."""
    command = [sys.executable, str(AGENT / "start.py"), "--thinking", "0", *arguments]
    environment = {**os.environ, "MIDSTREAM_URL": url}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def result(url: str, run_id: str) -> str:
    """What the run returned, once it has ended."""
    *_, last = midstream(url, "runs", "watch", run_id)
    assert last["state"] == "COMPLETED"
    value: str = last["result"]["value"]
    return value


def test_what_becomes_of_a_run(server_process: ServerProcess) -> None:
    url = server_process.url
    runs = [start(url, "--rounds", "3") for _ in range(3)]
    for run_id, stream, value in zip(
        runs,
        ("approval", "approval", "cancel"),
        ('{"approved": true}', '{"approved": false}', '{"reason": "enough"}'),
        strict=True,
    ):
        midstream(url, "send", run_id, stream, value)
    with worker(url):
        approved, rejected, stopped = (result(url, run_id) for run_id in runs)
    assert approved.startswith("# Storing electricity for the grid")
    assert rejected == "The draft was rejected."
    assert stopped == "Stopped: enough"


def test_the_attached_agent_writes_the_same_report(server_process: ServerProcess) -> None:
    url = server_process.url
    managed = start(url, "--rounds", "3")
    midstream(url, "send", managed, "approval", '{"approved": true}')
    with worker(url):
        report = result(url, managed)
    command = [sys.executable, str(AGENT / "attached.py"), "--rounds", "3", "--thinking", "0"]
    with subprocess.Popen(
        command, env={**os.environ, "MIDSTREAM_URL": url}, stdout=subprocess.PIPE, text=True
    ) as attached:
        assert attached.stdout is not None
        run_id = next(attached.stdout).split()[2]
        midstream(url, "send", run_id, "approval", '{"approved": true}')
        attached.stdout.read()
        assert attached.wait() == 0
    assert result(url, run_id) == report


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_demo_tells_its_story_and_steering_changes_the_report(server_process: ServerProcess) -> None:
    demo = subprocess.run(
        [sys.executable, str(AGENT / "demo.py"), "--pace", "0"], capture_output=True, text=True, check=False
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    story = [
        "server │ serves at",
        "you │ stored 'follow-up' as seq 1",
        "worker-1 │ got the run",
        "agent │ heard follow-up: How long does it last?",
        "agent │ heard instruction: focus on cost",
        "server │ killed with -9",
        "worker-1 │ has lost the server",
        "server │ serves at",
        "agent │ heard follow-up: What about fire safety?",
        "agent │ the draft is ready",
        "worker-1 │ suspended the run",
        "/proc │ there is no process",
        "worker-1 │ killed with -9",
        "worker-2 │ connected",
        "$ midstream send",
        "worker-2 │ the run is completed",
        "midstream_sends_total",
        "$ midstream runs show",
        "COMPLETED",
        "started     by worker worker-1",
        "suspended   its process is gone  no process for",
        "approval #1",
        "resumed     by worker worker-2",
        "$ midstream-server",
    ]
    position = 0
    for part in story:
        position = demo.stdout.find(part, position)
        assert position >= 0, f"{part!r} is missing, or comes too early, in\n{demo.stdout}"
    assert "\x1b" not in demo.stdout

    # Nothing that the agent says is said again when the other worker replays the run.
    said = [line for line in demo.stdout.splitlines() if line.startswith("    agent │")]
    assert len(said) == len(set(said))

    steered = demo.stdout[demo.stdout.index("# Storing electricity") :]
    unsteered = start(server_process.url, "--rounds", "5")
    midstream(server_process.url, "send", unsteered, "approval", '{"approved": true}')
    with worker(server_process.url):
        report = result(server_process.url, unsteered)
    for chapter in ("## How long does it last?", "## Focus on cost", "## What about fire safety?"):
        assert chapter in steered
        assert chapter not in report


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def is_alive(pid: int) -> bool:
    """A zombie is not: whose parent was killed is for the machine's first process to reap."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_an_interrupted_demo_leaves_nothing_behind(ending: signal.Signals, code: int, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(AGENT / "demo.py"), "--pace", "0"],
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        for line in demo.stdout:
            if "agent │ round 1" in line:
                break
        children = children_of(demo.pid)
        assert len(children) == 3
        grandchildren = [pid for child in children for pid in children_of(child)]
        assert grandchildren
        below = [*grandchildren, *(pid for grandchild in grandchildren for pid in children_of(grandchild))]
        demo.send_signal(ending)
        assert demo.wait() == code
        assert demo.stderr.read() == ""
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not [pid for pid in below if is_alive(pid)]
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_cannot_go_on_says_why() -> None:
    demo = subprocess.run(
        [sys.executable, str(AGENT / "demo.py"), "--pace", "0"],
        env={**os.environ, "MIDSTREAM_LOG_LEVEL": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 1
    assert "could not go on: the server ended" in demo.stderr
    assert "MIDSTREAM_LOG_LEVEL" in demo.stderr
    assert "Traceback" not in demo.stderr
