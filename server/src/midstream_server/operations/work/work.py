"""Work: what a worker says about its runs, and what becomes of it."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from midstream_server.domain import errors
from midstream_server.domain.names import check_name
from midstream_server.domain.output import OutputDraft
from midstream_server.domain.run import EntryKind, State
from midstream_server.operations.core import Core
from midstream_server.operations.work.session import (
    Early,
    Fenced,
    Finished,
    OutputStored,
    Session,
    Suspended,
    SuspendRefused,
)
from midstream_server.store import managed
from midstream_server.store.managed import EndedAttempt, Progress

MAX_CREDIT = 100_000
_CLAIMS_AT_ONCE = 100
_MAX_RUNTIME = 64
"""In one transaction, so that others have their turn."""


class Work:
    """One worker's call. Each method applies one frame; a frame of an old epoch is answered with `Fenced`."""

    def __init__(self, core: Core, session: Session, lease_us: int) -> None:
        self._core = core
        self._session = session
        self._lease_us = lease_us

    @property
    def session(self) -> Session:
        return self._session

    async def grant(self, runs: int) -> None:
        """The worker takes more runs. Raises Refused: FIELD_INVALID."""
        if runs < 0 or self._session.credit + runs > MAX_CREDIT:
            raise errors.field_invalid("credit", f"is {runs}, must be 0 to {MAX_CREDIT:,} in all")
        self._session.credit += runs
        while (limit := min(self._session.credit, _CLAIMS_AT_ONCE)) > 0:
            claimed = await self._core.managed.claim_queued(
                self._session.namespace, self._session.tasks, limit=limit, now_us=self._core.clock.now_us()
            )
            if claimed < limit:
                break

    async def heartbeat(self) -> None:
        """Raises Refused: FENCED, where the lease has run out."""
        until_us = self._core.clock.now_us() + self._lease_us
        if not await self._core.managed.renew_lease(self._session.worker_no, lease_until_us=until_us):
            raise errors.lease_lost()

    async def append(
        self,
        run_id: str,
        epoch: int,
        kind: EntryKind,
        *,
        operation: int,
        attempt: int,
        body: bytes,
        due_us: int | None,
        progress: Progress,
        ended: EndedAttempt | None = None,
    ) -> None:
        """Appends an entry, once for each operation, kind and attempt of a generation."""
        followed = self._session.followed(run_id, epoch)
        if followed is None:
            self._session.tell(Fenced(run_id, epoch))
            return
        result = await self._core.managed.append_entry(
            followed.run_no,
            epoch,
            kind,
            key=f"{followed.generation}.{operation}.{kind.value}.{attempt}",
            body=body,
            due_us=due_us,
            progress=progress,
            ended=ended,
            now_us=self._core.clock.now_us(),
        )
        match result:
            case managed.Fenced():
                self._session.let_go(Fenced(run_id, epoch))
            case managed.Early(now_us):
                self._session.tell(Early(run_id, epoch, operation, now_us))

    async def output(self, run_id: str, epoch: int, number: int, drafts: Sequence[OutputDraft]) -> None:
        """Stores output records, each once."""
        followed = self._session.followed(run_id, epoch)
        if followed is None:
            self._session.tell(Fenced(run_id, epoch))
            return
        result = await self._core.outputs.append_outputs(
            followed.run_no, epoch, drafts, now_us=self._core.clock.now_us()
        )
        if isinstance(result, managed.Fenced):
            self._session.let_go(Fenced(run_id, epoch))
        else:
            self._core.metrics.output_stored(len(drafts) - len(result.refused))
            self._session.tell(OutputStored(run_id, epoch, number, result.refused))

    async def progress(self, run_id: str, epoch: int, progress: Progress) -> None:
        followed = self._session.followed(run_id, epoch)
        if followed is None:
            self._session.tell(Fenced(run_id, epoch))
            return
        result = await self._core.managed.note_progress(
            followed.run_no, epoch, progress, now_us=self._core.clock.now_us()
        )
        if isinstance(result, managed.Fenced):
            self._session.let_go(Fenced(run_id, epoch))

    async def suspend(
        self,
        run_id: str,
        epoch: int,
        *,
        listening: Collection[str],
        timers: Mapping[int, int],
        checkpoint: bytes,
        progress: Progress,
    ) -> None:
        followed = self._session.followed(run_id, epoch)
        if followed is None:
            self._session.tell(Fenced(run_id, epoch))
            return
        for stream_id in listening:
            check_name("suspend.listening", stream_id)
        followed.ending = True
        result = await self._core.managed.suspend(
            followed.run_no,
            epoch,
            listening=listening,
            timers=timers,
            checkpoint=checkpoint,
            progress=progress,
            now_us=self._core.clock.now_us(),
        )
        followed.ending = False
        match result:
            case managed.Suspended():
                self._session.let_go(Suspended(run_id, epoch))
                self._core.timers_changed()
            case managed.Refused(now_us):
                self._session.tell(SuspendRefused(run_id, epoch, now_us))
            case managed.Fenced():
                self._session.let_go(Fenced(run_id, epoch))

    async def finish(self, run_id: str, epoch: int, state: State, outcome: bytes, progress: Progress) -> None:
        followed = self._session.followed(run_id, epoch)
        if followed is None:
            self._session.tell(Fenced(run_id, epoch))
            return
        followed.ending = True
        result = await self._core.managed.finish_managed(
            followed.run_no, epoch, state, outcome, progress=progress, now_us=self._core.clock.now_us()
        )
        followed.ending = False
        match result:
            case managed.Done():
                self._session.let_go(Finished(run_id, epoch))
                self._core.timers_changed()
            case managed.Fenced():
                self._session.let_go(Fenced(run_id, epoch))

    async def block(self, run_id: str, epoch: int, outcome: bytes) -> None:
        followed = self._session.followed(run_id, epoch)
        if followed is not None:
            followed.ending = True
            await self._core.managed.block(
                followed.run_no, epoch, self._session.tasks[followed.task], outcome, now_us=self._core.clock.now_us()
            )
        self._session.let_go(Fenced(run_id, epoch))

    async def release(self, run_id: str, epoch: int, *, died: bool, crash_loop: bytes) -> None:
        followed = self._session.followed(run_id, epoch)
        if followed is None:
            self._session.tell(Fenced(run_id, epoch))
            return
        # Not followed any more before it is queued: this very worker may get it again at once.
        self._session.unfollow(run_id)
        await self._core.managed.release(
            followed.run_no,
            epoch,
            self._session.tasks[followed.task],
            died=died,
            crash_loop=crash_loop,
            now_us=self._core.clock.now_us(),
        )

    async def restart(self, run_id: str, epoch: int, body: bytes, progress: Progress) -> None:
        followed = self._session.followed(run_id, epoch)
        if followed is None:
            self._session.tell(Fenced(run_id, epoch))
            return
        result = await self._core.managed.restart(
            followed.run_no, epoch, body=body, progress=progress, now_us=self._core.clock.now_us()
        )
        if isinstance(result, managed.Fenced):
            self._session.let_go(Fenced(run_id, epoch))


@asynccontextmanager
async def work(
    core: Core,
    namespace: str,
    worker_id: str,
    tasks: dict[str, str],
    held: Mapping[str, tuple[int, int]],
    *,
    runtime: str,
    lease_us: int,
) -> AsyncIterator[Work]:
    """Lends runs for as long as the block lasts. `held` maps run ids to epochs and last received offsets.

    Raises Refused: FIELD_INVALID.
    """
    check_name("open.worker_id", worker_id)
    if not tasks:
        raise errors.field_invalid("open.tasks", "is empty: name the tasks that the worker executes")
    for task in tasks:
        check_name("open.tasks.task", task)
    if len(runtime) > _MAX_RUNTIME:
        raise errors.field_invalid("open.runtime", f"has {len(runtime)} characters, must have at most {_MAX_RUNTIME}")
    now_us = core.clock.now_us()
    opened = await core.managed.open_worker(
        namespace,
        worker_id,
        tasks,
        {(run_id, epoch) for run_id, (epoch, _) in held.items()},
        lease_until_us=now_us + lease_us,
        now_us=now_us,
    )
    core.timers_changed()
    session = Session(core, opened.worker_no, namespace, tasks, runtime)
    core.dispatcher.join(session)
    try:
        for run_id, (epoch, received_offset) in held.items():
            await _take_up(core, session, run_id, epoch, received_offset, opened.held)
        yield Work(core, session, lease_us)
    finally:
        core.dispatcher.leave(session)
        session.close()


async def _take_up(
    core: Core, session: Session, run_id: str, epoch: int, received_offset: int, held: Mapping[str, int]
) -> None:
    """Goes on with a run after a broken call, or tells the worker that it has lost it."""
    run_no = held.get(run_id)
    page = (
        None
        if run_no is None
        else await core.managed.read_entries(run_no, after_offset=received_offset, max_entries=1, max_bytes=1)
    )
    if run_no is None or page is None or page.epoch != epoch or page.state is not State.RUNNING:
        session.tell(Fenced(run_id, epoch))
        return
    after_offset = min(received_offset, page.last_offset)
    session.follow(run_no, run_id, page.task, epoch, page.generation, after_offset=after_offset)
