"""A server in a process of its own, whose clock is moved by lines on its stdin."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import midstream
from midstream import RunState


class ServerWithStdin:
    def __init__(self, directory: Path) -> None:
        listeners = ["--listen", "127.0.0.1:0", "--web-listen", "", "--metrics-listen", ""]
        command = [sys.executable, "-m", "midstream_server", "testing", *listeners]
        self.process = subprocess.Popen(
            [*command, "--database", str(directory / "midstream.db"), "--log-format", "json"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.url: str = self.next_event("server_started")["url"]

    def next_event(self, *names: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] in names:
                return event
        raise AssertionError(f"it ended without {names}")

    def say(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.next_event("advanced", "advance_refused")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerWithStdin]:
    server = ServerWithStdin(tmp_path)
    yield server
    server.process.kill()
    server.process.communicate()


async def test_seven_days_pass_at_once_and_what_came_due_is_done(server: ServerWithStdin) -> None:
    async with midstream.connect(server.url) as client:
        run = await client.start_run("unheard", max_duration="7d")
        before = server.say("0")["now_us"]
        assert server.say(str(7 * 86_400_000_000))["now_us"] == before + 7 * 86_400_000_000
        assert (await client.get_run(run.id)).state is RunState.EXPIRED


@pytest.mark.parametrize("line", ["-1", "soon", ""])
def test_nonsense_is_refused_and_the_server_goes_on(server: ServerWithStdin, line: str) -> None:
    before = server.say("5")["now_us"]
    refused = server.say(line)
    assert refused["event"] == "advance_refused"
    assert refused["message"]
    assert server.say("1")["now_us"] == before + 1


def test_it_stops_when_stdin_ends(server: ServerWithStdin) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()
    assert server.next_event("server_draining")["signal"] == "stdin ended"
    assert server.process.wait(30) == 0
    server.process.stdin = None
