"""Waiting on several streams at once."""

from typing import Any, TypeVar

from midstream import ambient, durations
from midstream.durations import Duration
from midstream.input_stream import InputStream
from midstream.receiving.result import Result

T = TypeVar("T")


async def wait_any(
    *streams: InputStream[T], timeout: Duration | None = None
) -> tuple[InputStream[T] | None, Result[T]]:
    """Takes one record, the first of all streams by its place in the log, or the next to arrive on any of them.

    Returns the stream that it came on, and the result; where the timeout passed first, None and a ReceiveTimeout. The
    process may go in between. The other streams lose nothing. `timeout`: a number counts in seconds, 0 takes only what
    is there, None waits for ever.
    """
    by_id: dict[str, InputStream[Any]] = {stream.id: stream for stream in streams}
    if not by_id:
        raise ValueError("wait_any needs a stream to wait on")
    run = ambient.run_in_block.get()
    if run is None:
        raise RuntimeError("wait_any receives records: call it in a task")
    timeout_us = None if timeout is None else durations.parse(timeout)
    record = await run.wait_any(tuple(by_id), timeout_us)
    if record is None:
        return None, next(iter(by_id.values())).result_of(None)
    stream = by_id[record.stream_id]
    return stream, stream.result_of(record)
