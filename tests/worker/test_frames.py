"""Frames on a socket: cut, kept until the other end reads, ended."""

import asyncio
import socket

from hypothesis import given
from hypothesis import strategies as st

from midstream.worker.frames import FrameSocket, FrameSplitter, framed


@given(st.lists(st.binary(max_size=40)), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(framed(frame) for frame in frames)
    splitter = FrameSplitter()
    heard: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        heard.extend(splitter.feed(stream[:size]))
        stream = stream[size:]
    assert heard == frames


async def test_what_the_other_end_does_not_read_yet_is_kept_in_order() -> None:
    left, right = socket.socketpair()
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    sender = FrameSocket(left, on_frame=heard.put_nowait, on_end=lambda: None)
    sent = [bytes([number]) * 500_000 for number in range(8)]
    for frame in sent:
        sender.send(frame)  # far more than the socket takes while nobody reads
    receiver = FrameSocket(right, on_frame=heard.put_nowait, on_end=lambda: None)
    assert [await heard.get() for _ in sent] == sent
    sender.close()
    receiver.close()


async def test_the_end_comes_after_the_last_frame_and_once() -> None:
    left, right = socket.socketpair()
    heard: asyncio.Queue[bytes | None] = asyncio.Queue()
    receiver = FrameSocket(right, on_frame=heard.put_nowait, on_end=lambda: heard.put_nowait(None))
    left.sendall(framed(b"last") + b"\x05\x00\x00\x00ha")  # and half a frame
    left.close()
    assert [await heard.get(), await heard.get()] == [b"last", None]
    receiver.send(b"nobody hears this")
    receiver.close()
    assert heard.empty()
