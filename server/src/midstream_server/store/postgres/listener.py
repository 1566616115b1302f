"""The one connection on which a replica hears of the commits of all others, and shows that it is there."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from midstream_server.agreed_clock import AgreedClock
from midstream_server.store.notice import Notice
from midstream_server.store.postgres.connections import ANSWER_SECONDS, Connection, connect, discard
from midstream_server.store.postgres.notice import CHANNEL, decode

_PRESENT = 0x6D69_6473_7472_0002
"""Of PostgreSQL's advisory locks: every replica that hears shares it, and it goes with the connection."""
_PING_SECONDS = 2.0
_FIRST_LOOKS_AT_CLOCK = 3
"""The quickest of the answers is the most exact."""
_RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class Listener:
    """Reconnects for as long as it runs. `is_own` tells by a connection's process id whose commits are known here."""

    def __init__(
        self,
        url: str,
        *,
        heard: Callable[[Notice], None],
        resume: Callable[[bool], Awaitable[None]],
        is_own: Callable[[int], bool],
        clock: AgreedClock | None = None,
    ) -> None:
        self._url = url
        self._heard = heard
        self._resume = resume
        self._is_own = is_own
        self._clock = clock
        self._connection: Connection | None = None
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.present = False

    async def start(self) -> None:
        """Returns when it hears. Raises what `connect` raises."""
        await self._connect()
        self._task = asyncio.create_task(self._run(), name="listener")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._disconnect()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                if self._connection is None:
                    await self._connect()
                failures = 0
                await self._ping_until_closed()
            except Exception:
                # Whatever it is, not to hear any more would be worse.
                await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1
            await self._disconnect()

    async def _connect(self) -> None:
        self._closed.clear()
        connection = self._connection = await connect(self._url)
        connection.add_termination_listener(lambda _: self._closed.set())
        async with asyncio.timeout(ANSWER_SECONDS):
            await connection.add_listener(CHANNEL, self._on_notify)
            for _ in range(_FIRST_LOOKS_AT_CLOCK):
                await self._look(connection)
            # Who comes first is alone until it has resumed; the others wait for it before they look at leases.
            alone: bool = await connection.fetchval("SELECT pg_try_advisory_lock($1)", _PRESENT)
            if alone:
                await self._resume(True)
            await connection.execute("SELECT pg_advisory_lock_shared($1)", _PRESENT)
            if alone:
                await connection.execute("SELECT pg_advisory_unlock($1)", _PRESENT)
            else:
                await self._resume(False)
        self.present = True

    async def _disconnect(self) -> None:
        self.present = False
        connection, self._connection = self._connection, None
        if connection is not None:
            await discard(connection)

    async def _ping_until_closed(self) -> None:
        """A connection that is cut without a word gives no other sign."""
        assert self._connection is not None
        while not self._closed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_PING_SECONDS):
                    await self._closed.wait()
                    return
            async with asyncio.timeout(ANSWER_SECONDS):
                if await self._look(self._connection):
                    return

    async def _look(self, connection: Connection) -> bool:
        """Learns the database's time, and whether it is a standby now."""
        asked_us = 0 if self._clock is None else self._clock.steady_us()
        row = await connection.fetchrow(
            "SELECT pg_is_in_recovery(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        )
        assert row is not None
        is_standby, told_us = row
        if self._clock is not None:
            self._clock.agree(told_us, asked_us=asked_us, answered_us=self._clock.steady_us())
        return bool(is_standby)

    def _on_notify(self, connection: Any, process_id: int, channel: str, payload: object) -> None:
        if not self._is_own(process_id):
            self._heard(decode(str(payload)))
