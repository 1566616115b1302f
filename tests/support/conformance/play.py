"""Plays a vector with nothing but the contract: raw calls over one channel."""

import asyncio
import uuid
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from midstream import v1
from support.conformance.match import differences, error_of_call, to_json
from support.conformance.sign import sign
from support.conformance.vector import Variables, Vector, resolve

SERVICES: dict[str, ServiceDescriptor] = {
    service.name: service
    for module in iter_modules(v1.__path__)
    if module.name.endswith("_service_pb2")
    for service in import_module(f"midstream.v1.{module.name}").DESCRIPTOR.services_by_name.values()
}
_KEYS = {"rpc", "as", "request", "response", "error", "save", "at_once", "exchange", "end", "hold"}
_OTHER_KEYS = ({"sign", "save"}, {"server"}, {"held", "exchange", "error", "end"})
Json = dict[str, Any]
Metadata = tuple[tuple[str, str], ...]


class Mismatch(AssertionError):
    """The server did otherwise than a vector expects."""


Connect = Callable[[], grpc.aio.Channel]
Do = Callable[[str], None]


def to(address: str) -> Connect:
    """What opens a connection of its own to the server."""
    return lambda: grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


async def play(vector: Vector, connect: Connect, keys: Variables, do: Do | None = None) -> int:
    """Returns the number of steps played. Raises Mismatch with the step and each difference.

    `keys` are the variables for the server's API keys; `do` does to the server what a step with `server` says.
    """
    player = _Player(connect, {"apiKey": "", **keys, **vector.variables, "unique": uuid.uuid4().hex}, do)
    try:
        for number, step in enumerate(vector.steps, start=1):
            try:
                await player.play(step)
            except Mismatch as mismatch:
                title = f"{vector.name} ({vector.why})\nstep {number}, {step.get('rpc', next(iter(step)))}:"
                raise Mismatch(f"{title}\n{mismatch}") from None
    finally:
        await player.close()
    return len(vector.steps)


class _Player:
    """What is known, and which calls are held open, between the steps of a vector."""

    def __init__(self, connect: Connect, variables: Variables, do: Do | None) -> None:
        self._connect = connect
        self._channel = connect()
        self._variables = variables
        self._do = do
        self._held: dict[str, list[_Call]] = {}

    async def play(self, step: Json) -> None:
        allowed = _KEYS if "rpc" in step else next((keys for keys in _OTHER_KEYS if step.keys() <= keys), set())
        if not step.keys() <= allowed:
            raise ValueError(f"these keys make no step: {sorted(step)}")
        if "sign" in step:
            self._variables[step["save"]] = sign(resolve(step["sign"], self._variables))
        elif "server" in step:
            assert self._do is not None, "only a vector with `server: own` does something to it"
            await asyncio.to_thread(self._do, step["server"])
            if step["server"] == "start":  # The old channel would wait for a second before it tries again.
                await self._channel.close()
                self._channel = self._connect()
        elif "held" in step:
            await self._hold_on(step)
        elif "exchange" in step:
            await self._exchange(step)
        else:
            await self._unary(step)

    async def close(self) -> None:
        for call in [call for calls in self._held.values() for call in calls]:
            call.cancel()
        await self._channel.close()

    async def _unary(self, step: Json) -> None:
        method = find_method(step["rpc"])
        request = _parse(step["request"], method, self._variables)
        metadata = self._metadata(step)
        calls = (_answer(method, self._channel, request, metadata) for _ in range(step.get("at_once", 1)))
        answers = await asyncio.gather(*calls)
        for response, error in answers:
            if "error" in step or error is not None:
                check(resolve(step.get("error", "no error"), self._variables), error, "error")
            check(resolve(step.get("response", {}), self._variables), response or {}, "response")
        self._save(step, answers[0][0] or {})

    async def _exchange(self, step: Json) -> None:
        method, metadata = find_method(step["rpc"]), self._metadata(step)
        calls = [_Call(self, method, self._channel, metadata) for _ in range(step.get("at_once", 1))]
        if "hold" in step:
            self._held[step["hold"]] = calls
        try:
            await asyncio.gather(*(call.exchange(step) for call in calls))
        finally:
            if "hold" not in step:
                for call in calls:
                    call.cancel()

    async def _hold_on(self, step: Json) -> None:
        """Goes on with calls that are held, and lets them go."""
        calls = self._held.pop(step["held"])
        try:
            await asyncio.gather(*(call.exchange(step) for call in calls))
        finally:
            for call in calls:
                call.cancel()

    def _metadata(self, step: Json) -> Metadata:
        secret = resolve(step.get("as", "${apiKey}"), self._variables)
        return (("authorization", f"Bearer {secret}"),) if secret else ()

    def _save(self, step: Json, response: Json) -> None:
        for name, path in step.get("save", {}).items():
            self._variables[name] = _at(response, path)

    # What a call asks for.

    def request(self, value: Any, method: MethodDescriptor) -> Message:
        return _parse(value, method, self._variables)

    def expected(self, value: Any) -> Any:
        return resolve(value, self._variables)

    def received(self, frame: Json, response: Json, number: int) -> None:
        check(self.expected(frame["receive"]), response, f"frame {number}")
        self._save(frame, response)


class _Call:
    """A streaming call, for as long as a vector needs it."""

    def __init__(
        self, player: _Player, method: MethodDescriptor, channel: grpc.aio.Channel, metadata: Metadata
    ) -> None:
        self._player = player
        self._method = method
        self._metadata = metadata
        self._callable = _callable(method, channel)
        self._call: Any = self._callable(metadata=metadata) if method.client_streaming else None

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    async def exchange(self, step: Json) -> None:
        """Plays the frames, and looks how the call ends: it fails, or ends by itself with OK, or goes on."""
        try:
            for number, frame in enumerate(step.get("exchange", []), start=1):
                if "send" in frame:
                    await self._send(self._player.request(frame["send"], self._method))
                else:
                    self._player.received(frame, await self._receive(number), number)
            if "error" in step or "end" in step:
                await self._end(step)
        except grpc.aio.AioRpcError as error:
            check(self._player.expected(step.get("error", "no error")), error_of_call(error), "error")

    async def _send(self, request: Message) -> None:
        if self._method.client_streaming:
            await self._call.write(request)
        else:
            assert self._call is None, "a call with one request sends once"
            self._call = self._callable(request, metadata=self._metadata)

    async def _receive(self, number: int) -> Json:
        response = await self._call.read()
        if response is grpc.aio.EOF:
            raise Mismatch(f"frame {number}: expected a response, the call ended: {await self._call.code()}")
        return to_json(response)

    async def _end(self, step: Json) -> None:
        if self._method.client_streaming and step.get("end") == "after_half_close":
            await self._call.done_writing()
        response = await self._call.read()  # Raises the error, which the caller checks.
        if response is not grpc.aio.EOF:
            raise Mismatch(f"expected the call to end, got {to_json(response)}")
        if "error" in step:
            raise Mismatch(f"expected {self._player.expected(step['error'])}, the call ended with OK")


async def _answer(
    method: MethodDescriptor, channel: grpc.aio.Channel, request: Message, metadata: Metadata
) -> tuple[Json | None, Any]:
    try:
        return to_json(await _callable(method, channel)(request, metadata=metadata)), None
    except grpc.aio.AioRpcError as error:
        return None, error_of_call(error)


def find_method(rpc: str) -> MethodDescriptor:
    """`StreamService.Send`, say."""
    service, _, name = rpc.partition(".")
    return SERVICES[service].methods_by_name[name]


def _callable(method: MethodDescriptor, channel: grpc.aio.Channel) -> Any:
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    return kinds[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


def _parse(value: Any, method: MethodDescriptor, variables: Variables) -> Message:
    message: Message = ParseDict(resolve(value, variables), GetMessageClass(method.input_type)())
    return message


def check(expected: Any, actual: Any, path: str) -> None:
    lines = differences(expected, actual, path)
    if lines:
        raise Mismatch("\n".join(lines))


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
