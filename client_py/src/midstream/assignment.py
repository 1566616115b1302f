"""How a managed run was executed: by which workers, and when."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from midstream.timestamps import to_datetime
from midstream.v1 import assignment_pb2


class AssignmentEnd(StrEnum):
    """How a worker came to have a run no longer; see `midstream.v1.Assignment.End`."""

    SUSPENDED = "SUSPENDED"
    FINISHED = "FINISHED"
    RELEASED = "RELEASED"
    DIED = "DIED"
    LEASE_LOST = "LEASE_LOST"
    BLOCKED = "BLOCKED"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The time in which one worker had a run. `end_time` and `end` are None while it has it."""

    epoch: int
    worker_id: str
    code_version: str
    assign_time: datetime
    end_time: datetime | None
    end: AssignmentEnd | None

    @classmethod
    def from_proto(cls, assignment: assignment_pb2.Assignment) -> Self:
        return cls(
            epoch=assignment.epoch,
            worker_id=assignment.worker_id,
            code_version=assignment.code_version,
            assign_time=to_datetime(assignment.assign_time),
            end_time=to_datetime(assignment.end_time) if assignment.HasField("end_time") else None,
            end=AssignmentEnd(assignment_pb2.Assignment.End.Name(assignment.end).removeprefix("END_"))
            if assignment.end
            else None,
        )
