"""Follow: the news of many runs in one call. Targets take turns, a page each, so that none crowds out the others."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from midstream.clock import Clock
from midstream_server.domain import errors
from midstream_server.domain.errors import Reason, Refused
from midstream_server.operations.core import Core
from midstream_server.operations.reader import Reader, Then

MAX_TARGETS: Final = 100
HEARTBEAT_US: Final = 15_000_000


@dataclass(frozen=True, slots=True)
class Ended:
    """A target has nothing more to come."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing has happened for a while. Of no target: its ref is 0."""


@dataclass(eq=False, slots=True)
class Target:
    """One thing to follow. `open` begins reading; it may refuse."""

    ref: int
    open: Callable[[], Awaitable[Reader[Any]]]
    reader: Reader[Any] | None = None
    watch: ExitStack = field(default_factory=ExitStack)
    queued: bool = False


async def follow(core: Core, targets: Sequence[Target]) -> AsyncGenerator[tuple[int, Any], None]:
    """Yields a target's ref with what its reader found, Ended or Refused; or 0 with Heartbeat.

    At most one page is read ahead of what the caller takes, whatever the number of targets. Ends when all targets are
    over. Raises Refused: FIELD_INVALID, SERVER_DRAINING.
    """
    _check(targets)
    turns = _Turns(core.clock)
    for target in targets:
        turns.queue(target)
    left = len(targets)
    alarm = asyncio.create_task(turns.beat())
    try:
        while left:
            turn = await turns.next()
            if turn is None:
                yield 0, Heartbeat()
                continue
            found, then = await _look(turn, turns)
            if found is not None:
                turns.heard()
                yield turn.ref, found
            if then is Then.LOOK_AGAIN:
                turns.queue(turn)
            elif then is Then.END:
                left -= 1
                turn.watch.close()
                if not isinstance(found, Refused):
                    yield turn.ref, Ended()
    finally:
        alarm.cancel()
        for target in targets:
            target.watch.close()


async def _look(target: Target, turns: "_Turns") -> tuple[Any, Then]:
    """A look at the target, which is opened where it is its first. What refuses the target ends it alone."""
    try:
        if target.reader is None:
            target.reader = await target.open()
            target.watch.enter_context(target.reader.watching(lambda: turns.queue(target)))
        return await target.reader.look()
    except Refused as refused:
        if refused.reason is Reason.SERVER_DRAINING:
            raise
        return refused, Then.END


class _Turns:
    """Which targets have news, in the order in which they rang."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: deque[Target] = deque()
        self._beat_due = False
        self._heard_us = clock.now_us()
        self._awake = asyncio.Event()

    def queue(self, target: Target) -> None:
        """The target gets a turn, behind those that wait for theirs."""
        if not target.queued:
            target.queued = True
            self._queue.append(target)
            self._awake.set()

    async def next(self) -> Target | None:
        """Whose turn it is; None: a heartbeat's."""
        while not self._queue:
            if self._beat_due:
                self.heard()
                return None
            self._awake.clear()
            await self._awake.wait()
        target = self._queue.popleft()
        target.queued = False
        return target

    def heard(self) -> None:
        """The caller gets to hear something now."""
        self._heard_us = self._clock.now_us()
        self._beat_due = False

    async def beat(self) -> None:
        """Makes a heartbeat due whenever the caller has heard nothing for long."""
        while True:
            await self._clock.sleep_until(self._heard_us + HEARTBEAT_US)
            if self._clock.now_us() >= self._heard_us + HEARTBEAT_US:
                self.heard()  # The next one is due as long after this one, taken or not.
                self._beat_due = True
                self._awake.set()


def _check(targets: Sequence[Target]) -> None:
    if not 1 <= len(targets) <= MAX_TARGETS:
        raise errors.field_invalid("targets", f"has {len(targets)}, must be 1 to {MAX_TARGETS}")
    seen: set[int] = set()
    for index, target in enumerate(targets):
        if target.ref == 0 or target.ref in seen:
            raise errors.field_invalid(
                f"targets[{index}].ref", f"is {target.ref}, must be another number for each, not 0"
            )
        seen.add(target.ref)
