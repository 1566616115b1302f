"""`@step`: a function that is a step wherever a task calls it."""

import asyncio
import typing
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache, partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, overload

from midstream import durations
from midstream.codec import ANY, Codec, codec_for
from midstream.durations import Duration
from midstream.runtime.loop import TurnLoop
from midstream.runtime.pending_step import FunctionCall
from midstream.runtime.retry import Retry, as_retry

if TYPE_CHECKING:
    from midstream.runtime.execution import Execution

P = ParamSpec("P")
R = TypeVar("R")

step_key_in_step: Final[ContextVar[str | None]] = ContextVar("midstream_step_key", default=None)
"""Set by the host around a step's code."""


def step_key() -> str:
    """The key of the step whose code is running: the same for every attempt, and on every machine.

    Hand it to an outside system as an idempotency key. Raises RuntimeError outside a step.
    """
    key = step_key_in_step.get()
    if key is None:
        raise RuntimeError("step_key() works in a step's own code only")
    return key


@dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step is carried out; see `Context.step`."""

    name: str | None = None
    retry: Retry | int | None = None
    at_most_once: bool | None = None
    timeout: Duration | None = None
    raises: tuple[type[Exception], ...] | None = None

    @staticmethod
    def of(function: Callable[..., Any]) -> "StepOptions":
        """Those of its `@step`, else none."""
        return function.options if isinstance(function, Step) else _NO_OPTIONS

    def replaced(self, **changes: Any) -> "StepOptions":
        """With everything that is not None."""
        given = {name: value for name, value in changes.items() if value is not None}
        return replace(self, **given) if given else self


_NO_OPTIONS: Final = StepOptions()


class Step(Generic[P, R]):
    """A function that is a step when a task awaits it, and just the function elsewhere."""

    def __init__(self, function: Callable[P, Any], options: StepOptions) -> None:
        self.function = function
        self.options = options
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        loop = asyncio._get_running_loop()
        if isinstance(loop, TurnLoop) and loop.execution is not None:
            return issue_step(loop.execution, self, args, dict(kwargs), self.options)
        outside: Coroutine[Any, Any, R] = self.function(*args, **kwargs)
        return outside

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """So that a method can be a step, too."""
        return self if instance is None else partial(self.__call__, instance)  # type: ignore[arg-type]


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | int | None = None,
    at_most_once: bool = False,
    timeout: Duration | None = None,
    raises: tuple[type[Exception], ...] = (),
) -> "_StepDecorator": ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | int | None = None,
    at_most_once: bool = False,
    timeout: Duration | None = None,
    raises: tuple[type[Exception], ...] = (),
) -> Any:
    """Makes a function a step: `@step`, or with options as `Context.step` has them.

    `await fn(...)` in a task is a step; anywhere else, in another step too, it is a plain call.
    """
    decorator = _StepDecorator(StepOptions(name, retry, at_most_once, timeout, raises))
    return decorator if function is None else decorator(function)


class _StepDecorator:
    def __init__(self, options: StepOptions) -> None:
        _checked(options)
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        return Step(function, self._options)


async def issue_step(
    execution: "Execution",
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: StepOptions,
) -> Any:
    """Issues a call of the function as a step of the run, and awaits it."""
    code = function.function if isinstance(function, Step) else function
    name = name_of(code) if options.name is None else options.name
    retry, timeout_us = _checked(options)
    try:
        copied_args, copied_kwargs = deepcopy((args, kwargs)) if args or kwargs else (args, kwargs)
    except Exception as error:
        raise TypeError(
            f"step {name!r} gets copies of its arguments, and these cannot be copied ({error}): "
            "make what they hold inside the step"
        ) from error
    return await execution.steps_issued.run(
        "step",
        name,
        FunctionCall(code, copied_args, copied_kwargs),
        result_codec(code),
        retry=retry,
        at_most_once=bool(options.at_most_once),
        timeout_us=timeout_us,
        raises=options.raises or (),
    )


def name_of(function: Callable[..., Any]) -> str:
    """The function's name; that of the inner one for a partial."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else name


def result_codec(function: Callable[..., Any]) -> Codec[Any]:
    """By what the function says that it returns, else any JSON."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    try:
        return _result_codec(function)
    except TypeError:
        if function.__hash__ is None:
            return ANY
        raise


@lru_cache(maxsize=1024)
def _result_codec(function: Callable[..., Any]) -> Codec[Any]:
    if not getattr(function, "__annotations__", None):
        return ANY
    try:
        declared = typing.get_type_hints(function).get("return", Any)
    except Exception:  # a name that exists for the type checker only
        return ANY
    return ANY if declared is Any or declared is type(None) or declared is object else codec_for(declared)


def _checked(options: StepOptions) -> tuple[Retry, int | None]:
    """Its policy and its timeout in microseconds. Raises ValueError where the options make no sense."""
    retry = as_retry(options.retry)
    if options.at_most_once and retry.max_attempts > 1:
        raise ValueError("a step that runs at most once cannot be tried again: leave out retry or at_most_once")
    timeout_us = None if options.timeout is None else durations.parse(options.timeout)
    if timeout_us == 0:
        raise ValueError("a step's timeout must be over 0; None: none")
    return retry, timeout_us
