"""Servers on one store, with a proxy on every way to them and from them to the database."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from support.chaos.scenario import quiet_port, to_the_end
from support.postgres import Postgres, asked
from support.proxy import Proxy
from support.server_process import ServerProcess, StartFailed

LEASE = "2s"
CATCH_UP_SECONDS = 30.0
_EVERY_COMMIT_WAITS = "ALTER SYSTEM SET synchronous_standby_names = '*'"
_CAUGHT_UP = (
    "SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= $1::text::pg_lsn)"
)


class Cluster:
    """On SQLite one server, on PostgreSQL as many as asked for, with a synchronous standby. `async with` ends all.

    `skews` are seconds by which the servers' clocks are ahead. `launch`: see `support.chaos.launch`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        postgres: bool,
        replicas: int = 1,
        standby: bool = False,
        skews: Sequence[float] = (),
        launch: Sequence[str] = (),
        postgres_options: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._replicas = replicas
        self._has_standby = standby
        self._skews = [*skews, *[0.0] * replicas]
        self._launch = list(launch)
        self._options = list(postgres_options)
        self._uses_postgres = postgres
        self.nodes: list[Postgres] = []
        """PostgreSQL's servers by place; `primary` is the place of the one that takes writes."""
        self.primary = 0
        self.servers: list[ServerProcess] = []
        self._ports: list[int] = []
        self.fronts: dict[str, Proxy] = {}
        """The way to the servers, by client."""
        self.backs: list[list[Proxy]] = []
        """The ways to the database, by server and place."""

    @property
    def database(self) -> Postgres:
        return self.nodes[self.primary]

    async def __aenter__(self) -> Self:
        try:
            if self._uses_postgres:
                await to_the_end(self._start_primary)
                if self._has_standby:
                    await to_the_end(self.add_standby)
            for number in range(self._replicas):
                await self._make_server(number)
            await to_the_end(self.servers[0].start)  # Migrates, so that the others need not wait for it.
            await asyncio.gather(*(to_the_end(server.start) for server in self.servers[1:]))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._end()

    async def _end(self) -> None:
        for proxy in (*self.fronts.values(), *(back for backs in self.backs for back in backs)):
            await proxy.close()
        for server in self.servers:
            await to_the_end(server.end)
        for node in self.nodes:
            await to_the_end(node.delete)

    async def way_in(self, client: str, *, server: int | None = None) -> str:
        """An address of the client's own, to one server, or to any that is there: each client prefers another."""
        first = len(self.fronts)

        def targets() -> Sequence[int]:
            if server is not None:
                return [self._ports[server]]
            return [self._ports[(first + each) % len(self._ports)] for each in range(len(self._ports))]

        proxy = self.fronts[client] = await Proxy(targets).start()
        return f"127.0.0.1:{proxy.port}"

    async def _make_server(self, number: int) -> None:
        port = quiet_port()
        args = [*self._launch, "--clock-skew", str(self._skews[number]), "--listen", f"127.0.0.1:{port}"]
        if self._uses_postgres:
            args += ["--store", await self._make_backs()]
        directory = self._directory / f"server-{number}"
        directory.mkdir()
        self._ports.append(port)
        self.servers.append(
            ServerProcess(directory, module="support.chaos.launch", args=args, env={"MIDSTREAM_LEASE": LEASE})
        )

    async def _make_backs(self) -> str:
        backs = [await Proxy(self._node_at(place)).start() for place in range(len(self.nodes))]
        self.backs.append(backs)
        hosts = ",".join(f"127.0.0.1:{back.port}" for back in backs)
        return f"postgresql://postgres@{hosts}/postgres"

    def _node_at(self, place: int) -> Callable[[], Sequence[int]]:
        return lambda: [self.nodes[place].port]

    def _start_primary(self) -> None:
        self.nodes.append(Postgres(durable=True, options=["wal_keep_size=256MB", *self._options]))
        self.database.__enter__()

    def add_standby(self) -> None:
        """In the place of what failed, or in a new one. From then on every commit waits for it."""
        standby = Postgres(durable=True, options=["wal_keep_size=256MB", *self._options])
        standby.follow(self.database)
        standby.start()
        if len(self.nodes) < 2:
            self.nodes.append(standby)
        else:
            self.nodes[1 - self.primary] = standby
        asked(self.database.url(), lambda connection: connection.execute(_EVERY_COMMIT_WAITS))
        asked(self.database.url(), lambda connection: connection.execute("SELECT pg_reload_conf()"))

    async def standby_has_everything(self) -> None:
        """A standby takes over only if every commit waits for it by now, and it has all that was there before."""
        url = self.database.url()
        written = await to_the_end(
            lambda: asked(url, lambda connection: connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
        )
        await to_the_end(lambda: _wait_until(url, _CAUGHT_UP, written))

    async def fail_over(self) -> None:
        """The primary is gone for good, and the standby takes its place."""
        await self.standby_has_everything()
        lost = self.database
        await to_the_end(lost.kill9)
        self.primary = 1 - self.primary
        await to_the_end(self.database.promote)
        await to_the_end(lost.delete)

    async def crash_everything(self) -> None:
        """All servers, and the database, at once; then they start again."""
        for server in self.servers:
            await to_the_end(server.kill9)
        if self.nodes:
            await to_the_end(self.database.kill9)
            await to_the_end(self.database.start)
        await asyncio.gather(*(to_the_end(partial(self.start_server, each)) for each in range(len(self.servers))))

    def start_server(self, number: int) -> None:
        """Tries again while it cannot, as whatever keeps servers running does: one that starts wants its database."""
        give_up = time.monotonic() + CATCH_UP_SECONDS
        while True:
            try:
                self.servers[number].start()
            except StartFailed:
                if time.monotonic() > give_up:
                    raise
            else:
                return

    @property
    def address(self) -> str:
        """Of one server, with no proxy between."""
        return f"127.0.0.1:{self._ports[0]}"


def _wait_until(url: str, question: str, *arguments: object) -> None:
    """Asks the database again and again, for as long as the answer is not true."""
    give_up = time.monotonic() + CATCH_UP_SECONDS
    while not asked(url, lambda connection: connection.fetchval(question, *arguments)):
        assert time.monotonic() < give_up, f"the standby did not catch up: {question} {arguments}"
        time.sleep(0.05)
