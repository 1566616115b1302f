"""The methods that browsers can call, and how their messages are written."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from midstream_server.domain.errors import field_invalid
from midstream_server.transport.guard import CallGuard, GuardedMethod

PROTO: Final = "proto"
JSON: Final = "json"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC with a single request. `streaming`: it has many responses."""

    path: str
    streaming: bool
    behaviour: Callable[[Any, Any], Any]
    guarded: GuardedMethod
    request: type[Message]
    response: type[Message]

    def parse(self, data: bytes, codec: str) -> Message:
        """Raises Refused: FIELD_INVALID."""
        try:
            if codec == PROTO:
                return self.request.FromString(data)
            # As Connect has it, a field that the server does not know yet is no error.
            return json_format.Parse(data, self.request(), ignore_unknown_fields=True)
        except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
            why = "" if codec == PROTO else f": {error}"
            message = f"is not a {codec} message of the method's request type{why}"
            raise field_invalid("request", message) from None

    def encode(self, response: Message | bytes, codec: str) -> bytes:
        """`response` may be encoded already."""
        if codec == PROTO:
            return response if isinstance(response, bytes) else response.SerializeToString()
        if isinstance(response, bytes):
            response = self.response.FromString(response)
        return to_json(json_format.MessageToDict(response))


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def browser_methods(guard: CallGuard, services: Iterable[tuple[ServiceDescriptor, object]]) -> dict[str, Method | None]:
    """By path, such as `/midstream.v1.StreamService/SendOne`. None: the method streams requests, as no browser can."""
    return {
        path: None if method.client_streaming else _method(guard, path, method, getattr(servicer, method.name))
        for service, servicer in services
        for method in service.methods
        if hasattr(servicer, method.name)
        for path in [f"/{service.full_name}/{method.name}"]
    }


def _method(guard: CallGuard, path: str, method: MethodDescriptor, behaviour: Callable[[Any, Any], Any]) -> Method:
    return Method(
        path=path,
        streaming=method.server_streaming,
        behaviour=behaviour,
        guarded=guard.method(path, streaming=method.server_streaming),
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
    )
