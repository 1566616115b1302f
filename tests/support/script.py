"""A run, told entry by entry: what the server would append, in the order that a test wants."""

import json
from typing import Any

from midstream.codec import ANY
from midstream.runtime import entries
from midstream.runtime.execution import Execution
from midstream.runtime.pending_step import FunctionCall, PendingStep
from midstream.runtime.times import to_timestamp
from midstream.task import Task
from midstream.v1.entry_pb2 import Entry
from midstream.v1.record_pb2 import Record
from midstream.v1.run_pb2 import RunSpec

START_US = 1_767_225_600_000_000


class Script:
    """Applies entries to an execution, and keeps them, with the checkpoint that goes with each, for a replay."""

    def __init__(self, task: Task[Any, Any], payload: Any = None, *, begin: bool = True) -> None:
        self.task = task
        self.log: list[Entry] = []
        self.now_us = START_US
        self.execution = Execution(task, run_id="run_1")
        self._seqs: dict[str, int] = {}
        self.append(Entry(created=Entry.Created(spec=RunSpec(task=task.name, payload=ANY.encode(payload)))))
        if begin:
            self.begin()

    def is_suspendable(self) -> bool:
        return self.execution.suspendable

    def begin(self) -> None:
        self.append(Entry(started=Entry.Started(seed=b"seed")))

    def send(self, stream_id: str, value: Any, *, after: float = 0) -> None:
        """A record, `after` that many seconds."""
        self.now_us += int(after * 1e6)
        seq = self._seqs[stream_id] = self._seqs.get(stream_id, 0) + 1
        record = Record(stream_id=stream_id, seq=seq, offset=len(self.log) + 1, payload=ANY.encode(value))
        record.accept_time.CopyFrom(to_timestamp(self.now_us))
        self.append(Entry(record=record))

    def drop(self, stream_id: str, first_seq: int, last_seq: int) -> None:
        """These made room for the next record."""
        dropped = Entry.RecordsDropped(stream_id=stream_id, first_seq=first_seq, last_seq=last_seq)
        self.append(Entry(records_dropped=dropped))

    def step(self, name: str) -> PendingStep:
        """The pending step of that name."""
        return next(step for step in self.execution.steps.values() if step.name == name)

    def run_step(self, name: str) -> None:
        """Executes the step and appends how it ended."""
        step = self.step(name)
        assert isinstance(step.call, FunctionCall)
        args, kwargs = step.call.fresh_arguments()
        try:
            self.append(step.returned(step.call.function(*args, **kwargs)))
        except Exception as error:
            self.append(step.raised(error))

    def fire(self) -> None:
        """The next timer, at its time."""
        due_us, operation = min((due_us, operation) for operation, due_us in self.execution.timers.items())
        self.now_us = max(self.now_us, due_us)
        self.append(entries.timer_fired(operation, due_us))

    def cancel(self) -> None:
        self.append(Entry(cancel_requested=Entry.CancelRequested()))

    def append(self, entry: Entry) -> None:
        entry.offset = len(self.log) + 1
        entry.append_time.CopyFrom(to_timestamp(self.now_us))
        if self.log and entry.WhichOneof("fact") in ("step_began", "step_ended", "timer_fired"):
            entry.checkpoint.CopyFrom(self.execution.checkpoint())
        self.log.append(entry)
        self.execution.apply(Entry.FromString(entry.SerializeToString()))

    @property
    def consumed(self) -> dict[str, int]:
        """Each stream's cursor, as the server has been told."""
        told = [entry.checkpoint for entry in self.log] + [self.execution.checkpoint()]
        return {each.stream_id: each.cursor for checkpoint in told for each in checkpoint.consumed}

    @property
    def result(self) -> Any:
        """What the task returned; and its replays, as far as the log goes, come to the same."""
        outcome = self.execution.outcome
        assert outcome is not None, "the task has not ended"
        assert outcome.HasField("result"), outcome
        for kept in range(2, len(self.log) + 1):
            replayed = self.replayed(through=kept)
            if kept < len(self.log):
                replayed.abandon()
            else:
                assert replayed.outcome == outcome
        return json.loads(outcome.result.json)

    @property
    def error(self) -> tuple[str, str]:
        """Type and message of what the task raised."""
        outcome = self.execution.outcome
        assert outcome is not None
        assert outcome.HasField("failure"), outcome
        return outcome.failure.error_type, outcome.failure.message

    def replayed(self, *, through: int | None = None, task: Task[Any, Any] | None = None) -> Execution:
        """The log, applied anew; perhaps with other code."""
        execution = Execution(self.task if task is None else task, run_id="run_1")
        for entry in self.log[:through]:
            execution.apply(Entry.FromString(entry.SerializeToString()))
        return execution
