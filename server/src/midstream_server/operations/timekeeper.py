"""Lets timers come due: deadlines, expiry, retention. They are in the store, so that a restart forgets none."""

import asyncio
from contextlib import suppress
from typing import Any

from midstream.clock import Clock
from midstream_server.operations.hub import Hub
from midstream_server.operations.pauses import Pauses
from midstream_server.store import Store
from midstream_server.store.managed import ManagedStore
from midstream_server.telemetry import log

_BATCH = 100
_SLICE_ENTRIES = 500
_RETRY_US = 1_000_000
_MEANWHILE_US = 50_000
_PULSES_IN_A_LEASE = 5


class Timekeeper:
    """One task that sleeps until the next timer is due."""

    def __init__(
        self,
        store: Store,
        managed: ManagedStore,
        hub: Hub,
        clock: Clock,
        pauses: Pauses,
        *,
        lease_us: int,
        unheld_expiry_us: int,
    ) -> None:
        self._store = store
        self._managed = managed
        self._hub = hub
        self._clock = clock
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()
        self._lease_us = lease_us
        self._unheld_expiry_us = unheld_expiry_us
        self._renew_us = 0
        self._pulse_seconds = lease_us / _PULSES_IN_A_LEASE / 1_000_000
        self._pauses = pauses

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="timekeeper")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def timers_changed(self) -> None:
        """A timer may be due earlier than the next one was."""
        self._changed.set()

    async def run_due(self) -> bool:
        """Completes every timer that is due now; true if there was one that no other server is completing."""
        any_fired = False
        async with self._busy:
            await self._renew_holds()
            while fired := await self._store.fire_due(
                now_us=self._clock.now_us(), last_held_us=self._hub.last_held_us, limit=_BATCH
            ):
                any_fired = True
                for run_no, run_id, timer, state in fired:
                    if state is not None:
                        self._hub.forget(run_no)
                        log.timer_fired(run_id=run_id, timer=timer.name)
            while await self._store.purge(now_us=self._clock.now_us(), limit=_SLICE_ENTRIES):
                any_fired = True  # Others have their turn while each slice is committed.
        return any_fired

    async def _renew_holds(self) -> None:
        """Other servers do not know who holds a run here: for them, its expiry is put off before it comes near.

        By an eighth more than it is renewed in, so that it does not come too early should this server die.
        """
        now_us = self._clock.now_us()
        if not self._store.shared or now_us < self._renew_us:
            return
        eighth_us = self._unheld_expiry_us // 8
        held = self._hub.held()
        if held:
            await self._store.postpone_unheld(due_us=now_us + self._unheld_expiry_us + eighth_us, runs=held)
        self._renew_us = now_us + eighth_us

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                if self._pauses.noticed():
                    # Workers may have said that they live, and nobody was here to hear it.
                    log.pause_noticed()
                    await self._managed.extend_leases(lease_until_us=self._clock.now_us() + self._lease_us)
                await self._renew_holds()
                due_us = await self._store.next_due_us()
                if due_us is not None and due_us <= self._clock.now_us():
                    if await self.run_due():
                        continue
                    # Another server is at it.
                    due_us = self._clock.now_us() + _MEANWHILE_US
            except Exception as error:
                # Timers must outlive a full disk.
                log.timers_delayed(error=error)
                due_us = self._clock.now_us() + _RETRY_US
            await self._sleep(due_us)

    async def _sleep(self, due_us: int | None) -> None:
        """Until `due_us`, or until the timers have changed, and for one pulse at most: a longer sleep is a pause."""
        changed = asyncio.create_task(self._changed.wait())
        waiting: set[asyncio.Task[Any]] = {changed}
        if due_us is not None:
            waiting.add(asyncio.create_task(self._clock.sleep_until(due_us)))
        try:
            await asyncio.wait(waiting, timeout=self._pulse_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
