"""Counts runs, for the metrics."""

from midstream_server.domain.run import State, TimerKind
from midstream_server.store.interface import Demand, Snapshot
from midstream_server.store.postgres.connections import Connection


async def snapshot(connection: Connection) -> Snapshot:
    runs = await connection.fetch("SELECT state, count(*) FROM runs GROUP BY state")
    timers = await connection.fetch("SELECT kind, count(*) FROM timers GROUP BY kind")
    return Snapshot({State(state): count for state, count in runs}, {TimerKind(kind): count for kind, count in timers})


async def demand(connection: Connection) -> Demand:
    queued = await connection.fetch("SELECT task, count(*) FROM runs WHERE queued_us IS NOT NULL GROUP BY task")
    assigned = await connection.fetch("SELECT task, count(*) FROM runs WHERE worker IS NOT NULL GROUP BY task")
    return Demand(dict(map(tuple, queued)), dict(map(tuple, assigned)))
