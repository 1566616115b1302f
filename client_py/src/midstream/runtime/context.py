"""What a task is given besides its payload."""

import logging
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple, overload

from midstream.durations import Duration
from midstream.models import Receipt, Run
from midstream.output_stream import OutputStream, output
from midstream.runtime.retry import Retry
from midstream.runtime.step_function import StepOptions, issue_step
from midstream.runtime.times import to_datetime
from midstream.streams import Stream

if TYPE_CHECKING:
    from midstream.runtime.execution import Execution

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Context:
    """A run, as its task sees it. Everything here is the same on every replay."""

    def __init__(self, execution: "Execution", seed: bytes) -> None:
        self._execution = execution
        self._seed = seed

    @property
    def run_id(self) -> str:
        return self._execution.run_id

    @property
    def task(self) -> str:
        """The task's name."""
        return self._execution.task.name

    @property
    def generation(self) -> int:
        """How often the run was restarted with `restart_with`."""
        return self._execution.generation

    def now(self) -> datetime:
        """The time of the entry being applied, by the server's clock: it stands still between two awaits."""
        return to_datetime(self._execution.now_us)

    @cached_property
    def random(self) -> Random:
        """Seeded by the log."""
        return Random(self._seed)

    def uuid(self) -> uuid.UUID:
        """A random UUID, from `random`."""
        return uuid.UUID(int=self.random.getrandbits(128), version=4)

    @cached_property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger that names the run, and is quiet while the task replays what it has done before."""
        return _QuietInReplay(logging.getLogger(f"midstream.task.{self.task}"), self._execution)

    @overload
    async def step(
        self,
        function: Callable[[*Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        name: str | None = None,
        retry: Retry | int | None = None,
        at_most_once: bool | None = None,
        timeout: Duration | None = None,
        raises: tuple[type[Exception], ...] | None = None,
    ) -> R: ...
    @overload
    async def step(
        self,
        function: Callable[[*Ts], R],
        /,
        *args: *Ts,
        name: str | None = None,
        retry: Retry | int | None = None,
        at_most_once: bool | None = None,
        timeout: Duration | None = None,
        raises: tuple[type[Exception], ...] | None = None,
    ) -> R: ...
    async def step(  # type: ignore[misc]
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        name: str | None = None,
        retry: Retry | int | None = None,
        at_most_once: bool | None = None,
        timeout: Duration | None = None,
        raises: tuple[type[Exception], ...] | None = None,
    ) -> Any:
        """Calls the function once and records what it returned: a replay gets the recorded value.

        The function gets copies of the arguments and returns a value that has a serial form; what comes back has been
        through it. One that is not async runs in a thread. What is not given here comes from its `@step`.

        `retry`: how often to try, 1 unless told otherwise. `at_most_once`: never repeats it; raises StepInterrupted
        where its process was lost meanwhile. `timeout`: of one attempt. `raises`: error classes to raise again as they
        are, with their message; every other error is a StepFailed.
        """
        options = StepOptions.of(function).replaced(
            name=name, retry=retry, at_most_once=at_most_once, timeout=timeout, raises=raises
        )
        return await issue_step(self._execution, function, args, {}, options)

    async def send(
        self,
        run_id: str,
        stream: Stream,
        value: Any,
        *,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Sends to a run, once, as a step. Raises MidstreamError where the server refuses, else StepFailed."""
        return await self._execution.client.send(run_id, stream, value, key=key, metadata=metadata)

    async def start_run(
        self,
        task: str,
        payload: Any = None,
        *,
        run_id: str | None = None,
        records: Iterable[tuple[Stream, Any]] = (),
        max_duration: Duration | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Run:
        """Starts a run, once, as a step; it does not wait for its end."""
        return await self._execution.client.start_run(
            task, payload, run_id=run_id, records=records, max_duration=max_duration, metadata=metadata
        )

    @overload
    def output(self, stream: str) -> OutputStream[Any]: ...
    @overload
    def output(self, stream: OutputStream[R]) -> OutputStream[R]: ...
    def output(self, stream: str | OutputStream[Any]) -> OutputStream[Any]:
        """An output stream of this run: `ctx.output("tokens").append(...)`, in the task and in its steps' code."""
        return output(stream)

    def restart_with(self, state: Any) -> NoReturn:
        """Ends the function and calls it anew with `state` as its payload: for a run whose log would grow for ever.

        Unconsumed records, handlers excepted, are there for the new generation. Call it in the task's function itself.
        """
        self._execution.request_restart(state)


class _QuietInReplay(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, execution: "Execution") -> None:
        super().__init__(logger, {"run_id": execution.run_id})
        self._execution = execution

    def isEnabledFor(self, level: int) -> bool:
        return not self._execution.replaying and super().isEnabledFor(level)
