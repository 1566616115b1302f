"""The steps of a run: issued by the task, carried out by the host, ended by entries alone."""

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from midstream.codec import Codec
from midstream.errors import from_reason
from midstream.runtime.entries import INTERRUPTED
from midstream.runtime.errors import StepFailed, StepInterrupted
from midstream.runtime.operations import Kind, Operations
from midstream.runtime.pending_step import Call, FunctionCall, PendingStep
from midstream.runtime.retry import Retry
from midstream.v1.entry_pb2 import Entry
from midstream.v1.run_pb2 import Failure

_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
"""A name of ErrorReason. Error classes are not written so."""


class Steps:
    """Pending steps by operation, and those whose code is to be aborted."""

    def __init__(self, operations: Operations, loop: asyncio.AbstractEventLoop, key_prefix: str) -> None:
        self.cancelled: set[int] = set()
        self._operations = operations
        self._loop = loop
        self._key_prefix = key_prefix
        self._pending: dict[int, PendingStep] = {}
        self.pending: Mapping[int, PendingStep] = MappingProxyType(self._pending)

    def next_key(self, name: str) -> str:
        """The key of the step that is issued next."""
        return f"{self._key_prefix}:{self._operations.count}:{name}"

    async def run(
        self,
        kind: Kind,
        name: str,
        call: Call,
        codec: Codec[Any],
        *,
        retry: Retry,
        at_most_once: bool = False,
        timeout_us: int | None = None,
        raises: tuple[type[Exception], ...] = (),
    ) -> Any:
        """Issues the step; returns its value or raises its error when the entry that ends it is applied."""
        key = self.next_key(name)
        operation = self._operations.issue(kind, name)
        step = self._pending[operation] = PendingStep(
            operation=operation,
            name=name,
            key=key,
            call=call,
            codec=codec,
            retry=retry,
            at_most_once=at_most_once,
            timeout_us=timeout_us,
            raises=raises,
            future=asyncio.Future(loop=self._loop),
        )
        try:
            return await step.future
        finally:
            if self._pending.pop(operation, None) is not None:
                step.cancelled = True
                self.cancelled.add(operation)

    def began(self, entry: Entry.StepBegan, *, offset: int) -> None:
        self._operations.expect(entry.operation, ("step",), "step", offset=offset)
        step = self._pending.get(entry.operation)
        if step is not None:
            step.begun_epoch = entry.epoch

    def ended(self, entry: Entry.StepEnded, *, offset: int, now_us: int) -> None:
        """Resolves the step, or has it tried again. A second result of one attempt changes nothing."""
        self._operations.expect(entry.operation, ("step", "send", "start_run"), "step", offset=offset)
        step = self._pending.get(entry.operation)
        if step is None or entry.attempt < step.attempt:
            return
        if entry.WhichOneof("result") == "failure":
            failure = entry.failure
            interrupted = step.at_most_once and failure.error_type == INTERRUPTED
            if not interrupted and entry.attempt < step.retry.max_attempts:
                step.not_before_us = now_us + step.retry.delay_us(entry.attempt)
                step.attempt = entry.attempt + 1
                return
            self._resolve(step, error=_error(step, failure))
        else:
            try:
                value = step.codec.decode(entry.value)
            except Exception as error:  # the log's value does not fit what this code declares
                self._resolve(step, error=StepFailed(step.name, type(error).__name__, str(error)))
            else:
                self._resolve(step, value=value)

    def cancel_all(self) -> None:
        """Whoever awaits a step gets CancelledError."""
        for step in list(self._pending.values()):
            step.future.cancel()

    def _resolve(self, step: PendingStep, *, value: Any = None, error: Exception | None = None) -> None:
        del self._pending[step.operation]
        if step.future.done():
            return
        if error is None:
            step.future.set_result(value)
        else:
            step.future.set_exception(error)


def _error(step: PendingStep, failure: Failure) -> Exception:
    if step.at_most_once and failure.error_type == INTERRUPTED:
        return StepInterrupted(step.name, failure.error_type, failure.message)
    if not isinstance(step.call, FunctionCall) and _REASON.fullmatch(failure.error_type):
        return from_reason(failure.error_type, failure.message)
    for declared in step.raises:
        if declared.__name__ == failure.error_type:
            try:
                return declared(failure.message)
            except Exception:
                break  # it wants other arguments than a message
    return StepFailed(step.name, failure.error_type, failure.message)
