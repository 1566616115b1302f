"""A step that has been issued and has not ended, as the host sees it."""

import asyncio
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from midstream.codec import Codec
from midstream.errors import MidstreamError
from midstream.runtime import entries
from midstream.runtime.failures import failure_of
from midstream.runtime.retry import Retry
from midstream.v1.entry_pb2 import Entry
from midstream.v1.run_service_pb2 import StartRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """User code with copies of its arguments, as they were when the step was issued."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def fresh_arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copies again, for one attempt: what that changes, the next one must not see."""
        args, kwargs = deepcopy((self.args, dict(self.kwargs)))
        return args, kwargs


Call = FunctionCall | SendOneRequest | StartRunRequest
"""What a step does. The two requests carry a key of their own, so that repeating them is harmless."""


@dataclass(slots=True, eq=False)
class PendingStep:
    """What to do, and how far it has come.

    `attempt` is the one to make, from 1, not before `not_before_us` (0: at once). `begun_epoch` is the epoch whose
    begin the log holds: an at-most-once step begins only after its own epoch's begin has come back, and is interrupted
    where the begin is another epoch's. `key` is the same for all attempts.
    """

    operation: int
    name: str
    key: str
    call: Call
    codec: Codec[Any] = field(repr=False)
    retry: Retry
    at_most_once: bool
    timeout_us: int | None
    raises: tuple[type[Exception], ...]
    future: "asyncio.Future[Any]" = field(repr=False)
    attempt: int = 1
    not_before_us: int = 0
    begun_epoch: int | None = None
    cancelled: bool = False

    def began(self, epoch: int) -> Entry:
        """The entry that must come back before an at-most-once step may run."""
        return entries.step_began(self.operation, epoch, name=self.name)

    def returned(self, value: Any) -> Entry:
        """The attempt's end. A value that has no serial form makes it a failure."""
        try:
            payload = self.codec.encode(value)
        except Exception as error:
            return self.raised(error)
        return entries.step_returned(self.operation, self.attempt, payload, name=self.name)

    def raised(self, error: BaseException) -> Entry:
        """The attempt's end."""
        failure = failure_of(error)
        if not isinstance(self.call, FunctionCall) and isinstance(error, MidstreamError) and error.reason:
            # Every language knows the reason, and makes an error with it again.
            failure.error_type, failure.message = error.reason, failure.message.removeprefix(f"{error.reason}: ")
        return entries.step_raised(self.operation, self.attempt, failure, name=self.name)

    def interrupted(self) -> Entry:
        """The end of an at-most-once step that another epoch began."""
        return entries.step_interrupted(self.operation, self.attempt, name=self.name)
