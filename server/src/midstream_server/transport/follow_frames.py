"""Between Follow's messages and the operation's targets and news."""

from typing import Any

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.run import Run
from midstream_server.operations import Core
from midstream_server.operations.follow import Ended, Heartbeat, Target
from midstream_server.operations.reader import Reader
from midstream_server.operations.tail import open_records
from midstream_server.operations.watch_run import open_state
from midstream_server.store import Page
from midstream_server.transport import convert, status, wire
from midstream_server.transport.caller import current_caller

_REF = b"\x08"
_RECORDS = b"\x12"


def targets(core: Core, request: pb.FollowRequest) -> list[Target]:
    """What the request wants followed. Each is looked up, and refused, when its turn comes."""
    return [_target(core, index, target) for index, target in enumerate(request.targets)]


def _target(core: Core, index: int, target: pb.FollowRequest.Target) -> Target:
    async def open_reader() -> Reader[Any]:
        namespace = current_caller.get().namespace
        match target.WhichOneof("what"):
            case "records":
                records = target.records
                return await open_records(
                    core,
                    namespace,
                    target.run_id,
                    records.stream_id,
                    after_offset=records.after_offset,
                    direction=convert.direction_of(records.direction),
                )
            case "state":
                return await open_state(core, namespace, target.run_id)
            case _:
                raise errors.field_invalid(f"targets[{index}].what", "is required: set one of records and state")

    return Target(target.ref, open_reader)


def response(ref: int, run_id: str, news: Any) -> bytes:
    """A FollowResponse."""
    match news:
        case Page():
            records = wire.tail_response(run_id, news.records, news.through_offset, news.direction)
            # A negative int64 is encoded as its two's complement of 64 bits.
            return _REF + wire.varint(ref & 0xFFFF_FFFF_FFFF_FFFF) + wire.delimited(_RECORDS, records)
        case Run():
            return pb.FollowResponse(ref=ref, run=convert.run(news)).SerializeToString()
        case Ended():
            return pb.FollowResponse(ref=ref, ended=pb.FollowResponse.Ended()).SerializeToString()
        case Refused():
            return pb.FollowResponse(ref=ref, error=status.to_status(news)).SerializeToString()
        case Heartbeat():
            return _HEARTBEAT
        case _:
            raise TypeError(f"no news of a target: {news!r}")


_HEARTBEAT = pb.FollowResponse(heartbeat=pb.FollowResponse.Heartbeat()).SerializeToString()
