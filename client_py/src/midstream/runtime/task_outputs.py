"""What a task appends to output streams outside of steps."""

from collections.abc import Mapping
from typing import NoReturn

from midstream.runtime.operations import Operations
from midstream.v1.record_pb2 import Payload
from midstream.v1.worker_service_pb2 import WorkRequest


class TaskOutputs:
    """Each append is an operation: a replay issues it again, and the server, which knows it by its number, does not."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self.new: list[WorkRequest.OutputRecord] = []
        """For the host, which empties it."""

    def append(self, stream_id: str, payload: Payload, metadata: Mapping[str, str]) -> None:
        operation = self._operations.issue("output", stream_id)
        self.new.append(
            WorkRequest.OutputRecord(stream_id=stream_id, payload=payload, metadata=metadata, operation=operation)
        )

    async def flush(self) -> NoReturn:
        """Raises RuntimeError."""
        raise RuntimeError(
            "flush() is for the code of steps; outside of them the run is neither suspended nor ended before what it "
            "has appended is on disk"
        )
