"""Who makes the call that is being served: resolved once by the guard, read by the servicers."""

from contextvars import ContextVar

from midstream_server.domain.caller import DEFAULT_NAMESPACE, Caller, SenderKind
from midstream_server.domain.credential_errors import credentials_missing
from midstream_server.domain.standing import ended

__all__ = ["ANONYMOUS", "DEFAULT_NAMESPACE", "UNKNOWN", "Caller", "SenderKind", "current_caller"]

ANONYMOUS = Caller(DEFAULT_NAMESPACE, SenderKind.ANONYMOUS, subject="")

UNKNOWN = Caller(namespace="", kind=SenderKind.ANONYMOUS, subject="", standing=ended(credentials_missing()))
"""Who calls without credentials where they are asked for: may do nothing."""

current_caller: ContextVar[Caller] = ContextVar("current_caller", default=ANONYMOUS)
"""Set for each call by the guard. gRPC runs each call in a task, hence a context, of its own."""
