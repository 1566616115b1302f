"""Declaring an input stream, and receiving from it inside a run."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload
from weakref import WeakSet

from midstream import ambient, durations
from midstream.codec import codec_for
from midstream.durations import Duration
from midstream.errors import PayloadError
from midstream.models import Receipt, Record
from midstream.receiving.receiver import Inbox
from midstream.receiving.result import NotReceived, Received, ReceiveTimeout, Result
from midstream.streams import check_id

if TYPE_CHECKING:
    from midstream.v1.record_pb2 import Payload

T = TypeVar("T")
D = TypeVar("D")

_declared: "Final[WeakSet[InputStream[Any]]]" = WeakSet()


@overload
def input_stream(id: str, type: None = None) -> "InputStream[Any]": ...
@overload
def input_stream(id: str, type: type[T]) -> "InputStream[T]": ...
@overload
def input_stream(id: str, type: Any) -> "InputStream[Any]": ...
def input_stream(id: str, type: Any = None) -> "InputStream[Any]":
    """Declares a stream: its name within a run, and the type of its values.

    `type` is a pydantic model or any other type that pydantic can check, `bytes` for raw bytes, a protobuf message
    class, or nothing for any JSON. Raises ValueError for a malformed id, TypeError for a type that cannot be used.
    """
    return InputStream(id, type)


def declared_ids() -> set[str]:
    """The ids of all streams that this process has declared."""
    return {stream.id for stream in _declared}


class Subscription:
    """A handler that gets a stream's records, until `off()` or the end of the run."""

    def __init__(self, off: Callable[[], None]) -> None:
        self._off = off

    def off(self) -> None:
        """Hands it no further record; a call that has begun goes on. Harmless when repeated."""
        self._off()


class InputStream(Generic[T]):
    """A named, typed, ordered channel into a run.

    `send` works anywhere. Everything else receives, and works inside a run: within `async with client.attach(...)`, in
    tasks started there, and in handlers. `on`, `once`, `peek`, `async for` and `drain` are views of one buffer:
    changing between them never loses or repeats a record.
    """

    def __init__(self, id: str, type: type[T] | None = None) -> None:
        check_id(id)
        self.id = id
        self.type = type
        self.codec = codec_for(type)
        _declared.add(self)

    def __repr__(self) -> str:
        return f"<InputStream {self.id!r}>"

    def encode(self, value: T) -> "Payload":
        """The value's payload. Raises PayloadError where it does not fit the stream's type."""
        return self.codec.encode(value)

    def decode(self, record: Record) -> T:
        """The record's value. Raises PayloadError where it does not fit the stream's type."""
        return self.codec.decode(record.payload)

    async def send(
        self, run_id: str, value: T, *, key: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> Receipt:
        """Sends to a run, with the enclosing block's client, else one by MIDSTREAM_URL. Returns when it is on disk.

        `key`: makes sending again harmless; unset, a random one is used. Raises MidstreamError.
        """
        return await ambient.current_client().send(run_id, self, value, key=key, metadata=metadata)

    def on(self, handler: Callable[[T], object]) -> Subscription:
        """Hands every record to `handler`, in order, first those that wait already.

        An async handler handles one record at a time. One that raises is recorded on the run, and delivery goes on.
        """

        def handle(record: Record) -> object:
            return handler(self.decode(record))

        return Subscription(self._inbox().on(handle, name=_name(handler)))

    async def once(self, *, timeout: Duration | None = None) -> Result[T]:
        """Takes the oldest unconsumed record, or the next to arrive: first come, first served.

        `timeout`: a number counts in seconds, 0 takes only what is there, None waits for ever. Cancelling consumes
        nothing.
        """
        return self.result_of(await self._inbox().once(_timeout_us(timeout)))

    async def wait(self, *, timeout: Duration | None = None) -> Result[T]:
        """As `once`, but the process may go in between. Raises RuntimeError in an attached run: nothing restarts it."""
        return self.result_of(await self._inbox().wait(_timeout_us(timeout)))

    @overload
    def peek(self) -> T | None: ...
    @overload
    def peek(self, default: D) -> T | D: ...
    def peek(self, default: object = None) -> object:
        """The newest unconsumed record's value, else `default`. Consumes nothing, never waits."""
        record = self.peek_record()
        return default if record is None else self.decode(record)

    def peek_record(self) -> Record | None:
        """The newest unconsumed record, so that a null value can be told from nothing."""
        return self._inbox().newest()

    def __aiter__(self) -> "Iteration[T]":
        """Takes one record after the other, for as long as the run lasts."""
        return Iteration(self)

    async def drain(self) -> list[T]:
        """Takes all unconsumed records at once; the list may be empty.

        Ends before a record that does not fit the stream's type; where that is the first, it raises PayloadError.
        """
        inbox = self._inbox()
        records = await inbox.drain()
        values: list[T] = []
        for index, record in enumerate(records):
            try:
                values.append(self.decode(record))
            except PayloadError:
                inbox.give_back(records[max(index, 1) :])
                if index == 0:
                    raise
                break
        return values

    async def ack(self) -> None:
        """Acknowledges now, on disk, what `once`, `async for` and `drain` took; else the next of these calls does."""
        await self._inbox().ack()

    def result_of(self, record: Record | None) -> Result[T]:
        """What a receive that got this record came to; None: its timeout passed."""
        if record is None:
            return NotReceived(ReceiveTimeout(self.id))
        try:
            return Received(self.decode(record), record)
        except PayloadError as error:
            return NotReceived(error, record)

    def _inbox(self) -> Inbox:
        run = ambient.run_in_block.get()
        if run is None:
            raise RuntimeError(
                f"stream {self.id!r} was asked for records outside a run: do it in `async with client.attach(...)`; "
                f"from outside, look with `client.peek(run_id, {self.id!r})` or `client.tail(run_id, {self.id!r})`"
            )
        return run.inbox(self.id)


class Iteration(Generic[T]):
    """`async for` over a stream. Leaving it early loses nothing."""

    def __init__(self, stream: InputStream[T]) -> None:
        self._stream = stream

    def __aiter__(self) -> "Iteration[T]":
        return self

    async def __anext__(self) -> T:
        return (await self._stream.once()).unwrap()


def _timeout_us(timeout: Duration | None) -> int | None:
    return None if timeout is None else durations.parse(timeout)


def _name(handler: Callable[..., object]) -> str:
    """The handler's name for people, such as `module.function`."""
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return f"{getattr(handler, '__module__', None) or type(handler).__module__}.{name}"
