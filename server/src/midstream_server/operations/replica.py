"""What a server does about the others on the same store: it looks where they say that something has changed."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from midstream.clock import Clock
from midstream_server.agreed_clock import AgreedClock
from midstream_server.operations.hub import Hub
from midstream_server.operations.timekeeper import Timekeeper
from midstream_server.operations.work.dispatcher import Dispatcher
from midstream_server.store import Store
from midstream_server.store.managed import ManagedStore
from midstream_server.store.notice import Notice
from midstream_server.telemetry import log

_POLL_SECONDS: Final = 1.0
_SHARES: Final = 30
"""A lost notice delays and never loses: every second a share of the watched runs is looked at, and the queue."""
_CLAIMS_AT_ONCE: Final = 100


class Replica:
    """One of the servers on a store, which may be the only one."""

    def __init__(
        self,
        store: Store,
        managed: ManagedStore,
        *,
        hub: Hub,
        dispatcher: Dispatcher,
        timekeeper: Timekeeper,
        clock: Clock,
        lease_us: int,
        unheld_expiry_us: int,
        schemas_changed: Callable[[Collection[str] | None], None] = lambda _: None,
    ) -> None:
        """`schemas_changed` hears of namespaces, or None: of any."""
        self._store = store
        self._managed = managed
        self._hub = hub
        self._dispatcher = dispatcher
        self._timekeeper = timekeeper
        self._clock = clock
        self._lease_us = lease_us
        self._unheld_expiry_us = unheld_expiry_us
        self._schemas_changed = schemas_changed
        self._queued = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        clock = self._clock if isinstance(self._clock, AgreedClock) else None
        await self._store.listen(self._heard, self._resume, clock=clock)
        if self._store.shared:
            self._tasks = [
                asyncio.create_task(self._poll(), name="replica-poll"),
                asyncio.create_task(self._claim_for_ever(), name="replica-claim"),
            ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    def _heard(self, notice: Notice) -> None:
        self._hub.ring(notice.changes)
        if notice.schemas:
            self._schemas_changed(notice.schemas)
        for worker_no in notice.vacated:
            self._dispatcher.vacate(worker_no)
        if any(self._dispatcher.wants(namespace, task) for namespace, task in notice.queued):
            self._queued.set()

    async def _resume(self, alone: bool) -> None:
        if alone:
            # Nobody could hold a run, or renew a lease, while no server was there.
            now_us = self._clock.now_us()
            await self._managed.extend_leases(lease_until_us=now_us + self._lease_us)
            await self._store.postpone_unheld(due_us=now_us + self._unheld_expiry_us)
        self._hub.ring_all()
        self._schemas_changed(None)
        self._queued.set()
        self._timekeeper.timers_changed()

    async def _poll(self) -> None:
        share = 0
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            share += 1
            self._hub.ring_share(share, _SHARES)
            if share % _SHARES == 0:
                self._schemas_changed(None)
            self._queued.set()

    async def _claim_for_ever(self) -> None:
        """For the free seats here: runs that other servers have queued."""
        while True:
            await self._queued.wait()
            self._queued.clear()
            try:
                for (namespace, tasks), wanted in self._dispatcher.openings().items():
                    limit = min(wanted, _CLAIMS_AT_ONCE)
                    claimed = await self._managed.claim_queued(
                        namespace, dict(tasks), limit=limit, now_us=self._clock.now_us()
                    )
                    if claimed == limit:
                        self._queued.set()
            except Exception as error:
                log.claims_delayed(error=error)
