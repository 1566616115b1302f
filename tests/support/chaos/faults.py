"""Lets the faults of a plan befall a cluster and its workers, one after the other or side by side."""

import asyncio
import os
import random
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from support.chaos.cluster import Cluster
from support.chaos.fleet import Fleet
from support.chaos.history import History, Struck
from support.chaos.scenario import to_the_end
from support.chaos.schedule import Fault
from support.proxy import Proxy

QUIET_SECONDS = 2.0
"""Where faults keep everybody from working, the next one comes all the same."""

DELAY_SECONDS = 0.01

Heal = Callable[[], Awaitable[None]]


class Attack:
    """Carries a plan out. `calm` is set when nothing ails any more."""

    def __init__(self, cluster: Cluster, fleet: Fleet, history: History, seed: str) -> None:
        self.calm = asyncio.Event()
        self._cluster = cluster
        self._fleet = fleet
        self._history = history
        self._random = random.Random(f"attack {seed}")
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One fault at a time for each target."""

    async def run(self, plan: Sequence[Fault]) -> None:
        async with asyncio.TaskGroup() as beside:
            for fault in plan:
                with suppress(TimeoutError):
                    async with asyncio.timeout(QUIET_SECONDS):
                        await self._history.until_answers(fault.after_answers)
                suffering = beside.create_task(self._befall(fault))
                if not fault.beside:
                    await suffering
        self._history.add(Struck("all is well from here on"))
        self.calm.set()

    async def _befall(self, fault: Fault) -> None:
        target = "database" if fault.kind.endswith("database") or fault.kind in _OF_DATABASE else fault.target
        async with self._locks[target]:
            self._history.add(Struck(str(fault)))
            method = getattr(self, f"_{fault.kind}")
            heal: Heal = await method(fault.target)
            await asyncio.sleep(fault.seconds)
            await heal()
            if fault.seconds:
                self._history.add(Struck(f"end of {fault.kind} {fault.target}"))

    # Processes.

    async def _kill(self, target: str) -> Heal:
        kind, _, name = target.partition(" ")
        if kind == "server":
            number = int(name)
            await to_the_end(self._cluster.servers[number].kill9)
            return lambda: _blocking(lambda: self._cluster.start_server(number))
        await to_the_end(lambda: self._fleet.kill(name))
        return lambda: _blocking(lambda: self._fleet.start(name))

    async def _drain(self, target: str) -> Heal:
        number = int(target.partition(" ")[2])
        await to_the_end(self._cluster.servers[number].terminate)
        return lambda: _blocking(lambda: self._cluster.start_server(number))

    async def _pause(self, target: str) -> Heal:
        kind, _, name = target.partition(" ")
        if kind == "server":
            server = self._cluster.servers[int(name)]
            server.send_signal(signal.SIGSTOP)
            return lambda: _blocking(lambda: server.send_signal(signal.SIGCONT))
        self._fleet.pause(name)
        return lambda: _blocking(lambda: self._fleet.resume(name))

    async def _kill_child(self, target: str) -> Heal:
        self._fleet.kill_child(target.partition(" ")[2], self._random)
        return _nothing

    async def _kill_thread(self, target: str) -> Heal:
        self._fleet.kill_thread()
        return _nothing

    # Networks.

    async def _delay(self, target: str) -> Heal:
        return self._network(target, lambda proxy: proxy.delay(DELAY_SECONDS))

    async def _stall(self, target: str) -> Heal:
        return self._network(target, lambda proxy: proxy.stall())

    async def _half_open(self, target: str) -> Heal:
        return self._network(target, lambda proxy: proxy.lose("both"))

    async def _lose_requests(self, target: str) -> Heal:
        return self._network(target, lambda proxy: proxy.lose("requests"))

    async def _lose_answers(self, target: str) -> Heal:
        return self._network(target, lambda proxy: proxy.lose("answers"))

    async def _cut(self, target: str) -> Heal:
        for proxy in self._ways(target):
            await proxy.cut()
        return self._network(target, lambda proxy: None)

    def _network(self, target: str, strike: Callable[[Proxy], None]) -> Heal:
        ways = self._ways(target)
        for proxy in ways:
            strike(proxy)

        async def heal() -> None:
            for proxy in ways:
                await proxy.heal()

        return heal

    def _ways(self, target: str) -> Sequence[Proxy]:
        """`way of CLIENT`: to the servers; `way of server N`: to the database."""
        name = target.removeprefix("way of ")
        if name.startswith("server "):
            return self._cluster.backs[int(name.removeprefix("server "))]
        return [self._cluster.fronts[name]]

    # The database.

    async def _crash_database(self, target: str) -> Heal:
        await to_the_end(self._cluster.database.kill9)
        return lambda: _blocking(self._cluster.database.start)

    async def _restart_database(self, target: str) -> Heal:
        await to_the_end(self._cluster.database.stop)
        return lambda: _blocking(self._cluster.database.start)

    async def _pause_database(self, target: str) -> Heal:
        database = self._cluster.database
        database.pause()
        return lambda: _blocking(database.resume)

    async def _pause_standby(self, target: str) -> Heal:
        standby = self._cluster.nodes[1 - self._cluster.primary]
        standby.pause()
        return lambda: _blocking(standby.resume)

    async def _kill_backend(self, target: str) -> Heal:
        """PostgreSQL then ends all others and recovers, since the dead one may have left its memory in disorder."""
        with suppress(ProcessLookupError):
            os.kill(self._random.choice(self._cluster.database.backends()), signal.SIGKILL)
        return _nothing

    async def _fail_over(self, target: str) -> Heal:
        await self._cluster.fail_over()
        return lambda: _blocking(self._cluster.add_standby)

    async def _fail_over_silently(self, target: str) -> Heal:
        """The primary's machine is gone: nobody answers there, not even to say so."""
        ways = [backs[self._cluster.primary] for backs in self._cluster.backs]
        await self._cluster.standby_has_everything()
        for way in ways:
            way.lose("both")
        await self._cluster.fail_over()

        async def heal() -> None:
            # The others must have found their way before the lost place is filled again.
            await self._history.until_answers(1)
            await to_the_end(self._cluster.add_standby)
            for way in ways:
                await way.heal()

        return heal


_OF_DATABASE = ("kill_backend", "pause_standby", "fail_over", "fail_over_silently")


def targets(cluster: Cluster, fleet: Fleet) -> Mapping[str, Sequence[str]]:
    """What each kind of fault can befall here."""
    servers = [f"server {number}" for number in range(len(cluster.servers))]
    workers = [f"worker {name}" for name in fleet.workers]
    clients = [*cluster.fronts, *(servers if cluster.nodes else ())]
    ways = [f"way of {client}" for client in clients]
    found: dict[str, Sequence[str]] = {
        "kill": [*servers, *workers],
        "drain": servers,
        "pause": [*servers, *workers],
        "kill_child": [f"worker {name}" for name in fleet.workers if name.startswith("python")],
        "kill_thread": ["the next step"] if any(name.startswith("typescript") for name in fleet.workers) else [],
        **dict.fromkeys(("delay", "stall", "cut", "half_open", "lose_requests", "lose_answers"), ways),
    }
    if cluster.nodes:
        for kind in ("crash_database", "restart_database", "pause_database", "kill_backend"):
            found[kind] = ["the primary"]
    if len(cluster.nodes) > 1:
        found.update(pause_standby=["the standby"], fail_over=["the primary"], fail_over_silently=["the primary"])
    return {kind: places for kind, places in found.items() if places}


async def _nothing() -> None: ...


async def _blocking(function: Callable[[], object]) -> None:
    await to_the_end(function)
