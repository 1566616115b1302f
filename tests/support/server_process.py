"""A real `python -m midstream_server` in a process of its own, on a temporary database: to stop, kill and restart."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class StartFailed(Exception):
    """The process ended, or said nothing, before it served. The message has what it printed."""


class ServerProcess:
    """Starts on a free port; a restart gets the same port and database. Blocking: a start takes about half a second.

    `with` ends it however the test ends, always by its process id.
    """

    def __init__(
        self,
        directory: Path,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        module: str = "midstream_server",
        listen: str = "127.0.0.1:0",
    ) -> None:
        self.database = directory / "midstream.db"
        self.url = ""
        self.web_url = ""
        self.metrics_url = ""
        self.log: list[dict[str, Any]] = []
        """Every event of every process so far, oldest first."""
        self.stderr_path = directory / "server.stderr"
        self._args = list(args)
        self._env = dict(env or {})
        self._module = module
        self._listen = listen
        self._web_listen = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = threading.Event()
        self._serves = False

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Self:
        """Returns when the server serves."""
        assert self._process is None, "it runs already"
        self._started.clear()
        self._serves = False
        command = [sys.executable, "-m", self._module, "--listen", self._listen, "--web-listen", self._web_listen]
        with self.stderr_path.open("ab") as stderr:
            self._process = subprocess.Popen(
                [
                    *command,
                    "--metrics-listen",
                    "127.0.0.1:0",
                    "--database",
                    str(self.database),
                    "--log-format",
                    "json",
                    *self._args,
                ],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **self._env},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._started.wait(START_SECONDS) or not self._serves:
            code = self.kill9()
            raise StartFailed(f"exit code {code}\n{self.stderr_path.read_text()}")
        if self._listen.endswith(":0"):
            self._listen = self.url.partition("://")[2]
        self._web_listen = self.web_url.partition("://")[2]
        return self

    def does_not_start(self) -> str:
        """What it says instead of serving."""
        try:
            self.start()
        except StartFailed as failed:
            return str(failed)
        self.kill9()
        raise AssertionError("it serves")

    def kill9(self) -> int:
        """As the machine's worst day would: no clean-up, no flush. Returns the exit code."""
        return self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM: the server drains. Returns the exit code, 0 when all went well."""
        return self._end(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def wait(self) -> int:
        """Waits until the process has ended by itself, and returns its exit code."""
        process = self._running()
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            assert self._reader is not None
            self._reader.join()
            assert process.stdout is not None
            process.stdout.close()
            self._process = None
        return code

    def restart(self) -> Self:
        """Starts again on the same port and database, after `kill9` first where it still runs."""
        if self._process is not None:
            self.kill9()
        return self.start()

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.log if event["event"] == name]

    def faults(self) -> list[dict[str, Any]]:
        """What it logged as a warning or worse. That it asks for no credentials is as every test wants it."""
        unusual = [event for event in self.log if event["level"] not in ("debug", "info")]
        return [event for event in unusual if event["event"] != "server_is_open"]

    def end(self) -> None:
        """Kills it, where it runs."""
        if self._process is not None:
            self.kill9()

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "it does not run"
        return self._process

    def _end(self, number: signal.Signals) -> int:
        with contextlib.suppress(ProcessLookupError):
            self._running().send_signal(number)
        return self.wait()

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "not_json", "line": line}  # A half line of a killed process, or a stray print.
            self.log.append(event)
            if event["event"] == "server_started":
                self.url, self.web_url, self.metrics_url = event["url"], event["web_url"], event["metrics_url"]
                self._serves = True
                self._started.set()
        self._started.set()  # The process has ended; `start` looks why.


def free_port() -> int:
    """A port that nobody listens on now. Prefer port 0 where the address can be read back."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
