"""The research chat, all of it: `make demo-chat`, or `python run_chat.py [--port N] [--no-browser]`.

Starts a server with an API key, a worker for the agent and the chat's backend, each in a process of its own, and ends
them when it ends.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import webbrowser
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).parent
PAGE = HERE / "page" / "dist" / "index.html"
PATIENCE = 60.0  # seconds until a process that is not ready is an error
MIDSTREAM_SERVER = ("-m", "midstream_server")


class DemoError(Exception):
    """It cannot go on; the message says why."""


class Player:
    """One of the demo's processes. It does not outlive the block."""

    def __init__(self, name: str, *arguments: str, environment: dict[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._lines: deque[str] = deque(maxlen=50)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the demo alone
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(15):
                await self._read()
        except TimeoutError:
            self._process.kill()
        await self._process.wait()

    async def says(self, text: str) -> str:
        """The next line with this text. DemoError if it does not come."""
        try:
            async with asyncio.timeout(PATIENCE):
                line = await self._read(text)
        except TimeoutError:
            line = None
        if line is None:
            raise DemoError(f"the {self.name} did not start:\n" + "\n".join(self._lines))
        return line

    async def ends(self) -> None:
        """Reads what it says until it has ended, which it should not: DemoError."""
        await self._read()
        raise DemoError(f"the {self.name} has ended:\n" + "\n".join(self._lines))

    async def _read(self, until: str | None = None) -> str | None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self._lines.append(line)
            if until is not None and until in line:
                return line
        return None


async def play(directory: Path, port: int, *, open_browser: bool) -> None:
    """Until something ends it."""
    folders = [str(HERE), str(HERE.parent / "research_agent"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONUNBUFFERED": "1"}
    database = ("--database", str(directory / "midstream.db"))
    site = f"http://127.0.0.1:{port}"

    async with contextlib.AsyncExitStack() as exits:

        async def start(name: str, *arguments: str, until: str) -> tuple[Player, str]:
            player = await exits.enter_async_context(Player(name, *arguments, environment=environment))
            return player, await player.says(until)

        _, key = await start(
            "key", *MIDSTREAM_SERVER, "keys", "create", "--name", "chat", *database, until="midstream_"
        )
        environment["MIDSTREAM_API_KEY"] = key
        server, started = await start(
            "server",
            *(*MIDSTREAM_SERVER, *database, "--log-format", "json"),
            *("--listen", "127.0.0.1:0", "--metrics-listen", "", "--drain-seconds", "1"),
            *("--web-listen", "127.0.0.1:0", "--web-origins", f"{site},http://localhost:{port}"),
            until="server_started",
        )
        urls = json.loads(started)
        environment |= {"MIDSTREAM_URL": urls["url"], "CHAT_WEB_URL": urls["web_url"]}
        worker, _ = await start(
            "worker",
            "-m",
            "midstream.cli",
            "worker",
            "chat.agent",
            "--push-schemas",
            "--json",
            "--drain-timeout",
            "1s",
            until='"connected"',
        )
        backend, _ = await start(
            "backend",
            *("-m", "uvicorn", "chat.backend:app", "--host", "127.0.0.1", "--port", str(port)),
            until="Application startup complete",
        )
        print(f"The chat is at {site}\n", flush=True)
        print("It runs on a Midstream server of its own, in a temporary directory. Look at its runs with:")
        print(f"  export MIDSTREAM_URL={urls['url']} MIDSTREAM_API_KEY={key}")
        print("  midstream runs list\n\nCtrl-C ends it.", flush=True)
        if open_browser:
            webbrowser.open(site)
        await asyncio.gather(server.ends(), worker.ends(), backend.ends())


def free_port(wanted: int) -> int:
    """The wanted port, else any that is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise DemoError("no port is free")


async def main(port: int, open_browser: bool) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if not PAGE.exists():
        raise DemoError(f"{PAGE} is missing; `make demo-chat` builds it")
    with tempfile.TemporaryDirectory(prefix="midstream-chat-") as directory:
        await play(Path(directory), free_port(port), open_browser=open_browser)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The research chat: server, worker, backend and page.")
    parser.add_argument("--port", type=int, default=8000, help="the chat's; another one if it is taken")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.port, not arguments.no_browser))
    except DemoError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except asyncio.CancelledError:
        sys.exit(143)
