"""Carries out the steps of a run on the real event loop."""

import asyncio
import inspect
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any

from midstream import ambient
from midstream.clock import Clock
from midstream.runtime.execution import Execution
from midstream.runtime.pending_step import FunctionCall, PendingStep
from midstream.runtime.step_function import step_key_in_step
from midstream.streams import MAX_PAYLOAD_BYTES
from midstream.v1.entry_pb2 import Entry
from midstream.worker import calls
from midstream.worker.outputs import RunOutputs, StepOutputs
from midstream.worker.server_time import ServerTime


@dataclass(eq=False)
class _Attempt:
    number: int
    begun: bool = False
    code: asyncio.Task[None] | None = None


class StepRunner:
    """Starts each attempt of each step once, and asks for the entry that ends it.

    An at-most-once step first asks for the entry that begins it, and starts when that has come back.
    """

    def __init__(
        self,
        *,
        epoch: int,
        append: Callable[[Entry], None],
        caller: calls.Caller,
        clock: Clock,
        server_time: ServerTime,
        context: Context,
        outputs: RunOutputs,
    ) -> None:
        self._epoch = epoch
        self._append = append
        self._caller = caller
        self._clock = clock
        self._server_time = server_time
        self._context = context
        self._outputs = outputs
        self._attempts: dict[int, _Attempt] = {}

    def follow(self, execution: Execution) -> None:
        """Starts what the task has issued, and aborts what it has cancelled."""
        for operation in execution.cancelled_steps:
            self._abort(operation)
        execution.cancelled_steps.clear()
        for operation in [each for each in self._attempts if each not in execution.steps]:
            self._abort(operation)
        for operation, step in execution.steps.items():
            attempt = self._attempts.get(operation)
            if attempt is None or attempt.number != step.attempt:
                attempt = self._attempts[operation] = _Attempt(step.attempt)
            if attempt.code is None:
                self._begin(step, attempt)

    def abort_all(self) -> None:
        for operation in list(self._attempts):
            self._abort(operation)

    def _begin(self, step: PendingStep, attempt: _Attempt) -> None:
        if step.at_most_once:
            if step.begun_epoch is None:
                if not attempt.begun:
                    attempt.begun = True
                    self._append(step.began(self._epoch))
                return
            if step.begun_epoch != self._epoch:
                if not attempt.begun:
                    attempt.begun = True
                    self._append(step.interrupted())
                return
        context = self._context.copy()
        context.run(step_key_in_step.set, step.key)
        outputs = self._outputs.of_step(step.operation, step.attempt)
        context.run(ambient.outputs_in_block.set, outputs)
        loop = asyncio.get_running_loop()
        code = self._run(step, attempt, context, outputs)
        attempt.code = loop.create_task(code, name=f"step {step.key}", context=context)

    async def _run(self, step: PendingStep, attempt: _Attempt, context: Context, outputs: StepOutputs) -> None:
        if step.not_before_us:
            await self._clock.sleep_until(self._server_time.by_own_clock(step.not_before_us))
        begun_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(None if step.timeout_us is None else step.timeout_us / 1e6):
                value = await self._value(step, context)
        except asyncio.CancelledError as error:
            entry = step.raised(error)
        except (Exception, SystemExit) as error:
            entry = step.raised(error)
        else:
            entry = step.returned(value)
            if entry.ByteSize() > MAX_PAYLOAD_BYTES:
                entry = step.raised(ValueError(_too_large(step, entry)))
        outputs.end()
        entry.step_ended.duration.FromNanoseconds(time.monotonic_ns() - begun_ns)
        # Otherwise it was aborted meanwhile, and nobody waits for it.
        if self._attempts.get(step.operation) is attempt and not step.cancelled:
            self._append(entry)

    async def _value(self, step: PendingStep, context: Context) -> Any:
        call = step.call
        if not isinstance(call, FunctionCall):
            return await calls.make(self._caller, call)
        args, kwargs = call.fresh_arguments()
        if inspect.iscoroutinefunction(call.function):
            return await call.function(*args, **kwargs)
        in_thread = partial(context.copy().run, call.function, *args, **kwargs)
        value = await asyncio.get_running_loop().run_in_executor(None, in_thread)
        return await value if inspect.isawaitable(value) else value

    def _abort(self, operation: int) -> None:
        attempt = self._attempts.pop(operation, None)
        if attempt is not None and attempt.code is not None:
            attempt.code.cancel()


def _too_large(step: PendingStep, entry: Entry) -> str:
    return (
        f"step {step.name!r} returned {entry.ByteSize()} bytes, too much for a log; "
        "store it elsewhere and return where it is"
    )
