"""The generated clients, for tests of what goes over the wire."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # These names exist for type checkers only.
    from midstream.v1.run_service_pb2_grpc import RunServiceAsyncStub
    from midstream.v1.stream_service_pb2_grpc import StreamServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Stubs:
    """Both services on one channel."""

    streams: "StreamServiceAsyncStub"
    runs: "RunServiceAsyncStub"
