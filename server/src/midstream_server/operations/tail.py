"""Tail: follows a run's records from a position of the reader's own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from midstream_server.domain import errors
from midstream_server.domain.limits import BATCH_RECORDS, FRAME_BYTES
from midstream_server.domain.names import check_name
from midstream_server.domain.record import Direction
from midstream_server.operations.core import Core
from midstream_server.operations.hub import Bell
from midstream_server.operations.list_records import reader_of
from midstream_server.operations.patience import patiently
from midstream_server.operations.reader import Then
from midstream_server.operations.subscribe import check_position
from midstream_server.operations.views import READABLE_FRAME_BYTES, readable, readable_of
from midstream_server.store import Page


async def tail(
    core: Core,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    after_offset: int,
    direction: Direction = Direction.INPUT,
    payload_view: int = 0,
) -> AsyncIterator[Page]:
    """Yields records until the run has ended and all are delivered. Raises Refused."""
    reader = await open_records(
        core,
        namespace,
        run_id,
        stream_id,
        after_offset=after_offset,
        direction=direction,
        payload_view=payload_view,
    )
    rung = asyncio.Event()
    with reader.watching(rung.set):
        while True:
            rung.clear()
            page, then = await reader.look()
            if page is not None:
                yield page
            if then is Then.END:
                return
            if then is Then.WAIT:
                await rung.wait()


async def open_records(
    core: Core,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    after_offset: int,
    direction: Direction = Direction.INPUT,
    payload_view: int = 0,
) -> "RecordReader":
    """Raises Refused."""
    check_name("run_id", run_id)
    if stream_id:
        check_name("stream_id", stream_id)
    check_position("after_offset", after_offset)
    as_json = readable_of(payload_view)
    run_no = await core.store.resolve(namespace, run_id)
    reader = RecordReader(core, run_id, run_no, stream_id or None, direction, after_offset)
    if as_json:
        reader.readable_in = namespace
    return reader


class RecordReader:
    """Reads a run's records, a page at a look."""

    def __init__(
        self, core: Core, run_id: str, run_no: int, stream_id: str | None, direction: Direction, after_offset: int
    ) -> None:
        self.run_id = run_id
        self.readable_in = ""
        """The namespace whose schemas turn payloads into JSON; empty: they stay as they are stored."""
        self._core = core
        self._run_no = run_no
        self._stream_id = stream_id
        self._direction = direction
        self._read = reader_of(core, direction)
        self._after_offset = after_offset

    async def look(self) -> tuple[Page | None, Then]:
        page = await patiently(
            self._core.drain,
            lambda: self._read(
                self._run_no,
                self._stream_id,
                after_offset=self._after_offset,
                max_records=BATCH_RECORDS,
                max_bytes=READABLE_FRAME_BYTES if self.readable_in else FRAME_BYTES,
            ),
        )
        if page is None:
            raise errors.run_not_found(self.run_id)
        if page.records:
            if self.readable_in:
                shown = await readable(self._core.schemas, self.readable_in, page.records)
                page = page._replace(records=shown)
            self._after_offset = page.through_offset
            return page, Then.LOOK_AGAIN
        if page.run_state.final:
            return None, Then.END
        if self._core.drain.is_set:
            raise errors.server_draining()
        return None, Then.WAIT

    @contextmanager
    def watching(self, wake: Callable[[], None]) -> Iterator[None]:
        bell = Bell(self._stream_id, wake, self._direction)
        self._core.hub.add(self._run_no, bell)
        try:
            yield
        finally:
            self._core.hub.remove(self._run_no, bell)
