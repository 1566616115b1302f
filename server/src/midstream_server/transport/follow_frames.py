"""Between Follow's messages and the operation's targets and news."""

from typing import Any

from midstream.v1 import run_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.domain import errors
from midstream_server.domain.caller import Caller
from midstream_server.domain.errors import Refused
from midstream_server.domain.scope import Action
from midstream_server.operations import Core
from midstream_server.operations.admit import admit
from midstream_server.operations.follow import Ended, Heartbeat, Target
from midstream_server.operations.reader import Reader, Then
from midstream_server.operations.tail import open_records
from midstream_server.operations.watch_run import StateReader, open_state
from midstream_server.store import Page
from midstream_server.transport import convert, status, wire
from midstream_server.transport.follow_callers import FollowCallers
from midstream_server.transport.shown_run import shown_run

_REF = b"\x08"
_RECORDS = b"\x12"


def targets(core: Core, request: pb.FollowRequest, callers: FollowCallers) -> list[Target]:
    """What the request wants followed. Each is looked up, and refused, when its turn comes."""
    return [_target(core, index, target, callers) for index, target in enumerate(request.targets)]


def _target(core: Core, index: int, target: pb.FollowRequest.Target, callers: FollowCallers) -> Target:
    async def open_reader() -> Reader[Any]:
        caller = await callers.of(target.access_token)
        match target.WhichOneof("what"):
            case "records":
                records = target.records
                namespace = await admit(core, caller, Action.READ, target.run_id, records.stream_id, cost=0)
                return callers.bound(
                    await open_records(
                        core,
                        namespace,
                        target.run_id,
                        records.stream_id,
                        after_offset=records.after_offset,
                        direction=convert.direction_of(records.direction),
                        payload_view=records.payload_view,
                    ),
                    caller,
                )
            case "state":
                namespace = await admit(core, caller, Action.READ, target.run_id, any_stream=True, cost=0)
                return callers.bound(ShownRuns(await open_state(core, namespace, target.run_id), caller), caller)
            case _:
                raise errors.field_invalid(f"targets[{index}].what", "is required: set one of records and state")

    return Target(target.ref, open_reader)


class ShownRuns:
    """A reader of a run's states, as its caller may see them."""

    def __init__(self, reader: StateReader, caller: Caller) -> None:
        self._reader = reader
        self._caller = caller
        self.watching = reader.watching

    async def look(self) -> tuple[run_pb2.Run | None, Then]:
        run, then = await self._reader.look()
        return None if run is None else shown_run(run, self._caller), then


def response(ref: int, run_id: str, news: Any) -> bytes:
    """A FollowResponse."""
    match news:
        case Page():
            records = wire.tail_response(run_id, news.records, news.through_offset, news.direction)
            # A negative int64 is encoded as its two's complement of 64 bits.
            return _REF + wire.varint(ref & 0xFFFF_FFFF_FFFF_FFFF) + wire.delimited(_RECORDS, records)
        case run_pb2.Run():
            return pb.FollowResponse(ref=ref, run=news).SerializeToString()
        case Ended():
            return pb.FollowResponse(ref=ref, ended=pb.FollowResponse.Ended()).SerializeToString()
        case Refused():
            return pb.FollowResponse(ref=ref, error=status.to_status(news)).SerializeToString()
        case Heartbeat():
            return _HEARTBEAT
        case _:
            raise TypeError(f"no news of a target: {news!r}")


_HEARTBEAT = pb.FollowResponse(heartbeat=pb.FollowResponse.Heartbeat()).SerializeToString()
