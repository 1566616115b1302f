"""The event loop that a task runs on: turns instead of time, and nothing from outside."""

import asyncio
import gc
import logging
import sys
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from midstream.runtime.errors import TurnNeverEnds
from midstream.runtime.operations import Operations
from midstream.runtime.refused import RefusesIO
from midstream.runtime.timers import Timers
from midstream.runtime.times import delay_us, first_us_at

if TYPE_CHECKING:
    from midstream.runtime.execution import Execution

T = TypeVar("T")
_log: Final = logging.getLogger("midstream")
_MOST_AWAITS_IN_CLEANUP: Final = 100
_MOST_CALLBACKS: Final = 1_000_000
"""In one turn, which takes some seconds. By then a turn will not end, and nobody would ever know what keeps the run."""


class RunFuture(asyncio.Future[T]):
    """Hashes by its number in the run: the order of a set of them is the same in every process."""

    def __init__(self, *, loop: "TurnLoop") -> None:
        super().__init__(loop=loop)
        self._number = loop.next_number()

    def __hash__(self) -> int:
        return self._number


class RunTask(asyncio.Task[T]):
    """As RunFuture. TaskGroup cancels its tasks in the order of a set, for instance."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        loop: "TurnLoop",
        name: str | None,
        context: Context | None,
    ) -> None:
        self._number = loop.next_number()
        super().__init__(coroutine, loop=loop, name=name or f"Task-{self._number}", context=context)

    def __hash__(self) -> int:
        return self._number


class _Call(asyncio.Handle):
    """What is ready. Made twice a turn, so without what debug mode would add."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: "TurnLoop", context: Context | None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class _Timer(asyncio.TimerHandle):
    __slots__ = ("operation",)
    operation: int | None


class TurnLoop(RefusesIO, asyncio.AbstractEventLoop):  # type: ignore[misc]
    """Runs what is ready until nothing is, in `turn`; its time is that of the entry being applied.

    Every timer is an operation of the run. Tasks are held until they end: asyncio alone would let the garbage collector
    take them, some day or other.
    """

    def __init__(self, operations: Operations, timers: Timers) -> None:
        self.now_us = 0
        self.execution: Execution | None = None
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.quiet: Callable[[], bool] = lambda: False
        self._operations = operations
        self._timers = timers
        self._ready: deque[asyncio.Handle] = deque()
        self._in_turn = False
        self._numbers = 0
        self._exception_handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def turn(self, body: Callable[[], None]) -> None:
        """Runs `body` as part of this loop.

        The garbage collector rests meanwhile: what it finds, and when, differs from process to process.
        """
        outer_loop = events._get_running_loop()
        outer_hooks = sys.get_asyncgen_hooks()
        collecting = gc.isenabled()
        gc.disable()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finalize_generator)
        self._in_turn = True
        try:
            body()
        finally:
            self._in_turn = False
            sys.set_asyncgen_hooks(*outer_hooks)
            events._set_running_loop(outer_loop)
            if collecting:
                gc.enable()

    def run_dry(self) -> None:
        """Runs what is ready, and what that makes ready, until nothing is. Raises TurnNeverEnds."""
        ready = self._ready
        callbacks = 0
        while ready:
            try:
                while ready:
                    callbacks += 1
                    if callbacks > _MOST_CALLBACKS:
                        raise TurnNeverEnds(_MOST_CALLBACKS)
                    handle = ready.popleft()
                    if not handle._cancelled:
                        handle._run()
            except SystemExit:
                continue  # the task that raised it holds it as its exception

    def abandon(self) -> None:
        """Closes every coroutine where it stands, and forgets whatever was to be called."""

        def close_all() -> None:
            for task in tuple(self.tasks):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())

        self.quiet = lambda: True
        self.turn(close_all)
        self.tasks.clear()
        self._ready.clear()

    # What asyncio asks of a loop.

    def time(self) -> float:
        return self.now_us / 1e6

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Debug mode would change what is called when."""

    def is_running(self) -> bool:
        return self._in_turn

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Call(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._schedule(self.now_us + delay_us(delay), callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._schedule(first_us_at(when), callback, args, context)

    def create_future(self) -> asyncio.Future[Any]:
        return RunFuture(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task = RunTask(coro, loop=self, name=name, context=context)
        self.tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def set_task_factory(self, factory: object) -> NoReturn:
        raise RuntimeError("a run's loop makes its tasks itself")

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> Any:
        return self._exception_handler

    def set_exception_handler(self, handler: Any) -> None:
        self._exception_handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._exception_handler is not None and self._in_turn:
            self._exception_handler(self, context)
        else:
            self.default_exception_handler(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Writes an error that nobody awaited to the log."""
        if not self.quiet():
            _log.error("%s", context.get("message"), exc_info=context.get("exception"))

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: generators end with their run."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing to do: there is none."""

    def _schedule(
        self, due_us: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.TimerHandle:
        handle = _Timer(due_us / 1e6, callback, args, self, context)
        handle.operation = None
        if due_us <= self.now_us:
            self._ready.append(handle)
        else:
            handle.operation = self._operations.issue("timer")
            self._timers.arm(handle.operation, due_us, partial(self._ready.append, handle))
        return handle

    def _timer_handle_cancelled(self, handle: _Timer) -> None:
        if handle.operation is not None:
            self._timers.disarm(handle.operation)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    def _finalize_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        # Outside a turn it was the garbage collector that found it, at a moment of its own choice.
        if self._in_turn:
            self.create_task(generator.aclose())


def _close(coroutine: Any) -> None:
    """Leaves the coroutine, however often its clean-up awaits something on the way."""
    for _ in range(_MOST_AWAITS_IN_CLEANUP):
        try:
            coroutine.close()
        except BaseException:  # whatever its clean-up raises, nobody is there to hear it
            continue
        return
