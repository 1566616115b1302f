"""The entries that a host asks the server to append."""

from midstream.runtime.times import to_timestamp
from midstream.v1.entry_pb2 import Entry
from midstream.v1.record_pb2 import Payload
from midstream.v1.run_pb2 import Failure

INTERRUPTED = "StepInterrupted"
"""The error type of an at-most-once step that nobody knows the end of."""


def timer_fired(operation: int, due_us: int) -> Entry:
    return Entry(timer_fired=Entry.TimerFired(operation=operation, due_time=to_timestamp(due_us)))


def step_began(operation: int, epoch: int, *, name: str = "") -> Entry:
    return Entry(step_began=Entry.StepBegan(operation=operation, name=name, epoch=epoch))


def step_returned(operation: int, attempt: int, value: Payload, *, name: str = "") -> Entry:
    return Entry(step_ended=Entry.StepEnded(operation=operation, name=name, attempt=attempt, value=value))


def step_raised(operation: int, attempt: int, failure: Failure, *, name: str = "") -> Entry:
    ended = Entry.StepEnded(operation=operation, name=name, attempt=attempt, failure=failure)
    return Entry(step_ended=ended)


def step_interrupted(operation: int, attempt: int, *, name: str = "") -> Entry:
    failure = Failure(error_type=INTERRUPTED, message="its process was lost while it ran; it is not repeated")
    return Entry(step_ended=Entry.StepEnded(operation=operation, name=name, attempt=attempt, failure=failure))
