"""A worker's connection: what it is told, in order, and which runs it follows."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import BATCH_RECORDS, FRAME_BYTES
from midstream_server.domain.record import Direction
from midstream_server.domain.run import State
from midstream_server.operations.core import Core
from midstream_server.operations.patience import patiently
from midstream_server.store.managed import Claimed, LogPage, StoredEntry

_FIRST_PAGE = 200
"""Entries behind those that came with the assignment; each page is twice the last: a worker replays one meanwhile."""
_UNHEARD = 1_000
"""Answers on their way to a worker that does not listen, before it is not listened to either."""


class Assigned(NamedTuple):
    """A run to execute, from the beginning of its present generation, of whose log `entries` are the first."""

    run_id: str
    task: str
    epoch: int
    generation: int
    last_offset: int
    checkpoint: bytes | None
    entries: Sequence[StoredEntry] = ()


class Entries(NamedTuple):
    run_id: str
    epoch: int
    entries: list[StoredEntry]


class Suspended(NamedTuple):
    run_id: str
    epoch: int


class SuspendRefused(NamedTuple):
    run_id: str
    epoch: int
    now_us: int


class Early(NamedTuple):
    run_id: str
    epoch: int
    operation: int
    now_us: int


class Finished(NamedTuple):
    run_id: str
    epoch: int


class Fenced(NamedTuple):
    run_id: str
    epoch: int


class OutputStored(NamedTuple):
    """A frame's output records are on disk, but for those that were refused."""

    run_id: str
    epoch: int
    number: int
    refused: Sequence[Refused]


class Drain(NamedTuple):
    """The server is going."""


Told = Assigned | Entries | Suspended | SuspendRefused | Early | Finished | Fenced | OutputStored | Drain


class Followed:
    """A run that the worker executes. Rings its session when its log has grown."""

    stream_id = None
    direction = Direction.INPUT

    def __init__(self, session: "Session", run_no: int, run_id: str, task: str, epoch: int, generation: int) -> None:
        self._session = session
        self.run_no = run_no
        self.run_id = run_id
        self.task = task
        self.epoch = epoch
        self.generation = generation
        self.sent_offset = 0
        self.page = _FIRST_PAGE
        self.deaf = False
        self.ending = False
        """True while the worker's own request to suspend or end the run is on its way to the disk: its answer comes."""

    def ring(self) -> None:
        if not self.deaf:
            self._session.mark(self)

    def listen(self) -> None:
        self.deaf = False


class Session:
    """One worker, for as long as its call lasts. A `Taker` of the dispatcher."""

    def __init__(self, core: Core, worker_no: int, namespace: str, tasks: dict[str, str], runtime: str) -> None:
        self.worker_no = worker_no
        self.namespace = namespace
        self.tasks = tasks
        self.runtime = runtime
        self.credit = 0
        self._core = core
        self._runs: dict[str, Followed] = {}
        self._told: deque[Told] = deque()
        self._grown: dict[Followed, None] = {}
        self._prepared: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._heard = asyncio.Event()
        self._heard.set()
        self._failure: BaseException | None = None
        self._left = False

    def prepare(self, claimed: Claimed, *, through_offset: int) -> None:
        """Assigns a run whose claim is on its way to the disk, with entries through the offset, which are on it.

        The worker's process replays them meanwhile. It says and does nothing before it has the rest, and that comes
        with `assign`.
        """
        if claimed.run_id not in self._runs:  # else the worker has not yet heard that its former assignment is over
            known = [entry for entry in claimed.entries if entry.offset <= through_offset]
            self._prepared[claimed.run_id] = claimed.epoch
            self._begin(claimed, known).deaf = True

    def withdraw(self, claimed: Claimed) -> None:
        """The claim came to nothing. What was prepared is taken back when the worker opens again.

        It must do so before it gets another run: the next claim of this one has the same epoch, and may have other
        entries behind it.
        """
        if self._prepared.pop(claimed.run_id, None) == claimed.epoch:
            self.credit = 0
            self.fail(errors.store_unavailable("a run that was to be assigned could not be claimed"))

    def assign(self, claimed: Claimed) -> None:
        """The claim is on disk."""
        prepared = self._prepared.pop(claimed.run_id, None) == claimed.epoch
        followed = self.followed(claimed.run_id, claimed.epoch) if prepared else self._begin(claimed, claimed.entries)
        if followed is None:
            return  # the worker has given it back already; its word waits for the next transaction
        rest = [entry for entry in claimed.entries if entry.offset > followed.sent_offset]
        if rest:
            self.tell(Entries(claimed.run_id, claimed.epoch, rest))
            followed.sent_offset = rest[-1].offset
        if followed.sent_offset == claimed.last_offset and not self._core.store.shared:
            # What rings in this turn is the claim's own transaction, whose last entry it has. With a shared store it
            # might be another server's.
            followed.deaf = True
            asyncio.get_running_loop().call_soon(followed.listen)
        else:
            followed.deaf = False
            self.mark(followed)

    def _begin(self, claimed: Claimed, entries: Sequence[StoredEntry]) -> Followed:
        run_no, run_id, task, epoch, generation, last_offset, checkpoint, _ = claimed
        self.tell(Assigned(run_id, task, epoch, generation, last_offset, checkpoint, entries))
        sent_offset = entries[-1].offset if entries else 0
        return self._follow(run_no, run_id, task, epoch, generation, after_offset=sent_offset)

    def dismiss(self) -> None:
        """The lease has run out, or another connection of the same worker has replaced this one."""
        self.fail(errors.lease_lost())

    def follow(
        self, run_no: int, run_id: str, task: str, epoch: int, generation: int, *, after_offset: int
    ) -> Followed:
        """Sends the run's entries behind `after_offset`, and all that come."""
        followed = self._follow(run_no, run_id, task, epoch, generation, after_offset=after_offset)
        self.mark(followed)
        return followed

    def _follow(
        self, run_no: int, run_id: str, task: str, epoch: int, generation: int, *, after_offset: int
    ) -> Followed:
        self.unfollow(run_id)
        followed = Followed(self, run_no, run_id, task, epoch, generation)
        followed.sent_offset = after_offset
        self._runs[run_id] = followed
        self._core.hub.add(run_no, followed)
        return followed

    def unfollow(self, run_id: str) -> None:
        followed = self._runs.pop(run_id, None)
        if followed is not None:
            self._core.hub.remove(followed.run_no, followed)
            self._grown.pop(followed, None)

    def followed(self, run_id: str, epoch: int) -> Followed | None:
        """The run, if this worker has it under this epoch."""
        found = self._runs.get(run_id)
        return found if found is not None and found.epoch == epoch else None

    def mark(self, followed: Followed) -> None:
        self._grown[followed] = None
        self._wake.set()

    def tell(self, told: Told) -> None:
        self._told.append(told)
        if len(self._told) >= _UNHEARD:
            self._heard.clear()
        self._wake.set()

    async def until_heard(self) -> None:
        """Waits while the worker does not listen to what it is told."""
        await self._heard.wait()

    def let_go(self, told: Suspended | Finished | Fenced) -> None:
        """Tells the worker that a run is no longer its own."""
        found = self.followed(told.run_id, told.epoch)
        if found is not None:
            self.unfollow(told.run_id)
        self.tell(told)

    def fail(self, error: BaseException) -> None:
        self._failure = error
        self._wake.set()

    def leave(self) -> None:
        self._left = True
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def close(self) -> None:
        for run_id in tuple(self._runs):
            self.unfollow(run_id)

    async def told(self) -> AsyncIterator[Told]:
        """What the worker is told, until it leaves. Raises Refused: SERVER_DRAINING, or what `fail` was given."""
        while True:
            if self._failure is not None:
                raise self._failure
            while self._told:
                yield self._told.popleft()
            self._heard.set()
            if self._left:
                return
            if self._core.drain.is_set:
                yield Drain()
                raise errors.server_draining()
            if not self._grown:
                await self._wake.wait()
                self._wake.clear()
                continue
            followed = next(iter(self._grown))
            del self._grown[followed]
            told = await self._next_entries(followed)
            if told is not None:
                yield told

    async def _next_entries(self, followed: Followed) -> Told | None:
        page = await patiently(
            self._core.drain,
            lambda: self._core.managed.read_entries(
                followed.run_no, after_offset=followed.sent_offset, max_entries=followed.page, max_bytes=FRAME_BYTES
            ),
            in_vain=lambda: self._left or self._failure is not None,
        )
        if self._runs.get(followed.run_id) is not followed:
            return None
        if page is None or page.state is not State.RUNNING or page.epoch != followed.epoch:
            if followed.ending:
                return None
            self.unfollow(followed.run_id)
            return Fenced(followed.run_id, followed.epoch)
        if page.generation != followed.generation:
            return self._begin_generation(followed, page)
        if not page.entries:
            return None
        followed.sent_offset = page.entries[-1].offset
        if followed.sent_offset < page.last_offset:
            followed.page = min(2 * followed.page, BATCH_RECORDS)
            self.mark(followed)
        return Entries(followed.run_id, followed.epoch, page.entries)

    def _begin_generation(self, followed: Followed, page: LogPage) -> Assigned:
        followed.generation = page.generation
        followed.sent_offset = 0
        self.mark(followed)
        return Assigned(followed.run_id, followed.task, followed.epoch, page.generation, page.last_offset, None)
