"""What a Follow call says, sorted by target."""

import json
from collections import defaultdict
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from midstream.v1 import run_pb2
from midstream.v1 import stream_service_pb2 as pb


def records_of(ref: int, run_id: str, *, stream_id: str = "", after_offset: int = 0) -> pb.FollowRequest.Target:
    records = pb.FollowRequest.Records(stream_id=stream_id, after_offset=after_offset)
    return pb.FollowRequest.Target(ref=ref, run_id=run_id, records=records)


def state_of(ref: int, run_id: str) -> pb.FollowRequest.Target:
    return pb.FollowRequest.Target(ref=ref, run_id=run_id, state=pb.FollowRequest.State())


class Heard:
    """Grows with each response."""

    def __init__(self) -> None:
        self.values: dict[int, list[Any]] = defaultdict(list)
        """By ref: the records' JSON values."""
        self.offsets: dict[int, int] = {}
        """By ref: from where to go on."""
        self.states: dict[int, list[run_pb2.Run]] = defaultdict(list)
        self.ended: set[int] = set()
        self.refused: dict[int, str] = {}
        """By ref: the reason. 0: the whole call."""
        self.heartbeats = 0

    @property
    def news(self) -> int:
        """How many records and views."""
        return sum(map(len, self.values.values())) + sum(map(len, self.states.values()))

    def take(self, response: pb.FollowResponse) -> None:
        ref = response.ref
        match response.WhichOneof("what"):
            case "records":
                self.values[ref] += [json.loads(record.payload.json) for record in response.records.records]
                self.offsets[ref] = response.records.as_of_offset
            case "run":
                self.states[ref].append(response.run)
            case "ended":
                self.ended.add(ref)
            case "error":
                self.refused[ref] = reason_in_status(response.error)
            case "heartbeat":
                self.heartbeats += 1
            case nothing:
                raise AssertionError(f"a response that says nothing: {nothing}")


def reason_in_status(status: Status) -> str:
    """The ErrorInfo's reason."""
    info = ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return str(info.reason)
    raise AssertionError(f"no ErrorInfo in {status}")
