"""One lazy gRPC channel to the server, and the retrying of calls on it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from midstream.backoff import Backoff
from midstream.clock import Clock, SteadyClock
from midstream.credentials import Bearer, Metadata
from midstream.endpoint import Endpoint
from midstream.errors import MidstreamError, from_call
from midstream.url import Address
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.schema_service_pb2_grpc import SchemaServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from midstream.v1.token_service_pb2_grpc import TokenServiceStub

if TYPE_CHECKING:  # the stubs' asyncio side exists for type checkers only
    from midstream.v1.run_service_pb2_grpc import RunServiceAsyncStub
    from midstream.v1.schema_service_pb2_grpc import SchemaServiceAsyncStub
    from midstream.v1.stream_service_pb2_grpc import StreamServiceAsyncStub
    from midstream.v1.token_service_pb2_grpc import TokenServiceAsyncStub

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

CHANNEL_OPTIONS: Final[Sequence[tuple[str, int | str]]] = (
    # A page is at most 1 MiB of payload, yet 1,000 records bring their keys and metadata (8 KiB each) along.
    ("grpc.max_receive_message_length", 20 * 1024 * 1024),
    ("grpc.max_send_message_length", 20 * 1024 * 1024),
    # Notices a peer that vanished without a word within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Our own back-off decides when to try; the channel must not sit out a longer one of its own.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class UnaryCall(Protocol[Q, R]):
    """A unary method of an asyncio stub."""

    def __call__(
        self, request: Q, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> grpc.aio.UnaryUnaryCall[Q, R]: ...


class Connection:
    """A channel that opens on first use, on the event loop of that use. Only that loop may use it from then on."""

    def __init__(self, endpoint: Endpoint, *, retry_timeout_us: int | None, clock: Clock | None = None) -> None:
        """`retry_timeout_us` (microseconds) bounds how long one call is retried; None: for ever."""
        self.endpoint = endpoint
        self.bearer = Bearer(endpoint.api_key, endpoint.access_token)
        self.clock: Clock = SteadyClock() if clock is None else clock
        self.retry_timeout_us = retry_timeout_us
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._streams: StreamServiceAsyncStub | None = None
        self._runs: RunServiceAsyncStub | None = None
        self._tokens: TokenServiceAsyncStub | None = None
        self._schemas: SchemaServiceAsyncStub | None = None
        self._closed = False

    @property
    def address(self) -> Address:
        return self.endpoint.address

    @property
    def streams(self) -> "StreamServiceAsyncStub":
        self.check_usable()
        if self._streams is None:
            self._streams = StreamServiceStub(self._opened())
        return self._streams

    @property
    def runs(self) -> "RunServiceAsyncStub":
        self.check_usable()
        if self._runs is None:
            self._runs = RunServiceStub(self._opened())
        return self._runs

    @property
    def tokens(self) -> "TokenServiceAsyncStub":
        self.check_usable()
        if self._tokens is None:
            self._tokens = TokenServiceStub(self._opened())
        return self._tokens

    @property
    def schemas(self) -> "SchemaServiceAsyncStub":
        self.check_usable()
        if self._schemas is None:
            self._schemas = SchemaServiceStub(self._opened())
        return self._schemas

    @property
    def channel(self) -> grpc.aio.Channel:
        """For calls whose messages the caller serialises itself."""
        self.check_usable()
        return self._opened()

    async def unary(self, method: UnaryCall[Q, R], request: Q, *, timeout_us: int | None = None) -> R:
        """Calls, and calls again while that may help, for `timeout_us` microseconds (unset: the retry timeout) in all.

        Every request must be safe to repeat. Raises MidstreamError.
        """
        bound_us = self.retry_timeout_us if timeout_us is None else timeout_us
        give_up_at_us = None if bound_us is None else self.clock.now_us() + bound_us
        backoff = Backoff(give_up_at_us=give_up_at_us)
        while True:
            self.check_usable()
            remaining = None if give_up_at_us is None else max(give_up_at_us - self.clock.now_us(), 0) / 1_000_000
            metadata = await self.bearer.metadata()
            try:
                with self.cut_off_by_close():
                    response = await method(request, timeout=remaining, metadata=metadata)
                self.bearer.worked(metadata)
                return response
            except grpc.aio.AioRpcError as failed:
                error = from_call(failed)
            await self.pause(backoff, error, metadata)

    async def pause(self, backoff: Backoff, error: MidstreamError, metadata: Metadata) -> None:
        """Waits before the next attempt after `error`, or raises it where another attempt makes no sense.

        `metadata` is what the failed call was made with.
        """
        if self.bearer.renews(error, metadata):
            return
        now_us = self.clock.now_us()
        delay_us = backoff.delay_us(error, now_us=now_us)
        if delay_us is None or self._closed:
            raise error
        await self.clock.sleep_until(now_us + delay_us)

    @contextmanager
    def cut_off_by_close(self) -> Iterator[None]:
        """Raises MidstreamError for a call within that `close` cut off.

        grpc.aio raises CancelledError for it, which would look as if the caller's task had been cancelled.
        """
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise closed_error() from None
            raise

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        return self._loop

    @property
    def closed(self) -> bool:
        return self._closed

    def check_usable(self) -> None:
        """Raises MidstreamError on a closed client, and on another event loop than the first one."""
        if self._closed:
            raise closed_error()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise MidstreamError(
                "this client belongs to another event loop; connect anew on this one", code="FAILED_PRECONDITION"
            )

    async def close(self) -> None:
        """Closes the channel at once; open calls are cancelled."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            credentials = self.endpoint.channel_credentials()
            options = (*CHANNEL_OPTIONS, *self.endpoint.channel_options())
            if credentials is None:
                self._channel = grpc.aio.insecure_channel(self.address.target, options=options)
            else:
                self._channel = grpc.aio.secure_channel(self.address.target, credentials, options=options)
        return self._channel


def closed_error() -> MidstreamError:
    return MidstreamError("this client is closed", code="FAILED_PRECONDITION")
