"""Frames between the worker and its children: a length, then a serialised message of the contract."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

_LENGTH_BYTES: Final = 4
_READ_BYTES: Final = 64 * 1024
"""For each read such a buffer is made. One above 128 KiB comes from the system anew: 40 µs more (measured)."""

READY: Final = b""
"""A child's first frame: it is warm and waits for a run."""


def framed(frame: bytes) -> bytes:
    return len(frame).to_bytes(_LENGTH_BYTES, "little") + frame


class FrameSplitter:
    """Cuts a byte stream into its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that `data` completes."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) >= (body := start + _LENGTH_BYTES):
                end = body + int.from_bytes(buffer[start:body], "little")
                if len(buffer) < end:
                    return
                start = end
                yield bytes(memoryview(buffer)[body:end])
        finally:
            del buffer[:start]


class FrameSocket:
    """One end of a stream socket on the running loop. Calls back with each frame, and once when the other end is gone.

    What the other end does not read yet is kept, in order: the log of a run bounds it.
    """

    def __init__(self, stream: socket.socket, *, on_frame: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        stream.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._on_frame = on_frame
        self._on_end = on_end
        self._splitter = FrameSplitter()
        self._unsent: deque[memoryview] = deque()
        self._closed = False
        self._loop.add_reader(stream.fileno(), self._read)

    def send(self, frame: bytes) -> None:
        """Sends at once what the socket takes, the rest as soon as it can; nothing once the other end is gone."""
        if self._closed:
            return
        data = memoryview(framed(frame))
        if not self._unsent:
            data = self._write(data)
            if not data:
                return
            self._loop.add_writer(self._stream.fileno(), self._write_unsent)
        self._unsent.append(data)

    def close(self) -> None:
        """Harmless when repeated. `on_end` is not called."""
        if self._closed:
            return
        self._closed = True
        self._unsent.clear()
        self._loop.remove_reader(self._stream.fileno())
        self._loop.remove_writer(self._stream.fileno())
        self._stream.close()

    def _read(self) -> None:
        try:
            data = self._stream.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        for frame in self._splitter.feed(data):
            if not self._closed:
                self._on_frame(frame)

    def _write(self, data: memoryview) -> memoryview:
        try:
            return data[self._stream.send(data) :]
        except (BlockingIOError, InterruptedError):
            return data
        except OSError:
            # The other end is gone; reading, which comes to the end of what it said, will tell.
            return memoryview(b"")

    def _write_unsent(self) -> None:
        while self._unsent:
            rest = self._write(self._unsent[0])
            if rest:
                self._unsent[0] = rest
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._stream.fileno())

    def _end(self) -> None:
        self.close()
        self._on_end()
