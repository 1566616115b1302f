"""Who makes a call: resolved once by the interceptor, read by the servicers."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_NAMESPACE = "default"


class SenderKind(StrEnum):
    """The names of `midstream.v1.Sender.Kind`, without their prefix."""

    ANONYMOUS = "ANONYMOUS"
    API_KEY = "API_KEY"
    ACCESS_TOKEN = "ACCESS_TOKEN"
    RUN = "RUN"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the namespace in which everything that the call does stays."""

    namespace: str
    kind: SenderKind
    subject: str


ANONYMOUS = Caller(DEFAULT_NAMESPACE, SenderKind.ANONYMOUS, subject="")

current_caller: ContextVar[Caller] = ContextVar("current_caller", default=ANONYMOUS)
"""Set for each call by the interceptor. gRPC runs each call in a task, hence a context, of its own."""
