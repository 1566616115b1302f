"""Declaring an input stream, and receiving from it inside a run."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload
from weakref import WeakSet

from google.protobuf.message import Message

from midstream import ambient, durations
from midstream.codec import codec_for
from midstream.declaration import StreamOptions, WhenFull, declared_in_proto, from_proto
from midstream.durations import Duration
from midstream.errors import PayloadError, RecordInvalid
from midstream.models import Receipt, Record
from midstream.receiving.receiver import Inbox
from midstream.receiving.result import NotReceived, Received, ReceiveTimeout, Result
from midstream.streams import check_id

if TYPE_CHECKING:
    from midstream.v1.record_pb2 import Payload

T = TypeVar("T")
D = TypeVar("D")
M = TypeVar("M", bound=Message)

_declared: "Final[WeakSet[InputStream[Any]]]" = WeakSet()


@overload
def input_stream(declared: type[M], /) -> "InputStream[M]": ...
@overload
def input_stream(
    id: str,
    type: None = None,
    *,
    max_payload_bytes: int | None = None,
    max_unread_records: int | None = None,
    when_full: WhenFull = "reject",
    backend_only: bool = False,
) -> "InputStream[Any]": ...
@overload
def input_stream(
    id: str,
    type: type[T],
    *,
    max_payload_bytes: int | None = None,
    max_unread_records: int | None = None,
    when_full: WhenFull = "reject",
    backend_only: bool = False,
) -> "InputStream[T]": ...
@overload
def input_stream(
    id: str,
    type: Any,
    *,
    max_payload_bytes: int | None = None,
    max_unread_records: int | None = None,
    when_full: WhenFull = "reject",
    backend_only: bool = False,
) -> "InputStream[Any]": ...
def input_stream(id: Any, type: Any = None, **options: Any) -> "InputStream[Any]":
    """Declares a stream: its name within a run, and the type of its values.

    `input_stream(UserMessage)` takes both from a protobuf message with the option `(midstream.v1.input_stream)`, and
    the limits too. Otherwise `type` is a pydantic model or any other type that pydantic can check, `bytes` for raw
    bytes, a protobuf message class, or nothing for any JSON.

    The options are what the stream promises once it is registered, with `midstream schema push` or a worker's
    `--push-schemas`: `max_payload_bytes`, `max_unread_records` with what becomes of one more (`when_full`: "reject" or
    "drop_oldest"; 1 and "drop_oldest" keep the latest only), and `backend_only` against access tokens.

    Raises ValueError for a malformed id or limit, TypeError for a type that cannot be used.
    """
    if not isinstance(id, str):
        return _declared_by(id, type, options)
    if inspect.isclass(type) and issubclass(type, Message) and declared_in_proto(type) is not None:
        raise TypeError(
            f"{type.DESCRIPTOR.full_name} says itself on which stream it is sent: write input_stream({type.__name__})"
        )
    return InputStream(id, type, StreamOptions(**options))


def _declared_by(declared: Any, type: Any, options: dict[str, Any]) -> "InputStream[Any]":
    if not (inspect.isclass(declared) and issubclass(declared, Message)):
        raise TypeError(f"input_stream takes a protobuf message class, or a name and a type; got {declared!r}")
    name = declared.DESCRIPTOR.full_name
    found = declared_in_proto(declared)
    if found is None:
        raise TypeError(
            f"{name} does not say on which stream it is sent: give it the option "
            f'`option (midstream.v1.input_stream) = {{id: "..."}};`, or write input_stream("...", {declared.__name__})'
        )
    if type is not None or options:
        raise TypeError(f"{name} declares its stream in the .proto, and its limits too: give nothing else here")
    return InputStream(found.id, declared, from_proto(found))


def declared_ids() -> set[str]:
    """The ids of all streams that this process has declared."""
    return {stream.id for stream in _declared}


def declared_streams() -> "list[InputStream[Any]]":
    """All streams that this process has declared, by id."""
    return sorted(_declared, key=lambda stream: stream.id)


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

    def __init__(self, id: str, type: type[T] | None = None, options: StreamOptions | None = None) -> None:
        check_id(id)
        self.id = id
        self.type = type
        self.options = StreamOptions() if options is None else options
        self.options.check()
        self.codec = codec_for(type)
        _declared.add(self)

    def __repr__(self) -> str:
        return f"<InputStream {self.id!r}>"

    def encode(self, value: T) -> "Payload":
        """The value's payload. Raises PayloadError where it does not fit the stream's type."""
        return self.codec.encode(value)

    def decode(self, record: Record) -> T:
        """The record's value. Raises RecordInvalid where it does not fit the stream's type."""
        try:
            return self.codec.decode(record.payload)
        except PayloadError as error:
            raise RecordInvalid(error, self.id, record.seq, record.schema_version) from error

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

        Ends before a record that does not fit the stream's type; where that is the first, it raises RecordInvalid and
        that record is consumed.
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
