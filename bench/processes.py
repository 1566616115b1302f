"""Child processes of the bench: the Midstream server as users start it, and the bench's own helpers."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent

_READY_SECONDS = 60
_LOOK_SECONDS = 0.05


class ChildFailed(RuntimeError):
    """A child process ended before it said that it was ready."""


class Child:
    """A running child process, and the JSON line in which it said that it was ready."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self._process = process
        self.ready = ready

    def rss_kib(self) -> int:
        """Resident memory, in KiB, as Linux counts it."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise ChildFailed(f"process {self._process.pid} has no memory")


def private_kib(pid: int) -> int:
    """Memory of a process that it shares with no other one, in KiB, as Linux counts it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


async def build_client() -> None:
    """The TypeScript one, where it is not current."""
    make = await asyncio.create_subprocess_exec("make", "--silent", "client_ts/dist/.built", cwd=ROOT)
    if await make.wait() != 0:
        raise RuntimeError("the TypeScript client could not be built")


def child(module: str, *args: str, ready_event: str) -> AbstractContextManager[Child]:
    """As `program`, with `python -m module args`."""
    return program(sys.executable, "-m", module, *args, ready_event=ready_event)


@contextmanager
def program(*command: str, ready_event: str) -> Iterator[Child]:
    """Runs the command until the block is left; enters it when the child has printed `ready_event`."""
    with _running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = _read_until(process.stdout, ready_event, command)
        # A full pipe would block the child.
        threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        yield Child(process, ready)


@asynccontextmanager
async def stranger(
    *command: str, log: Path, ready: Callable[[], Awaitable[bool]], environment: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Runs a program that is not the bench's own until the block is left; enters it when `ready` says so.

    `log` is a file for its output. `environment` is added to that of the bench.
    """
    whole = {**os.environ, **(environment or {})}
    with log.open("wb") as output, _running(command, stdout=output, stderr=subprocess.STDOUT, env=whole) as process:
        async with asyncio.timeout(_READY_SECONDS):
            while not await ready():
                if process.poll() is not None:
                    raise ChildFailed(f"{' '.join(command)} ended before it was ready; it said:\n{_end_of(log)}")
                await asyncio.sleep(_LOOK_SECONDS)
        yield


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:]


@contextmanager
def _running(command: Sequence[str], **options: Any) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(command, cwd=ROOT, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def server_arguments(directory: Path) -> list[str]:
    """Its defaults, but for the database and the ports."""
    arguments = ["--database", str(directory / "midstream.db")]
    for listener in ("--listen", "--web-listen", "--metrics-listen"):
        arguments += [listener, "127.0.0.1:0"]
    return arguments


@contextmanager
def midstream_server(directory: Path) -> Iterator[Child]:
    """A server with its defaults on a new database in `directory`."""
    with child("midstream_server", *server_arguments(directory), ready_event="server_started") as server:
        yield server


def _read_until(lines: IO[bytes], event: str, command: Sequence[str]) -> dict[str, Any]:
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("event") == event:
            return said
    raise ChildFailed(f"{' '.join(command)} ended before it was ready")


def _drain(pipe: IO[bytes]) -> None:
    with Path(os.devnull).open("wb") as nowhere:
        shutil.copyfileobj(pipe, nowhere)
