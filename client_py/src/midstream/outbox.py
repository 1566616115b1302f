"""The records of a client that are not answered yet, as the frames in which they travel. Pure: no asyncio, no gRPC."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from midstream.errors import MidstreamError
from midstream.v1.record_pb2 import Payload
from midstream.v1.stream_service_pb2 import Receipt, SendRequest

MAX_FRAME_RECORDS: Final = 1_000
MAX_FRAME_BYTES: Final = 1024 * 1024
_RECORD_OVERHEAD_BYTES: Final = 40


class Sink(Protocol):
    """Where the answers to some records go, in the order in which the records were put."""

    def accept(self, receipts: Sequence[Receipt]) -> None: ...
    def fail(self, count: int, error: MidstreamError) -> None: ...


class Frame:
    """One SendRequest: records for one stream of one run, and who waits for their answers."""

    __slots__ = ("_add", "count", "created_us", "key", "request", "sinks", "size_bytes")

    def __init__(self, key: tuple[str, str], created_us: int) -> None:
        self.key = key
        self.request = SendRequest(run_id=key[0], stream_id=key[1])
        self.created_us = created_us
        self.count = 0
        self.size_bytes = 0
        self.sinks: list[tuple[Sink, int]] = []
        self._add = self.request.records.add

    def add(self, payload: Payload, key: str, metadata: Mapping[str, str] | None, size_bytes: int, sink: Sink) -> None:
        try:
            self._add(payload=payload, idempotency_key=key, metadata=metadata)
        except (TypeError, ValueError):
            del self.request.records[self.count :]  # protobuf may leave half a record behind
            raise
        self.count += 1
        self.size_bytes += size_bytes
        if self.sinks and self.sinks[-1][0] is sink:
            self.sinks[-1] = (sink, self.sinks[-1][1] + 1)
        else:
            self.sinks.append((sink, 1))

    def accept(self, receipts: Sequence[Receipt]) -> None:
        done = 0
        for sink, count in self.sinks:
            sink.accept(receipts[done : done + count])
            done += count

    def fail(self, error: MidstreamError) -> None:
        for sink, count in self.sinks:
            sink.fail(count, error)


class Outbox:
    """First the frames that were written and wait for their answer, then those still to be written.

    A record joins the newest unwritten frame of its stream where that has room, so frames fill up by themselves while
    the connection is busy, and each stream keeps its order.
    """

    def __init__(self) -> None:
        self._written: deque[Frame] = deque()
        self._unwritten: deque[Frame] = deque()
        self._open: dict[tuple[str, str], Frame] = {}
        self.record_count = 0
        self.size_bytes = 0

    def put(
        self,
        stream: tuple[str, str],
        payload: Payload,
        key: str,
        metadata: Mapping[str, str] | None,
        sink: Sink,
        *,
        now_us: Callable[[], int],
    ) -> None:
        """Adds a record for `stream`, a run id with a stream id. `now_us` tells the time where a new frame begins."""
        size_bytes = payload.ByteSize() + len(key) + _RECORD_OVERHEAD_BYTES
        if metadata:
            size_bytes += sum(len(name) + len(text) + 8 for name, text in metadata.items()) * 2
        frame = self._open.get(stream)
        if frame is None or frame.count == MAX_FRAME_RECORDS or frame.size_bytes + size_bytes > MAX_FRAME_BYTES:
            frame = self._open[stream] = Frame(stream, now_us())
            self._unwritten.append(frame)
        frame.add(payload, key, metadata, size_bytes, sink)
        self.record_count += 1
        self.size_bytes += size_bytes

    def next_to_write(self) -> Frame | None:
        """The next frame, which counts as written from here on; None where there is none."""
        while self._unwritten:
            frame = self._unwritten.popleft()
            self._seal(frame)
            if frame.count:  # none, where its first record could not be put
                self._written.append(frame)
                return frame
        return None

    def accept(self, receipts: Sequence[Receipt]) -> bool:
        """Hands the oldest written frame its answer. False where it fits none: the server broke the rules."""
        if not self._written or self._written[0].count != len(receipts):
            return False
        frame = self._written.popleft()
        self._forget(frame)
        frame.accept(receipts)
        return True

    def unwrite(self) -> None:
        """The connection broke: everything without an answer is to be written again, in the same order.

        No frame takes more records, so that one frame's records are of about the same age.
        """
        self._unwritten.extendleft(reversed(self._written))
        self._written.clear()
        self._open.clear()

    def fail_written(self, error: MidstreamError) -> None:
        """Gives up on what was written; the rest waits on."""
        while self._written:
            self._fail(self._written.popleft(), error)

    def fail_older(self, created_us: int, error: MidstreamError) -> None:
        """Gives up on frames begun at `created_us` or before."""
        for frames in (self._written, self._unwritten):
            while frames and frames[0].created_us <= created_us:
                self._fail(frames.popleft(), error)

    def fail_all(self, error: MidstreamError) -> None:
        self.fail_written(error)
        while self._unwritten:
            self._fail(self._unwritten.popleft(), error)

    @property
    def oldest_us(self) -> int | None:
        """When the oldest frame began; None where nothing waits."""
        if self._written:
            return self._written[0].created_us
        return self._unwritten[0].created_us if self._unwritten else None

    def _fail(self, frame: Frame, error: MidstreamError) -> None:
        self._seal(frame)
        self._forget(frame)
        frame.fail(error)

    def _seal(self, frame: Frame) -> None:
        if self._open.get(frame.key) is frame:
            del self._open[frame.key]

    def _forget(self, frame: Frame) -> None:
        self.record_count -= frame.count
        self.size_bytes -= frame.size_bytes
