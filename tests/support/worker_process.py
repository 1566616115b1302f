"""A real `midstream worker` in a process of its own, on modules that the test writes: to stop, kill and restart."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WAIT_SECONDS = 30.0


class WorkerProcess:
    """Starts in `directory`, which holds the modules. `events` are its JSON lines; other lines are named `print`.

    `with` ends it however the test ends, always by its process id.
    """

    def __init__(
        self, url: str, directory: Path, *modules: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self._command = [sys.executable, "-m", "midstream.cli", "worker", *modules, *args]
        self._directory = directory
        self._env = {"PYTHONPATH": os.pathsep.join(sys.path), "MIDSTREAM_URL": url, **(env or {})}
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._open_pipes = 0

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> Self:
        """Returns at once; wait for `connected`."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env={**os.environ, **self._env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pipe in (self._process.stdout, self._process.stderr):
            reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
            reader.start()
            self._readers.append(reader)
        return self

    def wait_for(self, name: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The `count`-th event with this name and these fields. Raises AssertionError where none comes."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.events if each["event"] == name and fields.items() <= each.items()]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, WAIT_SECONDS):
                raise AssertionError(f"no {name} {fields} in {self.events}")
            return found()[count - 1]

    def wait_for_print(self, beginning: str) -> str:
        """The first printed line that begins so."""
        self.wait_until(lambda: any(text.startswith(beginning) for text in self.printed()))
        return next(text for text in self.printed() if text.startswith(beginning))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Looks whenever the worker has said something, and every now and then. Raises AssertionError."""
        give_up = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while not condition():
                assert time.monotonic() < give_up, self.events
                self._changed.wait(0.05)

    def printed(self) -> list[str]:
        """What runs printed, and stderr."""
        return [each["text"] for each in self.events if each["event"] == "print"]

    def kill9(self) -> int:
        return self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM: the worker drains. Returns the exit code."""
        return self._end(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits until it has ended, with everything that holds its output: its template and its children."""
        assert self._process is not None, "it does not run"
        try:
            code = self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            for reader in self._readers:
                reader.join(WAIT_SECONDS)
            for pipe in (self._process.stdout, self._process.stderr):
                assert pipe is not None
                pipe.close()
            self._readers.clear()
            self._process = None
        return code

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill9()

    def _end(self, number: signal.Signals) -> int:
        with contextlib.suppress(ProcessLookupError):
            self.send_signal(number)
        return self.wait()

    def _read(self, pipe: Any) -> None:
        for line in pipe:
            try:
                event = json.loads(line)
                assert isinstance(event, dict)
                assert "event" in event
            except (ValueError, AssertionError):
                event = {"event": "print", "text": line.rstrip("\n")}
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()


def children_of(pid: int) -> dict[int, str]:
    """The process's children and their states (`Z` is a zombie), from /proc."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found[int(stat.parent.name)] = fields[0]
    return found


def exists(pid: int) -> bool:
    """Zombies exist, too."""
    return Path(f"/proc/{pid}").exists()


def is_running(pid: int) -> bool:
    """False for zombies: whoever adopted them may take its time."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
