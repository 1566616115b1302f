"""Plays a script in a run's code, attached or managed: see tests/conformance/README.md, *Behaviour*."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from midstream import InputStream, MidstreamError, ReceiveTimeout, Result, StepFailed, input_stream, wait_any

Json = dict[str, Any]
NOTHING = "<nothing>"
_STREAMS: dict[str, InputStream[Any]] = {}


class Place(Protocol):
    """What differs between an attached run and a task."""

    patient: bool
    """A peek may miss a record until the next await, so it is repeated until it gives what is expected."""

    async def send(self, stream: str, value: Any, key: str | None) -> Json: ...
    async def output(self, stream: str, value: Any) -> None: ...
    async def sleep(self, duration: str) -> None: ...
    async def step(self, value: Any) -> Any: ...


def stream(id: str) -> InputStream[Any]:
    """Kept, since an attached run looks at the streams that its process has declared."""
    return _STREAMS.setdefault(id, input_stream(id))


async def play_script(operations: Sequence[Json], place: Place) -> Json:
    """What each operation came to, and what each handler heard in all."""
    script = Script(place)
    outcomes = [await script.outcome(operation) for operation in operations]
    return {"outcomes": outcomes, "heard": {name: handler.heard for name, handler in script.handlers.items()}}


def error_name(error: BaseException) -> str:
    """The same in every language."""
    match error:
        case asyncio.CancelledError():
            return "CANCELLED"
        case ReceiveTimeout():
            return "TIMEOUT"
        case MidstreamError():
            return error.reason or error.code
        case StepFailed():
            return f"STEP_FAILED {error.message}"
        case RuntimeError() | ValueError() | TypeError():
            return "MISUSE"
    raise error


class Handler:
    """Notes what it hears."""

    def __init__(self, operation: Json) -> None:
        self._operation = operation
        self._news = asyncio.Event()
        self.heard: list[Any] = []
        self.subscription = stream(operation["on"]).on(self)

    def __call__(self, value: Any) -> None:
        self.heard.append(value)
        self._news.set()
        if len(self.heard) == self._operation.get("off_after"):
            self.subscription.off()
        if self._operation.get("throws"):
            raise ValueError(self._operation["throws"])

    async def heard_so_many(self, count: int) -> list[Any]:
        while len(self.heard) < count:
            self._news.clear()
            await self._news.wait()
        return list(self.heard)


class Script:
    def __init__(self, place: Place) -> None:
        self.handlers: dict[str, Handler] = {}
        self._place = place
        self._started: dict[str, asyncio.Task[Json]] = {}
        self._iterators: dict[str, Any] = {}

    async def outcome(self, operation: Json) -> Json:
        """`{"gives": ...}` or `{"fails": ...}`. Being cancelled is no outcome."""
        try:
            if "await" in operation:
                return await self._started.pop(operation["await"])
            if "cancel" in operation:
                return await self._cancel(operation["cancel"])
            return {"gives": await self._do(operation)}
        except Exception as error:
            return {"fails": error_name(error)}

    async def _do(self, operation: Json) -> Any:
        match operation:
            case {"sequence": steps}:
                return [await self.outcome(step) for step in steps]
            case {"together": steps}:
                return await asyncio.gather(*(self.outcome(step) for step in steps))
            case {"start": started, "as": name}:
                self._started[name] = asyncio.ensure_future(self.outcome(started))
                await asyncio.sleep(0)
            case {"try": tried, "finally": cleanup}:
                return await self._try(tried, cleanup)
            case {"on": _, "as": name}:
                self.handlers[name] = Handler(operation)
            case {"off": name}:
                self.handlers[name].subscription.off()
            case {"heard": name, "gives": expected}:
                return await self.handlers[name].heard_so_many(len(expected))
            case {"once": name}:
                return _unwrapped(await stream(name).once(timeout=operation.get("timeout")))
            case {"wait": name}:
                return _unwrapped(await stream(name).wait(timeout=operation.get("timeout")))
            case {"wait_any": names}:
                found, result = await wait_any(*map(stream, names), timeout=operation.get("timeout"))
                return {"value": _unwrapped(result), "stream": found and found.id}
            case {"next": name}:
                return await anext(self._iterators.setdefault(name, aiter(stream(name))))
            case {"drain": name}:
                return await stream(name).drain()
            case {"peek": name}:
                return await self._peek(name, operation["gives"])
            case {"send": name, "value": value}:
                return await self._place.send(name, value, operation.get("key"))
            case {"output": name, "value": value}:
                await self._place.output(name, value)
            case {"sleep": duration}:
                await self._place.sleep(duration)
            case {"step": value}:
                return await self._place.step(value)
            case _:
                raise KeyError(f"no operation: {operation}")
        return None

    async def _cancel(self, name: str) -> Json:
        task = self._started.pop(name)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return {"fails": error_name(outcome)} if isinstance(outcome, BaseException) else outcome

    async def _try(self, tried: Json, cleanup: Sequence[Json]) -> Any:
        try:
            return await self.outcome(tried)
        finally:
            for step in cleanup:
                await self.outcome(step)

    async def _peek(self, name: str, expected: Any) -> Any:
        while True:
            record = stream(name).peek_record()
            value = NOTHING if record is None else stream(name).peek()
            if not self._place.patient or value == expected:
                return value
            await self._place.sleep("10ms")


def _unwrapped(result: Result[Any]) -> Any:
    assert result.ok == (result.error is None)
    return result.unwrap()
