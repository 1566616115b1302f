"""What a task can meet, and what the engine tells its host."""

from typing import Final

from midstream.errors import RecordInvalid

LANGUAGE: Final = "python"
"""What the runtime of every worker in Python begins with."""


class StepFailed(Exception):
    """A step raised, and no attempt is left. The same error where it happened and on every replay.

    `error_type` and `message` are those of the step's last error.
    """

    def __init__(self, step: str, error_type: str, message: str) -> None:
        super().__init__(
            f"step {step!r} failed: {error_type}: {message}" if message else f"step {step!r}: {error_type}"
        )
        self.step = step
        self.error_type = error_type
        self.message = message


class StepInterrupted(StepFailed):
    """An at-most-once step's process was lost: whether it took effect is unknown, and it is not repeated."""


class UnjournaledAwait(RuntimeError):
    """A task asked its loop for real I/O outside a step: no replay could repeat that."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what} cannot be used in a task outside a step: {instead}")
        self.what = what
        self.instead = instead


class CannotGoOn(Exception):
    """The run cannot go on with this code, and its log is as good as ever: other code can take it on."""


class TurnNeverEnds(CannotGoOn):
    """The task has kept its loop busy for `callbacks` callbacks in one turn, and waits for nothing."""

    def __init__(self, callbacks: int) -> None:
        super().__init__(
            f"one turn of the task has gone on for {callbacks:,} callbacks, and waits for nothing.\n"
            "Nothing comes while a turn goes on, no record and no time: a loop that polls (`while ...: await "
            "asyncio.sleep(0)`) goes on for ever. Wait for a stream, an event or a sleep of some length instead, or "
            "put the work into a step; deploy that, and the run goes on. Or cancel the run and start it anew."
        )
        self.callbacks = callbacks


class OtherRuntime(CannotGoOn):
    """The run began in another language: no code of this one can be what its log came from."""

    def __init__(self, began_in: str) -> None:
        super().__init__(
            f"the run began in {began_in}, and this worker is {LANGUAGE}. It goes on with a worker of its own "
            "language. Give tasks of two languages different names, and this does not happen."
        )


class RecordUnreadable(CannotGoOn):
    """The task ended with a RecordInvalid: what is stored does not fit what its code declares."""

    def __init__(self, record: RecordInvalid) -> None:
        super().__init__(
            f"{record.message}.\n"
            "Deploy code whose declaration fits the record, and the run goes on from there; such code may also catch "
            "RecordInvalid where it receives, and go on with the next record. Or cancel the run and start it anew."
        )


class Diverged(CannotGoOn):
    """This code does other things than the log says.

    `expected` is the log's side, `issued` the code's, `offset` the entry by which the difference shows.
    """

    def __init__(self, offset: int, expected: str, issued: str) -> None:
        super().__init__(
            f"the code does not fit the log at offset {offset}.\n"
            f"  the log:   {expected}\n"
            f"  this code: {issued}\n"
            "Deploy the code that the run began with, and it goes on; or cancel the run and start it anew."
        )
        self.offset = offset
        self.expected = expected
        self.issued = issued
