"""The client: starts runs, sends records into them, and watches both."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from midstream import ambient, durations, endpoint
from midstream.access import Access, AccessToken, Scope, token_spec
from midstream.assignment import Assignment
from midstream.backoff import Backoff
from midstream.connection import Connection
from midstream.credentials import AccessTokenSource, read_claims
from midstream.durations import Duration
from midstream.entry import Entry
from midstream.errors import PayloadError, from_call
from midstream.models import Receipt, Record, Run, RunState, SendResult
from midstream.new_run import new_run_id, run_spec, start_run_request
from midstream.output_view import OutputEvent, OutputView, event_of
from midstream.schemas import Schemas
from midstream.sender import Many, Sender
from midstream.streams import Stream, encode, stream_id_of
from midstream.timestamps import to_timestamp
from midstream.v1 import record_pb2, run_pb2, run_service_pb2, stream_service_pb2, token_service_pb2

if TYPE_CHECKING:
    from midstream.attached_run import AttachedRun

_DRAIN_US: Final = 5_000_000
_YIELD_EVERY: Final = 500
_RUNS_PER_PAGE: Final = 200
_RECORDS_PER_PAGE: Final = 1_000
_ENTRIES_PER_PAGE: Final = 1_000
_VIEWS: Final = {False: record_pb2.PAYLOAD_VIEW_STORED, True: record_pb2.PAYLOAD_VIEW_JSON}


def connect(
    url: str | None = None,
    *,
    api_key: str | None = None,
    access_token: AccessTokenSource | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    cert_file: str | os.PathLike[str] | None = None,
    key_file: str | os.PathLike[str] | None = None,
    insecure: bool | None = None,
    retry_timeout: Duration | None = "60s",
) -> "Client":
    """A client of the server at `url`, else at MIDSTREAM_URL, else on this machine. Connects on its first use.

    Use it as `async with midstream.connect() as client`, or close it. `retry_timeout` bounds one call with all its
    attempts; None: it is tried for ever.

    A server that has keys wants an `api_key` (MIDSTREAM_API_KEY) or an `access_token` (MIDSTREAM_ACCESS_TOKEN). The
    latter is a text, or a function, async or not, that returns one, called for a first one and whenever that expires.
    With `grpcs://` the server's certificate is checked against `ca_file` (MIDSTREAM_CA_FILE), else against well-known
    authorities; `cert_file` and `key_file` (MIDSTREAM_CERT_FILE, MIDSTREAM_KEY_FILE) are this client's own certificate.
    Without TLS nothing secret is sent to another machine, unless `insecure=True` (MIDSTREAM_INSECURE=1).

    Raises ValueError for what makes no sense, such as a URL, a timeout, or a file that cannot be read.
    """
    where = endpoint.resolve(
        url,
        api_key=api_key,
        access_token=access_token,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        insecure=insecure,
    )
    return Client(where, retry_timeout=retry_timeout)


class Client:
    """Talks to one server over one connection. Belongs to the event loop that first uses it.

    While the server cannot be reached, calls are repeated with growing pauses; every record and every new run carries a
    key, so nothing is stored twice. All methods raise MidstreamError.
    """

    def __init__(
        self, server: str | endpoint.Endpoint | None = None, *, retry_timeout: Duration | None = "60s"
    ) -> None:
        """`server` is a URL, or what `connect` makes of its arguments."""
        retry_timeout_us = None if retry_timeout is None else durations.parse(retry_timeout)
        if retry_timeout_us == 0:
            raise ValueError("retry_timeout bounds a call with all its attempts, so it must be over 0; None: no bound")
        where = server if isinstance(server, endpoint.Endpoint) else endpoint.resolve(server)
        self._connection = Connection(where, retry_timeout_us=retry_timeout_us)
        self._sender = Sender(self._connection)
        self._enclosing: Client | None = None
        self.schemas = Schemas(self._connection)
        """What may be sent on which stream."""

    async def __aenter__(self) -> Self:
        self._enclosing = ambient.client_in_block.get()
        ambient.client_in_block.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if ambient.client_in_block.get() is self:
            ambient.client_in_block.set(self._enclosing)
        await self.close()

    async def close(self) -> None:
        """Waits up to 5 s for sends that are under way, fails the rest of them, and closes the connection."""
        try:
            await self._sender.close(drain_us=_DRAIN_US)
        finally:
            await self._connection.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The one that it was first used on, and belongs to."""
        return self._connection.loop

    @property
    def closed(self) -> bool:
        return self._connection.closed

    @property
    def url(self) -> str:
        return str(self._connection.address)

    # Runs.

    async def start_run(
        self,
        task: str,
        payload: Any = None,
        *,
        run_id: str | None = None,
        records: Iterable[tuple[Stream, Any]] = (),
        max_duration: Duration | None = None,
        metadata: Mapping[str, str] | None = None,
        access: Access | None = None,
    ) -> Run:
        """Starts a managed run. `records` are stored before its task begins.

        With a `run_id` of your own, the same call again returns the run that exists already. With `access`, such as
        `Access([can_read(), can_send(stream=approval)])`, the run comes with an `access_token` for a frontend.
        """
        spec = run_spec(task, payload, max_duration=max_duration, metadata=metadata)
        request = start_run_request(new_run_id() if run_id is None else run_id, spec, records)
        if access is not None:
            request.access.CopyFrom(token_spec(access.scopes, access.subject, access.ttl, access.max_uses))
        response = await self._connection.unary(self._connection.runs.StartRun, request)
        run = Run.from_proto(response.run)
        if not response.HasField("access_token"):
            return run
        return replace(run, access_token=AccessToken.from_proto(response.access_token))

    def attach(
        self,
        run_id: str | None = None,
        *,
        task: str | None = None,
        payload: Any = None,
        max_duration: Duration | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> "AbstractAsyncContextManager[AttachedRun]":
        """Makes this process a run for as long as the block lasts, or finds the run that it is."""
        from midstream.attached_run import AttachedRun

        return AttachedRun(self, run_id, task=task, payload=payload, max_duration=max_duration, metadata=metadata)

    async def get_run(self, run_id: str) -> Run:
        request = run_service_pb2.GetRunRequest(run_id=run_id)
        return Run.from_proto((await self._connection.unary(self._connection.runs.GetRun, request)).run)

    async def cancel_run(self, run_id: str) -> Run:
        """Asks a run to stop. It may take up to 30 s to clean up."""
        request = run_service_pb2.CancelRunRequest(run_id=run_id)
        return Run.from_proto((await self._connection.unary(self._connection.runs.CancelRun, request)).run)

    async def list_runs(
        self, task: str | None = None, states: Iterable[RunState | str] = ()
    ) -> AsyncGenerator[Run, None]:
        """Every run, newest first, without payloads and results."""
        request = run_service_pb2.ListRunsRequest(
            task=task or "",
            states=[run_pb2.Run.State.Value(f"STATE_{RunState(state)}") for state in states],
            page_size=_RUNS_PER_PAGE,
        )
        while True:
            page = await self._connection.unary(self._connection.runs.ListRuns, request)
            for run in page.runs:
                yield Run.from_proto(run)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def list_entries(self, run_id: str, *, readable: bool = False) -> AsyncGenerator[Entry, None]:
        """The run's log in offset order: everything that ever happened to it, up to now.

        `readable`, here and below: values of protobuf streams come as plain JSON, by the schema of their record.
        """
        request = run_service_pb2.ListEntriesRequest(
            run_id=run_id, page_size=_ENTRIES_PER_PAGE, payload_view=_VIEWS[readable]
        )
        while True:
            page = await self._connection.unary(self._connection.runs.ListEntries, request)
            for entry in page.entries:
                yield Entry.from_proto(entry)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def list_assignments(self, run_id: str) -> list[Assignment]:
        """Which workers had the run, and when: oldest first, at most the newest 1,000. Of an attached run: none."""
        request = run_service_pb2.ListEntriesRequest(run_id=run_id, page_size=1)
        page = await self._connection.unary(self._connection.runs.ListEntries, request)
        return [Assignment.from_proto(assignment) for assignment in page.assignments]

    async def watch_run(self, run_id: str) -> AsyncGenerator[Run, None]:
        """The run as it stands, and again whenever it has changed, until it has ended."""
        request = run_service_pb2.WatchRunRequest(run_id=run_id)
        last: run_pb2.Run | None = None
        backoff = Backoff()
        while True:
            bearer = await self._connection.bearer.metadata()
            call = self._connection.runs.WatchRun(request, metadata=bearer)
            try:
                with self._connection.cut_off_by_close():
                    async for response in call:
                        backoff.reset()
                        self._connection.bearer.worked(bearer)
                        if response.run == last:
                            continue  # the first word after a reconnect may be an old one
                        last = response.run
                        run = Run.from_proto(last)
                        yield run
                        if run.state.is_final:
                            return
                    return
            except grpc.aio.AioRpcError as failed:
                error = from_call(failed)
            finally:
                call.cancel()
            await self._connection.pause(backoff, error, bearer)

    # Access tokens.

    async def mint_token(
        self, scopes: Iterable[Scope], *, subject: str = "", ttl: Duration = "1h", max_uses: int | None = None
    ) -> AccessToken:
        """Makes an access token for a frontend. Needs an API key.

        `scopes` are such as `can_send(run.id, approval)`; `subject` is stamped on each record that is sent with the
        token; `ttl` is 1 s to 30 days; `max_uses` is how many records can be sent with it in all.
        """
        spec = token_spec(scopes, subject, ttl, max_uses)
        request = token_service_pb2.MintTokenRequest(spec=spec)
        response = await self._connection.unary(self._connection.tokens.MintToken, request)
        return AccessToken.from_proto(response.access_token)

    async def revoke_token(self, token: AccessToken | str) -> None:
        """Makes a token worthless at once, for ever. `token` may be the token itself, too, or its `token_id`."""
        request = token_service_pb2.RevokeTokenRequest()
        if isinstance(token, AccessToken):
            request.token_id = token.token_id
            request.expire_time.CopyFrom(to_timestamp(token.expire_time))
        elif (claims := read_claims(token)) is not None:
            request.token_id = claims.token_id
            if claims.expire_s is not None:
                request.expire_time.FromMicroseconds(int(claims.expire_s * 1_000_000))
        else:
            request.token_id = token
        await self._connection.unary(self._connection.tokens.RevokeToken, request)

    # Records.

    async def send(
        self,
        run_id: str,
        stream: Stream,
        value: Any,
        *,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Stores a record; when this returns, it is on disk.

        `key` makes your own repetition safe: the same key with the same value is stored once. Without one, a random key
        covers the client's own retries.
        """
        target = (run_id, stream_id_of(stream))
        return await self._sender.send(target, encode(stream, value), key=key, metadata=metadata)

    async def send_many(
        self, run_id: str, stream: Stream, values: Iterable[Any] | AsyncIterable[Any]
    ) -> list[SendResult]:
        """Stores many records, pipelined, and returns what became of each, in order.

        A value that is refused does not hold up the others. What `values` itself raises is raised at once; the records
        before that are stored all the same.
        """
        target = (run_id, stream_id_of(stream))
        sender, answers = self._sender, Many()
        refused: list[tuple[int, SendResult]] = []
        count = 0
        await sender.room()
        async for value in _each(values):
            try:
                payload = encode(stream, value)
            except PayloadError as error:
                refused.append((count, SendResult(error=error)))
            else:
                if sender.is_crowded:
                    await sender.room()
                sender.put(target, payload, answers)
            count += 1
        results = await answers.all_of(count - len(refused))
        for index, result in refused:
            results.insert(index, result)
        return results

    async def peek(self, run_id: str, stream: Stream, *, readable: bool = False) -> Record | None:
        """The newest record that the run has not consumed. Consumes nothing."""
        request = stream_service_pb2.PeekRequest(
            run_id=run_id, stream_id=stream_id_of(stream), payload_view=_VIEWS[readable]
        )
        response = await self._connection.unary(self._connection.streams.Peek, request)
        return Record.from_proto(response.record) if response.HasField("record") else None

    async def tail(
        self, run_id: str, stream: Stream | None = None, *, after_offset: int = 0, readable: bool = False
    ) -> AsyncGenerator[Record, None]:
        """Every record behind `after_offset`, in offset order, as it comes, until the run has ended. Consumes none."""
        stream_id = "" if stream is None else stream_id_of(stream)
        request = stream_service_pb2.TailRequest(
            run_id=run_id, stream_id=stream_id, after_offset=after_offset, payload_view=_VIEWS[readable]
        )
        async with aclosing(self._tail(request)) as pages:
            async for page in pages:
                for record in page:
                    yield Record.from_proto(record)

    async def tail_output(
        self, run_id: str, stream: Stream | None = None, *, after_offset: int = 0
    ) -> AsyncGenerator[OutputEvent, None]:
        """What the run has appended to an output stream, or to all, behind `after_offset`, as it comes.

        In the order of output records, whose offsets are their own; until the run has ended. Between records there may
        be a Rewound, which takes earlier ones back; `watch_output` applies it for you.
        """
        async with aclosing(self._tail(_output_tail(run_id, stream, after_offset))) as pages:
            async for page in pages:
                for record in page:
                    yield event_of(record)

    async def watch_output(self, run_id: str, stream: Stream | None = None) -> AsyncGenerator[OutputView, None]:
        """What counts of the run's output, from the first record on: the same view again whenever it has changed."""
        view = OutputView()
        async with aclosing(self._tail(_output_tail(run_id, stream, 0))) as pages:
            async for page in pages:
                for record in page:
                    view.apply(event_of(record))
                yield view

    async def read_output(self, run_id: str, stream: Stream | None = None) -> list[Record]:
        """What counts of the run's output up to now, without what was taken back."""
        view = OutputView()
        async for record in self._list(run_id, stream, record_pb2.DIRECTION_OUTPUT):
            view.apply(event_of(record))
        return view.records

    async def _tail(self, request: stream_service_pb2.TailRequest) -> AsyncGenerator[Sequence[record_pb2.Record], None]:
        """Page after page, across broken calls, until the run has ended."""
        backoff = Backoff()
        while True:
            bearer = await self._connection.bearer.metadata()
            call = self._connection.streams.Tail(request, metadata=bearer)
            try:
                with self._connection.cut_off_by_close():
                    async for response in call:
                        backoff.reset()
                        self._connection.bearer.worked(bearer)
                        yield response.records
                        request.after_offset = response.as_of_offset
                    return
            except grpc.aio.AioRpcError as failed:
                error = from_call(failed)
            finally:
                call.cancel()
            await self._connection.pause(backoff, error, bearer)

    async def list_records(
        self, run_id: str, stream: Stream | None = None, *, readable: bool = False
    ) -> AsyncGenerator[Record, None]:
        """Every stored record of input streams in offset order, consumed or not."""
        async for record in self._list(run_id, stream, record_pb2.DIRECTION_INPUT, _VIEWS[readable]):
            yield Record.from_proto(record)

    async def _list(
        self,
        run_id: str,
        stream: Stream | None,
        direction: record_pb2.Direction.ValueType,
        view: record_pb2.PayloadView.ValueType = record_pb2.PAYLOAD_VIEW_STORED,
    ) -> AsyncGenerator[record_pb2.Record, None]:
        request = stream_service_pb2.ListRecordsRequest(
            run_id=run_id,
            stream_id="" if stream is None else stream_id_of(stream),
            page_size=_RECORDS_PER_PAGE,
            direction=direction,
            payload_view=view,
        )
        while True:
            page = await self._connection.unary(self._connection.streams.ListRecords, request)
            for record in page.records:
                yield record
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def _output_tail(run_id: str, stream: Stream | None, after_offset: int) -> stream_service_pb2.TailRequest:
    return stream_service_pb2.TailRequest(
        run_id=run_id,
        stream_id="" if stream is None else stream_id_of(stream),
        after_offset=after_offset,
        direction=record_pb2.DIRECTION_OUTPUT,
    )


async def _each(values: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    """The values; from time to time the loop gets its turn, so that records leave while others are still being made."""
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
        return
    for index, value in enumerate(values):
        if index % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)
        yield value
