"""StreamService over gRPC: converts, calls the operation, converts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.scope import Action
from midstream_server.operations import Core
from midstream_server.operations.ack import ack
from midstream_server.operations.admit import admit
from midstream_server.operations.append_output import append_output
from midstream_server.operations.follow import follow
from midstream_server.operations.list_records import list_records
from midstream_server.operations.peek import peek
from midstream_server.operations.receive import receive
from midstream_server.operations.send import send
from midstream_server.operations.subscribe import Acked, RunEnded, Subscription, subscribe
from midstream_server.operations.tail import tail
from midstream_server.store import HandlerFailure, Page
from midstream_server.transport import follow_frames, wire
from midstream_server.transport.caller import current_caller
from midstream_server.transport.convert import direction_of, encode_failures, optional_us
from midstream_server.transport.drafts import Drafter
from midstream_server.transport.follow_callers import FollowCallers
from midstream_server.transport.receipts import client_refs, encode_receipts
from midstream_server.transport.send_stream import answer_batches

Context = Any


class StreamServicer:
    """One method for each RPC of midstream.v1.StreamService; see there. Responses may be encoded bytes."""

    def __init__(self, core: Core, limits: Limits) -> None:
        self._core = core
        self._drafter = Drafter(limits)

    async def Send(self, requests: AsyncIterator[pb.SendRequest], context: Context) -> AsyncIterator[bytes]:
        caller = current_caller.get()

        async def answer(request: pb.SendRequest) -> bytes:
            drafts = self._drafter.drafts(request.stream_id, request.records, caller)
            outcomes = await send(self._core, caller, request.run_id, request.stream_id, drafts)
            return encode_receipts(client_refs(request.records), outcomes)

        async for response in answer_batches(requests, answer, self._core.drain):
            yield response

    async def SendOne(self, request: pb.SendOneRequest, context: Context) -> bytes:
        caller = current_caller.get()
        drafts = self._drafter.drafts(request.stream_id, request.records, caller)
        outcomes = await send(self._core, caller, request.run_id, request.stream_id, drafts)
        if len(outcomes) == 1 and isinstance(outcomes[0], Refused):
            raise outcomes[0]
        return encode_receipts(client_refs(request.records), outcomes)

    async def Subscribe(
        self, requests: AsyncIterator[pb.SubscribeRequest], context: Context
    ) -> AsyncIterator[pb.SubscribeResponse | bytes]:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        frame = first.WhichOneof("frame")
        if frame != "open":
            raise errors.frame_out_of_order(frame or "none", "open")
        opening = first.open
        caller = current_caller.get()
        caller.check_backend(opening.run_id)
        async with subscribe(
            self._core,
            caller.namespace,
            opening.run_id,
            opening.stream_id,
            holder_epoch=opening.holder_epoch,
            after_seq=opening.after_seq if opening.HasField("after_seq") else None,
            credit=opening.credit,
        ) as subscription:
            hold = subscription.hold
            yield pb.SubscribeResponse(
                opened=pb.SubscribeResponse.Opened(
                    holder_epoch=hold.holder_epoch, cursor=hold.cursor, last_seq=hold.last_seq
                )
            )
            reader = asyncio.create_task(_apply_frames(requests, subscription))
            try:
                async for found in subscription.frames():
                    match found:
                        case Acked(cursor):
                            yield pb.SubscribeResponse(acked=pb.SubscribeResponse.Acked(cursor=cursor))
                        case RunEnded():
                            yield pb.SubscribeResponse(run_ended=pb.SubscribeResponse.RunEnded())
                        case records:
                            yield wire.subscribe_records(opening.run_id, records)
                            self._core.delivered([record.at_us for record in records])
            finally:
                reader.cancel()

    async def Receive(self, request: pb.ReceiveRequest, context: Context) -> bytes:
        caller = current_caller.get()
        caller.check_backend(request.run_id)
        received = await receive(
            self._core,
            caller.namespace,
            request.run_id,
            request.stream_id,
            holder_epoch=request.holder_epoch,
            after_seq=request.after_seq if request.HasField("after_seq") else None,
            max_records=request.max_records,
            timeout_us=optional_us(request, "timeout", "timeout"),
        )
        if received.records:
            self._core.delivered([record.at_us for record in received.records])
        rest = pb.ReceiveResponse(
            holder_epoch=received.holder_epoch, cursor=received.cursor, run_ended=received.run_ended
        )
        return wire.records(request.run_id, received.records) + rest.SerializeToString()

    async def Ack(self, request: pb.AckRequest, context: Context) -> pb.AckResponse:
        caller = current_caller.get()
        caller.check_backend(request.run_id)
        cursor = await ack(
            self._core,
            caller.namespace,
            request.run_id,
            request.stream_id,
            holder_epoch=request.holder_epoch,
            through_seq=request.through_seq,
            failures=encode_failures(request.failures),
        )
        return pb.AckResponse(cursor=cursor)

    async def Peek(self, request: pb.PeekRequest, context: Context) -> bytes:
        namespace = await self._reading(request.run_id, request.stream_id)
        record, unread, as_of_offset = await peek(
            self._core, namespace, request.run_id, request.stream_id, payload_view=request.payload_view
        )
        newest = b"" if record is None else wire.records(request.run_id, [record])
        return newest + pb.PeekResponse(unread_count=unread, as_of_offset=as_of_offset).SerializeToString()

    async def Tail(self, request: pb.TailRequest, context: Context) -> AsyncIterator[bytes]:
        pages = tail(
            self._core,
            await self._reading(request.run_id, request.stream_id),
            request.run_id,
            request.stream_id,
            after_offset=request.after_offset,
            direction=direction_of(request.direction),
            payload_view=request.payload_view,
        )
        async for page in pages:
            yield wire.tail_response(request.run_id, page.records, page.through_offset, page.direction)
            self._core.delivered([record.at_us for record in page.records])

    async def Follow(self, request: pb.FollowRequest, context: Context) -> AsyncIterator[bytes]:
        names = {target.ref: target.run_id for target in request.targets}
        with FollowCallers(self._core) as callers:
            targets = follow_frames.targets(self._core, request, callers)
            async with aclosing(follow(self._core, targets)) as everything:
                async for ref, news in everything:
                    yield follow_frames.response(ref, names.get(ref, ""), news)
                    if isinstance(news, Page):
                        self._core.delivered([record.at_us for record in news.records])

    async def AppendOutput(self, request: pb.AppendOutputRequest, context: Context) -> bytes:
        caller = current_caller.get()
        caller.check_backend(request.run_id)
        drafts = self._drafter.drafts(request.stream_id, request.records, caller)
        outcomes = await append_output(self._core, caller.namespace, request.run_id, request.stream_id, drafts)
        if len(outcomes) == 1 and isinstance(outcomes[0], Refused):
            raise outcomes[0]
        return encode_receipts(client_refs(request.records), outcomes)

    async def ListRecords(self, request: pb.ListRecordsRequest, context: Context) -> bytes:
        page, next_page_token = await list_records(
            self._core,
            await self._reading(request.run_id, request.stream_id),
            request.run_id,
            request.stream_id,
            page_size=request.page_size,
            page_token=request.page_token,
            direction=direction_of(request.direction),
            payload_view=request.payload_view,
        )
        rest = pb.ListRecordsResponse(next_page_token=next_page_token, as_of_offset=page.last_offset)
        return wire.records(request.run_id, page.records, page.direction) + rest.SerializeToString()

    async def _reading(self, run_id: str, stream_id: str) -> str:
        """The namespace of a call that reads a stream, or a whole run. Raises Refused."""
        return await admit(self._core, current_caller.get(), Action.READ, run_id, stream_id)


async def _apply_frames(requests: AsyncIterator[pb.SubscribeRequest], subscription: Subscription) -> None:
    """Applies what the holder says, until it leaves or says something wrong."""
    try:
        async for request in requests:
            match request.WhichOneof("frame"):
                case "ack":
                    failures: Sequence[HandlerFailure] = encode_failures(request.ack.failures)
                    await subscription.ack(request.ack.through_seq, failures)
                case "credit":
                    subscription.grant(request.credit.records)
                case frame:
                    raise errors.frame_out_of_order(frame or "none", "ack or credit")
    except Exception as error:
        subscription.fail(error)
    else:
        subscription.leave()
