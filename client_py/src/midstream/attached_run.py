"""This process as a run: `async with client.attach(...) as run`."""

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from midstream import ambient
from midstream.attached.inbox import AttachedInbox
from midstream.attached.interruption import Interruption
from midstream.attached.outputs import AttachedOutput
from midstream.attached.tasks import Tasks
from midstream.codec import ANY
from midstream.durations import Duration
from midstream.errors import MidstreamError, PayloadError, RunCancelled, RunFinished
from midstream.input_stream import declared_ids
from midstream.models import Run, RunState
from midstream.new_run import new_run_id, run_spec
from midstream.receiving import Receiver
from midstream.streams import Stream
from midstream.v1.run_pb2 import Failure, Outcome, RunSpec
from midstream.v1.run_service_pb2 import AttachRunRequest, FinishRunRequest

if TYPE_CHECKING:
    from midstream.client import Client

_MAX_TYPE: Final = 256
_MAX_MESSAGE: Final = 4_096
_MAX_STACK: Final = 65_536


class AttachedRun:
    """A run that lasts as long as its block.

    Leaving the block ends the run: COMPLETED with what `finish` was given, FAILED where the block raised, CANCELLED
    where it was cancelled. `detach` leaves it RUNNING for whoever attaches next.

    Where somebody cancels the run, the block is cancelled, and leaves with RunCancelled. It leaves with Fenced where
    another process takes one of its streams over, and with RunFinished where the run ended otherwise: both leave the
    run as it is.
    """

    def __init__(
        self,
        client: "Client",
        run_id: str | None = None,
        *,
        task: str | None = None,
        payload: Any = None,
        max_duration: Duration | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if task is None and run_id is None:
            raise ValueError("name the task of the new run, or the run_id of an existing one")
        spec = RunSpec() if task is None else run_spec(task, payload, max_duration=max_duration, metadata=metadata)
        if payload is None:
            spec.ClearField("payload")  # so that the call finds an existing run, whatever its payload is
        self._request = AttachRunRequest(run_id=new_run_id() if run_id is None else run_id, spec=spec)
        self._client = client
        self._connection = client._connection
        self._inboxes: dict[str, AttachedInbox] = {}
        self._tasks = Tasks()
        self._calls = Tasks()
        self._result = ANY.encode(None)
        self._detached = False
        self._info: Run | None = None
        self._interruption = Interruption()
        self._outer_run: Receiver | None = None
        self._outer_client: Client | None = None

    @property
    def id(self) -> str:
        return self._request.run_id

    @property
    def info(self) -> Run:
        """The run as it stood when the server was last heard. Raises RuntimeError before the block."""
        if self._info is None:
            raise RuntimeError("the run is attached by `async with`, not before")
        return self._info

    @property
    def payload(self) -> Any:
        """The run's argument, as plain JSON or bytes."""
        return self.info.payload

    def finish(self, result: Any = None) -> None:
        """Sets the result with which leaving the block completes the run. Raises PayloadError where it cannot."""
        self._result = ANY.encode(result)

    def detach(self) -> None:
        """Leaving the block, however that happens, will leave the run RUNNING for the next one to attach."""
        self._detached = True

    def inbox(self, stream_id: str) -> AttachedInbox:
        """The stream's inbox in this run. Input streams call it."""
        inbox = self._inboxes.get(stream_id)
        if inbox is None:
            inbox = self._inboxes[stream_id] = AttachedInbox(
                self._connection,
                self.id,
                stream_id,
                tasks=self._tasks,
                calls=self._calls,
                broken=self._break,
            )
            if self._interruption.left:
                inbox.close(self._left())
        return inbox

    async def wait_any(self, stream_ids: Sequence[str], timeout_us: int | None) -> NoReturn:
        """Raises RuntimeError. Input streams call it."""
        raise RuntimeError(
            f"an attached run cannot wait on {', '.join(stream_ids)}: nothing could restart this process; "
            "use once(), or make it a task that a worker executes"
        )

    def output(self, stream: Stream) -> AttachedOutput:
        """An output stream of this run: `await run.output("tokens").append(...)`."""
        return AttachedOutput(self._connection, self.id, stream)

    async def __aenter__(self) -> Self:
        if self._info is not None:
            raise RuntimeError("this block was entered before; call client.attach() anew")
        response = await self._connection.unary(self._connection.runs.AttachRun, self._request)
        self._info = Run.from_proto(response.run)
        await self._glimpse_unread()
        self._interruption.enter()
        self._tasks.start(self._watch())
        self._outer_run = ambient.run_in_block.get()
        self._outer_client = ambient.client_in_block.get()
        ambient.run_in_block.set(self)
        ambient.client_in_block.set(self._client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted_by = self._interruption.leave(error)
        ambient.run_in_block.set(self._outer_run)
        ambient.client_in_block.set(self._outer_client)
        try:
            await self._leave(error)
        finally:
            self._calls.cancel()
            await self._tasks.cancelled()
            await self._calls.finished()
        if interrupted_by is not None:
            raise interrupted_by from error

    async def _leave(self, error: BaseException | None) -> None:
        """Finishes what has begun, acknowledges and ends the run, as far as that is still ours to do."""
        for inbox in self._inboxes.values():
            inbox.close(self._left())
        if isinstance(error, asyncio.CancelledError):
            self._calls.cancel()
        try:
            await self._calls.finished()
        except asyncio.CancelledError as cancelled:
            self._calls.cancel()
            await self._end(cancelled)
            raise
        await self._end(error)

    async def _end(self, error: BaseException | None) -> None:
        interrupted_by = self._interruption.error
        if interrupted_by is not None and not isinstance(interrupted_by, RunCancelled):
            # Another process has the run now, or it is over: neither is ours to acknowledge or to finish.
            if error is None:
                raise interrupted_by
            return
        try:
            for inbox in self._inboxes.values():
                await inbox.acknowledge(taken=error is None)
            if not self._detached:
                await self._finish(_outcome_of(error) or Outcome(result=self._result))
        except MidstreamError as problem:
            # The block's own error matters more; and a run that was cancelled may have been ended by the server.
            if error is None:
                raise
            error.add_note(f"run {self.id} could not be finished: {problem}")

    async def _finish(self, outcome: Outcome) -> None:
        request = FinishRunRequest(run_id=self.id, outcome=outcome)
        try:
            response = await self._connection.unary(self._connection.runs.FinishRun, request)
        except PayloadError as refused:
            # A result that cannot be stored must not leave the run without an end.
            request.outcome.CopyFrom(Outcome(failure=_failure(refused)))
            await self._connection.unary(self._connection.runs.FinishRun, request)
            raise
        self._info = Run.from_proto(response.run)

    async def _glimpse_unread(self) -> None:
        """Looks at the newest record of every stream known to this process, so that peek sees it in the first line."""
        unread = {stream.stream_id for stream in self.info.streams if stream.unread_count} & declared_ids()
        newest = await asyncio.gather(*(self._client.peek(self.id, stream_id) for stream_id in unread))
        for record in newest:
            if record is not None:
                self.inbox(record.stream_id).glimpse(record)

    async def _watch(self) -> None:
        """Interrupts the block when the run is cancelled, or ended by somebody else."""
        try:
            async for run in self._client.watch_run(self.id):
                self._info = run
                if run.state is RunState.CANCELLED or (run.cancel_time is not None and not run.state.is_final):
                    self._interrupt(RunCancelled(f"run {self.id} was cancelled", code="CANCELLED"))
                elif run.state.is_final:
                    self._interrupt(
                        RunFinished(
                            f"run {self.id} has ended ({run.state})",
                            reason="RUN_FINISHED",
                            code="FAILED_PRECONDITION",
                            metadata={"run_id": self.id, "state": run.state},
                        )
                    )
        except MidstreamError as error:
            self._interrupt(error)

    def _break(self, stream_id: str, error: Exception) -> None:
        """A subscription is over for good: what is pending on it raises, and the block ends."""
        self._inboxes[stream_id].close(error)
        self._interrupt(error)

    def _interrupt(self, error: Exception) -> None:
        self._interruption.interrupt(error)
        if self._interruption.left:
            self._calls.cancel()

    def _left(self) -> Exception:
        return self._interruption.error or RuntimeError(f"the block of run {self.id} has been left")


def _outcome_of(error: BaseException | None) -> Outcome | None:
    """The outcome of a block that raised; None: it did not."""
    if error is None:
        return None
    if isinstance(error, asyncio.CancelledError):
        return Outcome(cancelled=Outcome.Cancelled())
    return Outcome(failure=_failure(error))


def _failure(error: BaseException) -> Failure:
    # The end of a stack tells more than its beginning. Half a surrogate pair has no UTF-8 form.
    stack = "".join(traceback.format_exception(error)).encode(errors="backslashreplace").decode()
    message = str(error).encode(errors="backslashreplace").decode()
    return Failure(
        error_type=type(error).__name__[:_MAX_TYPE], message=message[:_MAX_MESSAGE], stack=stack[-_MAX_STACK:]
    )
