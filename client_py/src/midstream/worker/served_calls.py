"""The worker's end of the calls that runs make: on its own connection, until they succeed or are refused."""

import asyncio
from collections.abc import Callable

from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status

from midstream.connection import Connection
from midstream.errors import MidstreamError
from midstream.v1.run_service_pb2 import StartRunRequest, StartRunResponse
from midstream.v1.stream_service_pb2 import SendOneRequest, SendOneResponse
from midstream.worker import local_frames
from midstream.worker.calls import Request


class ServedCalls:
    """A Caller by a connection; with `serve`, for children too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calls: set[asyncio.Task[None]] = set()

    async def send(self, request: SendOneRequest) -> SendOneResponse:
        return await self._connection.unary(self._connection.streams.SendOne, request)

    async def start_run(self, request: StartRunRequest) -> StartRunResponse:
        return await self._connection.unary(self._connection.runs.StartRun, request)

    def serve(self, frame: bytes, answer: Callable[[bytes], None]) -> bool:
        """False: the frame is no call."""
        if not local_frames.is_local(frame):
            return False
        call = asyncio.get_running_loop().create_task(self._serve(frame, answer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return True

    async def _serve(self, frame: bytes, answer: Callable[[bytes], None]) -> None:
        number, request = local_frames.parse_call(frame)
        try:
            response: bytes | Status = (await self._make(request)).SerializeToString()
        except MidstreamError as error:
            response = to_status(error)
        answer(local_frames.answer(number, response))

    async def _make(self, request: Request) -> SendOneResponse | StartRunResponse:
        return await (self.start_run(request) if isinstance(request, StartRunRequest) else self.send(request))


def to_status(error: MidstreamError) -> Status:
    """What `errors.from_status` makes the same error of."""
    from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

    code = Code.Value(error.code) if error.code in Code.keys() else Code.Value("UNKNOWN")  # noqa: SIM118
    status = Status(code=code, message=error.message)
    if error.reason:
        status.details.add().Pack(ErrorInfo(reason=error.reason, metadata=error.metadata))
    if error.fields:
        violations = [
            BadRequest.FieldViolation(field=field, description=problem) for field, problem in error.fields.items()
        ]
        status.details.add().Pack(BadRequest(field_violations=violations))
    return status
