"""Brings the gauges that come from the store up to date, when somebody scrapes."""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

from midstream_server.store.interface import Demand, Snapshot
from midstream_server.telemetry import log
from midstream_server.telemetry.metrics import Metrics

DEMAND_SECONDS: Final = 3.0
COUNT_SECONDS: Final = 1.0
"""How long a scrape waits for each of the two. A count that takes longer goes on for the scrapes to come."""
REST: Final = 20
"""For so many times as long as the last count took, none begins: many servers may count the same millions of runs."""


class Source(Protocol):
    """The store's side."""

    async def snapshot(self) -> Snapshot: ...

    async def demand(self) -> Demand: ...


class StoredGauges:
    """Where the store fails or takes too long, the gauges keep their last values.

    What workers are wanted for is read at each scrape and by itself, since workers are started by it; everything is
    counted as often as that takes no more than a twentieth of the time.
    """

    def __init__(self, metrics: Metrics, source: Source) -> None:
        self._metrics = metrics
        self._source = source
        self._count: asyncio.Task[None] | None = None
        self._next_count = 0.0

    async def refresh(self) -> None:
        loop = asyncio.get_running_loop()
        if self._count is None and loop.time() >= self._next_count:
            self._count = asyncio.create_task(self._count_all())
        try:
            async with asyncio.timeout(DEMAND_SECONDS):
                self._metrics.set_demand(await self._source.demand())
        except Exception as error:
            log.snapshot_failed(error=error)
        if self._count is not None:
            await asyncio.wait((self._count,), timeout=COUNT_SECONDS)

    async def stop(self) -> None:
        if self._count is not None:
            self._count.cancel()
            with suppress(asyncio.CancelledError):
                await self._count

    async def _count_all(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self._metrics.set_snapshot(await self._source.snapshot())
        except Exception as error:
            log.snapshot_failed(error=error)
        finally:
            self._next_count = loop.time() + REST * (loop.time() - began)
            self._count = None
