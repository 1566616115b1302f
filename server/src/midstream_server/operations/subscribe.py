"""Subscribe: a holder takes a stream's records as its credit allows, and acknowledges them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from midstream_server.domain import errors
from midstream_server.domain.limits import BATCH_RECORDS, FRAME_BYTES
from midstream_server.domain.names import check_name
from midstream_server.domain.record import StoredRecord
from midstream_server.operations.core import Core
from midstream_server.operations.hub import Watch
from midstream_server.operations.patience import patiently
from midstream_server.store import HandlerFailure, Hold

MAX_CREDIT_GRANT = 100_000
MAX_CREDIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Acked:
    """The cursor is on disk."""

    cursor: int


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Nothing comes any more."""


Frame = Sequence[StoredRecord] | Acked | RunEnded


class Subscription:
    """One holder's turn on a stream. `frames` runs in one task; `ack`, `grant` and `fail` are called from another."""

    def __init__(
        self,
        core: Core,
        namespace: str,
        run_id: str,
        stream_id: str,
        *,
        hold: Hold,
        after_seq: int,
        credit: int,
        watch: Watch,
    ) -> None:
        self._core = core
        self._namespace = namespace
        self._run_id = run_id
        self._stream_id = stream_id
        self._hold = hold
        self._delivered_seq = after_seq
        self._credit = credit
        self._watch = watch
        self._cursor = hold.cursor
        self._acked_cursor = hold.cursor
        self._failure: BaseException | None = None
        self._left = False

    @property
    def hold(self) -> Hold:
        return self._hold

    async def frames(self) -> AsyncIterator[Frame]:
        """Yields until the run ends or the holder leaves. Raises Refused: FENCED, RUN_NOT_FOUND, SERVER_DRAINING."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._acked_cursor != self._cursor:
                self._acked_cursor = self._cursor
                yield Acked(self._cursor)
            if self._left:
                return
            look = await patiently(
                self._core.drain,
                lambda: self._core.store.look(
                    self._hold.run_no,
                    self._stream_id,
                    after_seq=self._delivered_seq,
                    max_records=min(self._credit, BATCH_RECORDS),
                    max_bytes=FRAME_BYTES,
                ),
                in_vain=lambda: self._left or self._failure is not None,
            )
            if look is None:
                raise errors.run_not_found(self._run_id)
            if look.holder_epoch != self._hold.holder_epoch:
                raise errors.fenced(
                    self._stream_id, holder_epoch=self._hold.holder_epoch, current_epoch=look.holder_epoch
                )
            if look.run_state.final:
                yield RunEnded()
                return
            if self._core.drain.is_set:
                raise errors.server_draining()
            # What was dropped, or acknowledged by another call, is not delivered any more.
            self._delivered_seq = max(self._delivered_seq, look.cursor)
            if look.records:
                self._credit -= len(look.records)
                self._delivered_seq = look.records[-1].seq
                yield look.records
            if self._delivered_seq >= look.last_seq or self._credit == 0:
                await self._watch.wait()  # Returns at once where something has changed since the look.

    async def ack(self, through_seq: int, failures: Sequence[HandlerFailure]) -> None:
        """Raises Refused: FIELD_INVALID, FENCED, ACK_AHEAD, RUN_FINISHED."""
        check_position("ack.through_seq", through_seq)
        self._cursor = await self._core.store.ack(
            self._namespace,
            self._run_id,
            self._stream_id,
            holder_epoch=self._hold.holder_epoch,
            through_seq=through_seq,
            delivered_seq=max(self._delivered_seq, self._hold.cursor),
            failures=failures,
            now_us=self._core.clock.now_us(),
        )
        self._watch.ring()

    def grant(self, records: int) -> None:
        """Raises Refused: FIELD_INVALID."""
        check_credit("credit.records", records)
        if self._credit + records > MAX_CREDIT:
            raise errors.field_invalid("credit.records", f"{records} more would make over {MAX_CREDIT:,} in all")
        self._credit += records
        self._watch.ring()

    def fail(self, error: BaseException) -> None:
        """Ends `frames` with `error`."""
        self._failure = error
        self._watch.ring()

    def leave(self) -> None:
        """Ends `frames`, after what was acknowledged."""
        self._left = True
        self._watch.ring()


def check_credit(path: str, records: int) -> None:
    if not 1 <= records <= MAX_CREDIT_GRANT:
        raise errors.field_invalid(path, f"is {records}, must be 1 to {MAX_CREDIT_GRANT:,}")


@asynccontextmanager
async def subscribe(
    core: Core,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    holder_epoch: int,
    after_seq: int | None,
    credit: int,
) -> AsyncIterator[Subscription]:
    """Becomes the holder of a stream for as long as the block lasts. Raises Refused."""
    check_name("run_id", run_id)
    check_name("stream_id", stream_id)
    check_position("after_seq", after_seq)
    check_credit("credit", credit)
    hold = await core.store.hold(namespace, run_id, stream_id, holder_epoch=holder_epoch, after_seq=after_seq)
    with core.hub.watching(hold.run_no, stream_id) as watch, core.hub.holding(hold.run_no):
        yield Subscription(
            core,
            namespace,
            run_id,
            stream_id,
            hold=hold,
            after_seq=max(hold.cursor, after_seq or 0),
            credit=credit,
            watch=watch,
        )


def check_position(path: str, position: int | None) -> None:
    if position is not None and position < 0:
        raise errors.field_invalid(path, f"is {position}, must not be negative")
