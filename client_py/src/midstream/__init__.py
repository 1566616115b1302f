"""Midstream: send typed data into running tasks."""

from typing import TYPE_CHECKING, Any, Final

from midstream.access import Access, AccessToken, Scope, can_cancel, can_read, can_send
from midstream.assignment import Assignment, AssignmentEnd
from midstream.declaration import StreamOptions
from midstream.entry import Entry
from midstream.errors import (
    Fenced,
    MidstreamError,
    PayloadError,
    PermissionDenied,
    RecordInvalid,
    RunCancelled,
    RunFinished,
    RunNotFound,
    StreamFull,
    Unauthenticated,
    Unavailable,
)

# `midstream.input_stream` and `midstream.task` are the functions; the modules of these names stay importable by `from`.
from midstream.input_stream import InputStream, Subscription, input_stream
from midstream.models import (
    Direction,
    Failure,
    HandlerFailure,
    OutputStatus,
    Receipt,
    Record,
    Run,
    RunKind,
    RunState,
    Sender,
    SendResult,
    StreamStatus,
)
from midstream.output_stream import OutputStream, output, output_stream
from midstream.output_view import OutputEvent, OutputView, Rewound, SeqRange
from midstream.receiving.result import NotReceived, Received, ReceiveTimeout, Result
from midstream.runtime.context import Context
from midstream.runtime.errors import Diverged, StepFailed, StepInterrupted, UnjournaledAwait
from midstream.runtime.retry import Retry
from midstream.runtime.step_function import Step, step, step_key
from midstream.signing import sign_token
from midstream.task import Task, task
from midstream.waiting import wait_any

if TYPE_CHECKING:
    from midstream.attached_run import AttachedRun
    from midstream.blocking import send
    from midstream.client import Client, connect
    from midstream.schemas import RegisteredSchema, Schema

__all__ = [
    "Access",
    "AccessToken",
    "Assignment",
    "AssignmentEnd",
    "AttachedRun",
    "Client",
    "Context",
    "Direction",
    "Diverged",
    "Entry",
    "Failure",
    "Fenced",
    "HandlerFailure",
    "InputStream",
    "MidstreamError",
    "NotReceived",
    "OutputEvent",
    "OutputStatus",
    "OutputStream",
    "OutputView",
    "PayloadError",
    "PermissionDenied",
    "Receipt",
    "ReceiveTimeout",
    "Received",
    "Record",
    "RecordInvalid",
    "RegisteredSchema",
    "Result",
    "Retry",
    "Rewound",
    "Run",
    "RunCancelled",
    "RunFinished",
    "RunKind",
    "RunNotFound",
    "RunState",
    "Schema",
    "Scope",
    "SendResult",
    "Sender",
    "SeqRange",
    "Step",
    "StepFailed",
    "StepInterrupted",
    "StreamFull",
    "StreamOptions",
    "StreamStatus",
    "Subscription",
    "Task",
    "Unauthenticated",
    "Unavailable",
    "UnjournaledAwait",
    "__version__",
    "can_cancel",
    "can_read",
    "can_send",
    "connect",
    "input_stream",
    "output",
    "output_stream",
    "send",
    "sign_token",
    "step",
    "step_key",
    "task",
    "wait_any",
]


_NEEDS_GRPC: Final = {
    "AttachedRun": "midstream.attached_run",
    "Client": "midstream.client",
    "connect": "midstream.client",
    "RegisteredSchema": "midstream.schemas",
    "Schema": "midstream.schemas",
    "send": "midstream.blocking",
}
"""Imported when first asked for: a worker forks the process that imported the tasks: safe only without gRPC."""


def __getattr__(name: str) -> Any:
    if name in _NEEDS_GRPC:
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_NEEDS_GRPC[name]), name)
        return value
    # Looked up only when asked for: reading the metadata would be a fifth of the time of `import midstream`.
    if name == "__version__":
        from importlib.metadata import version

        return version("midstream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
