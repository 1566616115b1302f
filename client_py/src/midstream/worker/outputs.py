"""Output records on their way to the server: in batches, in order, said again after a broken call."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from midstream.v1.record_pb2 import Payload
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse

_FRAME_RECORDS: Final = 1_000
_FRAME_BYTES: Final = 1024 * 1024
_FRAMES_UNDER_WAY: Final = 4
"""While so many are unanswered, records gather for the next one."""
_FULL_BYTES: Final = 8 * 1024 * 1024
"""On their way, from which on a thread waits."""
_TOO_MUCH_BYTES: Final = 64 * 1024 * 1024
_log: Final = logging.getLogger("midstream")

Record = WorkRequest.OutputRecord


class RunOutputs:
    """All that one assignment appends. Its methods belong to the loop, but for those of StepOutputs."""

    def __init__(
        self,
        run_id: str,
        epoch: int,
        *,
        send: Callable[[WorkRequest], None],
        on_all_stored: Callable[[], None],
    ) -> None:
        self._run_id = run_id
        self._epoch = epoch
        self._send = send
        self._on_all_stored = on_all_stored
        self._waiting: deque[tuple[Record, int]] = deque()
        self._unanswered: dict[int, tuple[WorkRequest, int]] = {}
        self._number = 0
        self._bytes = 0
        self._scheduled = False
        self._closed = False
        self._changed = threading.Condition()
        self._flushes: list[asyncio.Future[None]] = []

    @property
    def all_stored(self) -> bool:
        return not self._waiting and not self._unanswered

    def put_all(self, records: Iterable[Record]) -> None:
        """Sends what was appended outside of steps."""
        with self._changed:
            for record in records:
                self._put(record)
        self._send_some()

    def of_step(self, operation: int, attempt: int) -> "StepOutputs":
        return StepOutputs(self, operation, attempt)

    def send_all(self) -> None:
        """Before something is said that must come behind."""
        with self._changed:
            while self._waiting:
                self._send_frame()

    def stored(self, answer: WorkResponse.OutputStored) -> None:
        for status in answer.errors:
            _log.error("run %s: a record of an output stream was refused: %s", self._run_id, status.message)
        with self._changed:
            _, size = self._unanswered.pop(answer.number, (None, 0))
            self._bytes -= size
            self._changed.notify_all()
        self._send_some()
        if self.all_stored:
            for flush in self._flushes:
                if not flush.done():
                    flush.set_result(None)
            self._flushes.clear()
            self._on_all_stored()

    def again(self) -> None:
        """A new call has begun: what was said on the last one may not have arrived."""
        for request, _ in self._unanswered.values():
            self._send(request)
        self._send_some()

    def close(self) -> None:
        """Nothing is sent any more, and no thread waits for that."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._unanswered.clear()
            self._changed.notify_all()
        for flush in self._flushes:
            flush.cancel()

    async def flush(self) -> None:
        self.send_all()
        if not self.all_stored:
            flush = asyncio.get_running_loop().create_future()
            self._flushes.append(flush)
            await flush

    def put(self, record: Record, loop: asyncio.AbstractEventLoop, *, may_wait: bool) -> None:
        """From any thread: sent with others, as soon as the loop has its turn."""
        with self._changed:
            if may_wait:
                self._changed.wait_for(lambda: self._bytes < _FULL_BYTES or self._closed)
            elif self._bytes >= _TOO_MUCH_BYTES:
                raise RuntimeError(
                    f"{self._bytes:,} bytes of output are waiting to be stored: `await output.flush()` now and then"
                )
            if self._closed:
                return
            self._put(record)
            if self._scheduled:
                return
            self._scheduled = True
        if may_wait:
            loop.call_soon_threadsafe(self._send_some)
        else:
            loop.call_soon(self._send_some)

    def _put(self, record: Record) -> None:
        size = record.ByteSize()
        self._waiting.append((record, size))
        self._bytes += size

    def _send_some(self) -> None:
        with self._changed:
            self._scheduled = False
            while self._waiting and len(self._unanswered) < _FRAMES_UNDER_WAY:
                self._send_frame()

    def _send_frame(self) -> None:
        self._number += 1
        frame = WorkRequest.Output(run_id=self._run_id, epoch=self._epoch, number=self._number)
        total = 0
        while self._waiting and len(frame.records) < _FRAME_RECORDS:
            record, size = self._waiting[0]
            if frame.records and total + size > _FRAME_BYTES:
                break
            self._waiting.popleft()
            frame.records.append(record)
            total += size
        request = WorkRequest(output=frame)
        self._unanswered[self._number] = (request, total)
        self._send(request)


class StepOutputs:
    """What one attempt of a step appends, from the loop or from its own thread."""

    def __init__(self, outputs: RunOutputs, operation: int, attempt: int) -> None:
        self._outputs = outputs
        self._operation = operation
        self._attempt = attempt
        self._place = 0
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._over = False

    def append(self, stream_id: str, payload: Payload, metadata: Mapping[str, str]) -> None:
        with self._lock:
            if self._over:
                raise RuntimeError(f"output stream {stream_id!r}: the step has ended, and cannot append any more")
            record = Record(
                stream_id=stream_id,
                payload=payload,
                metadata=metadata,
                operation=self._operation,
                attempt=self._attempt,
                place=self._place,
            )
            self._outputs.put(record, self._loop, may_wait=threading.get_ident() != self._loop_thread)
            self._place += 1

    async def flush(self) -> None:
        await self._outputs.flush()

    def end(self) -> None:
        """The attempt has ended: a thread that it left behind says nothing any more."""
        self._over = True
