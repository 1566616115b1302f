"""The demo from end to end, and what steering changes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.server_process import ServerProcess

AGENT = Path(__file__).parents[2] / "examples" / "research_agent"


def midstream(url: str, *arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "midstream.cli", "--url", url, "--json", *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def unsteered_report(server: ServerProcess) -> str:
    """The report of an agent that nobody talks to, but for the approval."""
    with subprocess.Popen(
        [sys.executable, str(AGENT / "agent.py"), "--thinking", "0", "--rounds", "5"],
        env={**os.environ, "MIDSTREAM_URL": server.url},
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdout is not None
        run_id = next(agent.stdout).split()[2]
        midstream(server.url, "send", run_id, "approval", '{"approved": true}')
        agent.stdout.read()
        assert agent.wait() == 0
    report: str = midstream(server.url, "runs", "show", run_id)[0]["result"]["value"]
    return report


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
        "agent │ heard follow-up: How long does it last?",
        "agent │ heard instruction: focus on cost",
        "server │ killed with -9",
        "you │ > follow-up What about fire safety?",
        "agent │ round",
        "server │ serves at",
        "agent │ heard follow-up: What about fire safety?",
        "agent │ the draft is ready",
        "$ midstream tail",
        "user-message #4",
        "approval #1",
        "midstream_sends_total",
        "COMPLETED",
        "$ midstream-server",
    ]
    position = 0
    for part in story:
        position = demo.stdout.find(part, position)
        assert position >= 0, f"{part!r} is missing, or comes too early, in\n{demo.stdout}"
    assert "\x1b" not in demo.stdout

    steered = demo.stdout[demo.stdout.index("# Storing electricity") :]
    unsteered = unsteered_report(server_process)
    assert unsteered.startswith("# Storing electricity for the grid")
    for chapter in ("## How long does it last?", "## Focus on cost", "## What about fire safety?"):
        assert chapter in steered
        assert chapter not in unsteered


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
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
        assert len(children) == 3
        demo.send_signal(ending)
        assert demo.wait() == code
        assert demo.stderr.read() == ""
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
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
