"""Midstream: send typed data into running tasks."""

from midstream.blocking import send
from midstream.client import Client, connect
from midstream.errors import (
    Fenced,
    MidstreamError,
    PayloadError,
    RunCancelled,
    RunFinished,
    RunNotFound,
    StreamFull,
    Unavailable,
)
from midstream.models import (
    Failure,
    HandlerFailure,
    Receipt,
    Record,
    Run,
    RunKind,
    RunState,
    Sender,
    SendResult,
    StreamStatus,
)

__all__ = [
    "Client",
    "Failure",
    "Fenced",
    "HandlerFailure",
    "MidstreamError",
    "PayloadError",
    "Receipt",
    "Record",
    "Run",
    "RunCancelled",
    "RunFinished",
    "RunKind",
    "RunNotFound",
    "RunState",
    "SendResult",
    "Sender",
    "StreamFull",
    "StreamStatus",
    "Unavailable",
    "__version__",
    "connect",
    "send",
]


def __getattr__(name: str) -> str:
    # Looked up only when asked for: reading the metadata would be a fifth of the time of `import midstream`.
    if name == "__version__":
        from importlib.metadata import version

        return version("midstream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
