"""A channel as the vectors use it, whose calls go to the web edge: by Connect, or by gRPC-Web."""

import base64
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import grpc
import httpx
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status
from grpc.aio import EOF, AioRpcError, Metadata

from support.web import END_STREAM, TRAILERS, frame, status_of, trailers_of

CODES = {code.value[0]: code for code in grpc.StatusCode}
CODES_BY_CONNECT_NAME = {code.name.lower(): code for code in grpc.StatusCode} | {"canceled": grpc.StatusCode.CANCELLED}

Serialize = Callable[[Any], bytes]
Deserialize = Callable[[bytes], Any]
Pairs = Sequence[tuple[str, str]]


class WebChannel:
    """`way` is `connect` or `grpc-web`; both in protobuf's binary encoding."""

    def __init__(self, url: str, way: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
        self._way = way

    async def __aenter__(self) -> "WebChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    def unary_unary(self, path: str, *, request_serializer: Serialize, response_deserializer: Deserialize) -> Any:
        async def call(request: Any, *, metadata: Pairs = ()) -> Any:
            if self._way == "grpc-web":
                streamed = self._stream(path, request_serializer(request), response_deserializer, metadata)
                response = await streamed.read()
                assert await streamed.read() is EOF
                return response
            headers = {"content-type": "application/proto", **dict(metadata)}
            response = await self._http.post(path, content=request_serializer(request), headers=headers)
            if response.status_code != 200:
                raise _of_connect(response.json())
            return response_deserializer(response.content)

        return call

    def unary_stream(self, path: str, *, request_serializer: Serialize, response_deserializer: Deserialize) -> Any:
        def call(request: Any, *, metadata: Pairs = ()) -> "_Stream":
            return self._stream(path, request_serializer(request), response_deserializer, metadata)

        return call

    def stream_stream(self, path: str, **_: Any) -> Any:
        raise AssertionError(f"no browser can stream requests: {path}")

    def _stream(self, path: str, request: bytes, parse: Deserialize, metadata: Pairs) -> "_Stream":
        content_type = "application/grpc-web+proto" if self._way == "grpc-web" else "application/connect+proto"
        return _Stream(self._http, path, request, {"content-type": content_type, **dict(metadata)}, parse)


class _Stream:
    """Read like a gRPC call."""

    def __init__(
        self, http: httpx.AsyncClient, path: str, request: bytes, headers: Mapping[str, str], parse: Deserialize
    ) -> None:
        self._messages = self._read_all(http, path, request, headers, parse)

    async def read(self) -> Any:
        return await anext(self._messages, EOF)

    def cancel(self) -> None:
        """The client closes its connections in the end."""

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    @staticmethod
    async def _read_all(
        http: httpx.AsyncClient, path: str, request: bytes, headers: Mapping[str, str], parse: Deserialize
    ) -> AsyncIterator[Any]:
        async with http.stream("POST", path, content=frame(request), headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            buffer = b""
            async for chunk in response.aiter_raw():
                buffer += chunk
                while len(buffer) >= 5 and len(buffer) >= 5 + (length := struct.unpack_from(">BI", buffer)[1]):
                    flags, content, buffer = buffer[0], buffer[5 : 5 + length], buffer[5 + length :]
                    if flags == END_STREAM and "error" in (end := json.loads(content)):
                        raise _of_connect(end["error"])
                    if flags == TRAILERS and (trailers := trailers_of(content))["grpc-status"] != "0":
                        raise _failed(CODES[int(trailers["grpc-status"])], status_of(trailers))
                    if flags == 0:
                        yield parse(content)


def _of_connect(error: dict[str, Any]) -> AioRpcError:
    code = CODES_BY_CONNECT_NAME[error["code"]]
    status = Status(code=code.value[0], message=error["message"])
    for detail in error.get("details", []):
        value = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4))
        status.details.append(AnyMessage(type_url=f"type.googleapis.com/{detail['type']}", value=value))
    return _failed(code, status)


def _failed(code: grpc.StatusCode, status: Status) -> AioRpcError:
    trailers = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return AioRpcError(code, Metadata(), trailers, status.message)
