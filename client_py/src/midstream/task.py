"""Declaring a task: a named async function that workers execute."""

import hashlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cached_property, update_wrapper
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from midstream import ambient, durations
from midstream.codec import ANY, Codec, codec_for
from midstream.durations import Duration
from midstream.models import Run
from midstream.runtime.context import Context
from midstream.runtime.step_function import result_codec
from midstream.streams import Stream
from midstream.v1.record_pb2 import Payload

if TYPE_CHECKING:
    from midstream.client import Client

P = TypeVar("P")
R = TypeVar("R")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_IDLE_TIMEOUT: Final = "5s"


class Task(Generic[P, R]):
    """An async function of a context and a payload, with the name under which runs of it are started."""

    def __init__(
        self,
        function: Callable[..., Coroutine[Any, Any, R]],
        name: str,
        *,
        idle_timeout: Duration = _IDLE_TIMEOUT,
        version: str | None = None,
    ) -> None:
        if _NAME.fullmatch(name) is None:
            raise ValueError(
                f"{name!r} cannot name a task: use 1 to 128 letters, digits, '.', '_' or '-', "
                "and begin with a letter or digit"
            )
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"task {name!r} must be an async function")
        parameters = list(inspect.signature(function).parameters.values())
        if len(parameters) not in (1, 2):
            raise TypeError(f"task {name!r} takes the context and, if it likes, one payload")
        self.name = name
        self.function = function
        self.idle_timeout_us = durations.parse(idle_timeout)
        self._takes_payload = len(parameters) == 2
        self._payload_name = parameters[-1].name
        self._version = version
        update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"

    @cached_property
    def payload_codec(self) -> Codec[Any]:
        """By the payload's annotation, else any JSON."""
        declared = typing.get_type_hints(self.function).get(self._payload_name, Any) if self._takes_payload else Any
        return ANY if declared in (Any, object, type(None)) else codec_for(declared)

    @cached_property
    def result_codec(self) -> Codec[Any]:
        """By what the function says that it returns, else any JSON."""
        return result_codec(self.function)

    @cached_property
    def code_version(self) -> str:
        """What was given, else a hash of the file that the function is in."""
        if self._version is not None:
            return self._version
        module = sys.modules.get(self.function.__module__)
        file = getattr(module, "__file__", None)
        source = Path(file).read_bytes() if file is not None and Path(file).is_file() else b""
        return hashlib.blake2b(source, digest_size=8).hexdigest()

    def __call__(self, context: Context, payload: P) -> Coroutine[Any, Any, R]:
        """Calls the function itself: within another task, for instance."""
        return self.function(context, payload) if self._takes_payload else self.function(context)

    async def call(self, context: Context, payload: Payload) -> R:
        """Calls the function with what the log holds."""
        return await self(context, self.payload_codec.decode(payload))

    async def start(
        self,
        payload: P | None = None,
        *,
        run_id: str | None = None,
        records: Iterable[tuple[Stream, Any]] = (),
        max_duration: Duration | None = None,
        metadata: Mapping[str, str] | None = None,
        client: "Client | None" = None,
    ) -> Run:
        """Starts a run, with `client`, else the enclosing block's, else one by MIDSTREAM_URL. In a task it is a step.

        `records` are stored before the task begins. Raises PayloadError for a payload that is not what the task takes,
        else as `Client.start_run`.
        """
        # Checked here, where the caller can see it; any JSON travels.
        encoded = self.payload_codec.encode(payload) if self._takes_payload else None
        plain = payload if encoded is None or encoded.HasField("proto") else ANY.decode(encoded)
        client = ambient.current_client() if client is None else client
        return await client.start_run(
            self.name, plain, run_id=run_id, records=records, max_duration=max_duration, metadata=metadata
        )


@overload
def task(name: Callable[[Context], Coroutine[Any, Any, R]], /) -> Task[None, R]: ...
@overload
def task(name: Callable[[Context, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
@overload
def task(
    name: str | None = None, /, *, idle_timeout: Duration = _IDLE_TIMEOUT, version: str | None = None
) -> "_TaskDecorator": ...
def task(name: Any = None, /, *, idle_timeout: Duration = _IDLE_TIMEOUT, version: str | None = None) -> Any:
    """Declares a task: `@task("research-agent")` above `async def research_agent(ctx: Context, payload: Topic) -> str`.

    Without a name it is the function's, with `-` for `_`. `idle_timeout`: how long a run that waits keeps its process;
    0 frees it at once. `version`: of the code; unset, a hash of its file.
    """
    if callable(name):
        return _TaskDecorator(None, idle_timeout, version)(name)
    return _TaskDecorator(name, idle_timeout, version)


class _TaskDecorator:
    def __init__(self, name: str | None, idle_timeout: Duration, version: str | None) -> None:
        self._name = name
        self._idle_timeout = idle_timeout
        self._version = version

    @overload
    def __call__(self, function: Callable[[Context, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[[Context], Coroutine[Any, Any, R]], /) -> Task[None, R]: ...
    def __call__(self, function: Callable[..., Coroutine[Any, Any, Any]], /) -> Any:
        name = function.__name__.replace("_", "-") if self._name is None else self._name
        return Task(function, name, idle_timeout=self._idle_timeout, version=self._version)


def tasks_of(module: ModuleType) -> dict[str, Task[Any, Any]]:
    """The tasks in a module, by name. Raises ValueError where two have the same."""
    found: dict[str, Task[Any, Any]] = {}
    for each in vars(module).values():
        if isinstance(each, Task) and found.setdefault(each.name, each) is not each:
            raise ValueError(f"module {module.__name__!r} has two tasks named {each.name!r}")
    return found
