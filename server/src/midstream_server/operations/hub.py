"""Tells readers to look again. A ring carries no data: what there is to see is in the store."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from midstream.clock import Clock
from midstream_server.domain.record import Direction
from midstream_server.store import Change


class Ringable(Protocol):
    """What the hub rings: for changes of the run as a whole, and of one stream or of all (None) of a direction."""

    @property
    def stream_id(self) -> str | None: ...

    @property
    def direction(self) -> Direction: ...

    @property
    def ring(self) -> Callable[[], None]: ...


class Watch:
    """Rings when the run, or the one stream of it, has changed."""

    __slots__ = ("_direction", "_rung", "_stream_id")

    def __init__(self, stream_id: str | None, direction: Direction = Direction.INPUT) -> None:
        self._stream_id = stream_id
        self._direction = direction
        self._rung = asyncio.Event()

    @property
    def stream_id(self) -> str | None:
        return self._stream_id

    @property
    def direction(self) -> Direction:
        return self._direction

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        """Returns after the first ring since the last call."""
        await self._rung.wait()
        self._rung.clear()


class Bell:
    """Calls `ring` when the run, or the one stream of it, has changed."""

    __slots__ = ("direction", "ring", "stream_id")

    def __init__(self, stream_id: str | None, ring: Callable[[], None], direction: Direction = Direction.INPUT) -> None:
        self.stream_id = stream_id
        self.direction = direction
        self.ring = ring


class Hub:
    """Who watches which run, and which runs are held by somebody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: dict[int, set[Ringable]] = {}
        self._holders: dict[int, int] = {}
        self._last_held_us: dict[int, int] = {}
        self._ended: set[int] = set()

    @contextmanager
    def watching(
        self, run_no: int, stream_id: str | None = None, direction: Direction = Direction.INPUT
    ) -> Iterator[Watch]:
        """Watches a run with its streams of a direction, or with one of them. Begin before you look."""
        watch = Watch(stream_id, direction)
        self.add(run_no, watch)
        try:
            yield watch
        finally:
            self.remove(run_no, watch)

    def add(self, run_no: int, watch: Ringable) -> None:
        """From now on `watch` rings when the run changes."""
        self._watches.setdefault(run_no, set()).add(watch)

    def remove(self, run_no: int, watch: Ringable) -> None:
        watches = self._watches.get(run_no, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(run_no, None)

    def ring(self, changes: Iterable[Change]) -> None:
        for run_no, stream_id, direction in changes:
            for watch in tuple(self._watches.get(run_no, ())):
                if stream_id is None or (
                    watch.direction is direction and (watch.stream_id is None or watch.stream_id == stream_id)
                ):
                    watch.ring()

    def ring_share(self, share: int, of: int) -> None:
        """Rings for one of `of` shares of the runs, so that all can be rung without a crowd."""
        self.ring([Change(run_no, None) for run_no in self._watches if run_no % of == share % of])

    def ring_all(self) -> None:
        for watches in tuple(self._watches.values()):
            for watch in tuple(watches):
                watch.ring()

    @contextmanager
    def holding(self, run_no: int) -> Iterator[None]:
        """Counts the run as held until the block is left."""
        self._holders[run_no] = self._holders.get(run_no, 0) + 1
        try:
            yield
        finally:
            self._holders[run_no] -= 1
            if not self._holders[run_no]:
                del self._holders[run_no]
                if run_no in self._ended:
                    self._ended.discard(run_no)
                else:
                    self._last_held_us[run_no] = self._clock.now_us()

    def held(self) -> Collection[int]:
        """The numbers of the runs that are held at present."""
        return tuple(self._holders)

    def last_held_us(self, run_no: int) -> int | None:
        """When a run was last held, as far as this process knows: now, if it is held at present."""
        return self._clock.now_us() if run_no in self._holders else self._last_held_us.get(run_no)

    def forget(self, run_no: int) -> None:
        """Drops what is remembered of a run that has ended, or will once its last holder has gone."""
        self._last_held_us.pop(run_no, None)
        if run_no in self._holders:
            self._ended.add(run_no)
