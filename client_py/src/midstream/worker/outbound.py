"""What a run asks the server for, and what of that is still unanswered."""

from collections.abc import Callable

from midstream.runtime.execution import Execution
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.record_pb2 import Payload
from midstream.v1.run_pb2 import Failure, Outcome
from midstream.v1.worker_service_pb2 import WorkRequest

Send = Callable[[WorkRequest], None]
_STEP_BEGAN, _STEP_ENDED, _TIMER = "step_began", "step_ended", "timer_fired"


class Outbound:
    """Builds the frames of one assignment. Every one carries how far the task has come.

    A call that breaks loses what was under way, so unanswered frames are kept, to be said `again`: the server knows by
    its operation what it has already.
    """

    def __init__(self, run_id: str, epoch: int, send: Send) -> None:
        self._run_id = run_id
        self._epoch = epoch
        self._send = send
        self._unanswered: dict[tuple[str, int], WorkRequest] = {}
        self._unconfirmed: list[Checkpoint] = []
        self.unreported_records = 0

    def append(self, execution: Execution, entry: Entry) -> None:
        """Answered by the entry, or by `early`."""
        checkpoint = self._checkpoint(execution)
        request = WorkRequest.Append(run_id=self._run_id, epoch=self._epoch, checkpoint=checkpoint, entry=entry)
        self._ask(_key(entry), WorkRequest(append=request))

    def suspend(self, execution: Execution) -> None:
        request = WorkRequest.Suspend(
            run_id=self._run_id,
            epoch=self._epoch,
            checkpoint=self._checkpoint(execution),
            listening=sorted(execution.listening),
        )
        for operation, due_us in execution.timers.items():
            timer = request.timers.add(operation=operation)
            timer.due_time.FromMicroseconds(due_us)
        self._ask(("suspend", 0), WorkRequest(suspend=request))

    def finish(self, execution: Execution, outcome: Outcome) -> None:
        checkpoint = self._checkpoint(execution)
        request = WorkRequest.Finish(run_id=self._run_id, epoch=self._epoch, checkpoint=checkpoint, outcome=outcome)
        self._ask(("finish", 0), WorkRequest(finish=request))

    def restart(self, execution: Execution, payload: Payload) -> None:
        checkpoint = execution.checkpoint_for_restart()
        request = WorkRequest.Restart(run_id=self._run_id, epoch=self._epoch, checkpoint=checkpoint, payload=payload)
        self._ask(("restart", 0), WorkRequest(restart=request))

    def progress(self, execution: Execution) -> None:
        """Not answered. Says nothing where nothing has changed."""
        checkpoint = self._checkpoint(execution)
        if checkpoint.consumed or checkpoint.handler_failures:
            self._unconfirmed.append(checkpoint)
            request = WorkRequest.Progress(run_id=self._run_id, epoch=self._epoch, checkpoint=checkpoint)
            self._send(WorkRequest(progress=request))

    def block(self, failure: Failure) -> None:
        self._unanswered.clear()
        self._send(WorkRequest(block=WorkRequest.Block(run_id=self._run_id, epoch=self._epoch, failure=failure)))

    def release(self, reason: str, *, died: bool) -> None:
        self._unanswered.clear()
        release = WorkRequest.Release(run_id=self._run_id, epoch=self._epoch, died=died, reason=reason)
        self._send(WorkRequest(release=release))

    @property
    def is_ending(self) -> bool:
        """Whether the run's end or its suspension was asked for."""
        return any(kind in ("suspend", "finish", "restart") for kind, _ in self._unanswered)

    def came_back(self, entry: Entry) -> None:
        """An entry of this run was appended, asked for or not."""
        if self._unanswered.pop(_key(entry), None) is not None:
            self._confirm()

    def answered(self, kind: str, operation: int = 0) -> None:
        """`suspend` was refused, or a `timer_fired` was early."""
        if self._unanswered.pop((kind, operation), None) is not None:
            self._confirm()

    def asked(self, kind: str, operation: int) -> bool:
        return (kind, operation) in self._unanswered

    def again(self, execution: Execution) -> None:
        """A new call has begun: what was said on the last one may not have arrived."""
        for checkpoint in self._unconfirmed:
            execution.report_again(checkpoint)
        self._unconfirmed.clear()
        for request in self._unanswered.values():
            self._send(request)
        self.progress(execution)

    def _ask(self, key: tuple[str, int], request: WorkRequest) -> None:
        self._unanswered[key] = request
        self._send(request)

    def _checkpoint(self, execution: Execution) -> Checkpoint:
        self.unreported_records = 0
        return execution.checkpoint()

    def _confirm(self) -> None:
        # Frames are dealt with in order, so with the last answer everything before it has arrived.
        if not self._unanswered:
            self._unconfirmed.clear()


def _key(entry: Entry) -> tuple[str, int]:
    kind = entry.WhichOneof("fact")
    if kind == _STEP_ENDED:
        return kind, entry.step_ended.operation
    if kind == _STEP_BEGAN:
        return kind, entry.step_began.operation
    if kind == _TIMER:
        return kind, entry.timer_fired.operation
    return kind or "", 0
