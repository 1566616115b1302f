"""Plays a vector with nothing but the contract: raw calls over one channel."""

import asyncio
import uuid
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from midstream.v1 import run_service_pb2, stream_service_pb2, token_service_pb2, worker_service_pb2
from support.conformance.match import differences, error_of_call, to_json
from support.conformance.sign import sign
from support.conformance.vector import Variables, Vector, resolve

SERVICES: dict[str, ServiceDescriptor] = {
    service.name: service
    for module in (stream_service_pb2, run_service_pb2, token_service_pb2, worker_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
Json = dict[str, Any]
Metadata = tuple[tuple[str, str], ...]


class Mismatch(AssertionError):
    """The server did otherwise than a vector expects."""


async def play(vector: Vector, channel: grpc.aio.Channel, keys: Variables) -> None:
    """`keys` are the variables for the server's API keys. Raises Mismatch with the step and each difference."""
    variables = {"apiKey": "", **keys, **vector.variables, "unique": uuid.uuid4().hex}
    for number, step in enumerate(vector.steps, start=1):
        try:
            if "sign" in step:
                variables[step["save"]] = sign(resolve(step["sign"], variables))
            else:
                await _step(step, channel, variables)
        except Mismatch as mismatch:
            raise Mismatch(
                f"{vector.name} ({vector.why})\nstep {number}, {step.get('rpc', 'sign')}:\n{mismatch}"
            ) from None


async def _step(step: Json, channel: grpc.aio.Channel, variables: Variables) -> None:
    unknown = step.keys() - {"rpc", "as", "request", "response", "error", "save", "at_once", "exchange", "end"}
    assert not unknown, f"unknown keys {sorted(unknown)}"
    method = find_method(step["rpc"])
    secret = resolve(step.get("as", "${apiKey}"), variables)
    metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
    if "exchange" in step:
        await _exchange(step, method, channel, variables, metadata)
        return
    request = _parse(step["request"], method, variables)
    calls = (_unary(method, channel, request, metadata) for _ in range(step.get("at_once", 1)))
    answers = await asyncio.gather(*calls)
    for response, error in answers:
        if "error" in step or error is not None:
            _check(resolve(step.get("error", "no error"), variables), error, "error")
        _check(resolve(step.get("response", {}), variables), response or {}, "response")
    response, _ = answers[0]
    for name, path in step.get("save", {}).items():
        variables[name] = _at(response or {}, path)


async def _unary(
    method: MethodDescriptor, channel: grpc.aio.Channel, request: Message, metadata: Metadata
) -> tuple[Json | None, Any]:
    try:
        return to_json(await _callable(method, channel)(request, metadata=metadata)), None
    except grpc.aio.AioRpcError as error:
        return None, error_of_call(error)


async def _exchange(
    step: Json, method: MethodDescriptor, channel: grpc.aio.Channel, variables: Variables, metadata: Metadata
) -> None:
    frames: list[Json] = step["exchange"]
    if method.client_streaming:
        call = _callable(method, channel)(metadata=metadata)
    else:
        call = _callable(method, channel)(_parse(frames[0]["send"], method, variables), metadata=metadata)
        frames = frames[1:]
    try:
        for number, frame in enumerate(frames, start=1):
            if "send" in frame:
                await call.write(_parse(frame["send"], method, variables))
                continue
            response = await call.read()
            if response is grpc.aio.EOF:
                raise Mismatch(f"frame {number}: expected a response, the call ended: {await call.code()}")
            _check(resolve(frame["receive"], variables), to_json(response), f"frame {number}")
            for name, path in frame.get("save", {}).items():
                variables[name] = _at(to_json(response), path)
        await _check_end(step, method, call, variables)
    except grpc.aio.AioRpcError as error:
        _check(resolve(step.get("error", "no error"), variables), error_of_call(error), "error")
    finally:
        call.cancel()


async def _check_end(step: Json, method: MethodDescriptor, call: Any, variables: Variables) -> None:
    """By what the step says: the call fails, or ends by itself with OK, or is cut off by the caller."""
    if "error" not in step and "end" not in step:
        return
    if method.client_streaming and step.get("end") == "after_half_close":
        await call.done_writing()
    response = await call.read()  # Raises the error, which the caller checks.
    if response is not grpc.aio.EOF:
        raise Mismatch(f"expected the call to end, got {to_json(response)}")
    if "error" in step:
        raise Mismatch(f"expected {resolve(step['error'], variables)}, the call ended with OK")


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


def _check(expected: Any, actual: Any, path: str) -> None:
    lines = differences(expected, actual, path)
    if lines:
        raise Mismatch("\n".join(lines))


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
