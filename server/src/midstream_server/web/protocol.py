"""Which protocol a request speaks, by its content type."""

import re
from dataclasses import dataclass
from typing import Final

import grpc

from midstream_server.web import body, failure
from midstream_server.web.answer import Answer, ConnectStream, ConnectUnary, GrpcWeb, Response
from midstream_server.web.methods import JSON, PROTO

_GRPC_WEB: Final = re.compile(r"application/grpc-web(-text)?(?:\+(proto|json))?")
_GRPC_TIMEOUT: Final = re.compile(r"(\d{1,8})([HMSmun])")
_SECONDS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_CONNECT_TIMEOUT: Final = re.compile(r"\d{1,10}")
_UNARY: Final = {"application/proto": PROTO, "application/json": JSON}
_STREAM: Final = {"application/connect+proto": PROTO, "application/connect+json": JSON}
_WEB: Final = ("application/grpc-web+proto", "application/grpc-web-text+proto")


@dataclass(frozen=True, slots=True)
class Protocol:
    """How this request is read and answered."""

    answer: Answer
    codec: str
    framed: bool
    text: bool
    encoding_header: str
    timeout_header: str

    def message_in(self, content: bytes, headers: dict[str, str]) -> bytes:
        """The request's message. Raises WebFailure."""
        encoding = headers.get(self.encoding_header, "").strip().lower()
        if not self.framed:
            return body.decompress(content, encoding)
        return body.sole_message(body.from_base64(content) if self.text else content, encoding)

    def timeout(self, headers: dict[str, str]) -> float | None:
        """In seconds. Raises WebFailure."""
        value = headers.get(self.timeout_header)
        if value is None:
            return None
        if self.timeout_header == "connect-timeout-ms":
            if _CONNECT_TIMEOUT.fullmatch(value):
                return int(value) / 1000
        elif match := _GRPC_TIMEOUT.fullmatch(value):
            return int(match[1]) * _SECONDS[match[2]]
        raise failure.WebFailure(
            grpc.StatusCode.INVALID_ARGUMENT, f"{self.timeout_header}: {value[:40]!r} is no timeout"
        )


def find_protocol(content_type: str, response: Response, *, streaming: bool) -> Protocol:
    """Raises WebFailure."""
    bare = content_type.partition(";")[0].strip().lower()
    if web := _GRPC_WEB.fullmatch(bare):
        answer = GrpcWeb(response, bare, text=web[1] is not None)
        return Protocol(answer, web[2] or PROTO, True, web[1] is not None, "grpc-encoding", "grpc-timeout")
    if streaming and bare in _STREAM:
        stream = ConnectStream(response, bare)
        return Protocol(stream, _STREAM[bare], True, False, "connect-content-encoding", "connect-timeout-ms")
    if not streaming and bare in _UNARY:
        unary = ConnectUnary(response, bare)
        return Protocol(unary, _UNARY[bare], False, False, "content-encoding", "connect-timeout-ms")
    raise failure.unsupported_content(content_type, (*(_STREAM if streaming else _UNARY), *_WEB))
