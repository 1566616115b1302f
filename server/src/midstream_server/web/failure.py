"""Failures of the HTTP exchange itself: no such path, too large a body, an unknown encoding."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import grpc
from google.rpc.status_pb2 import Status

HTTP_STATUS: Final = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""Connect's table."""
CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(eq=False)
class WebFailure(Exception):
    """Ends a call without a servicer's word. `http_status` where Connect's table has no good one for it."""

    code: grpc.StatusCode
    message: str
    http_status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def to_status(self) -> Status:
        return Status(code=self.code.value[0], message=self.message)

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def no_such_path(path: str) -> WebFailure:
    shown = path if len(path) <= 200 else path[:200] + "…"
    message = f"there is nothing at {shown!r}; RPCs are like POST /midstream.v1.StreamService/SendOne"
    return WebFailure(grpc.StatusCode.UNIMPLEMENTED, message, HTTPStatus.NOT_FOUND)


def needs_grpc(path: str) -> WebFailure:
    return WebFailure(grpc.StatusCode.UNIMPLEMENTED, f"{path} streams requests: call it by gRPC on the gRPC listener")


def not_post(method: str) -> WebFailure:
    message = f"an RPC is a POST request, not {method[:20]}"
    return WebFailure(grpc.StatusCode.UNIMPLEMENTED, message, HTTPStatus.METHOD_NOT_ALLOWED, ((b"allow", b"POST"),))


def unsupported_content(content_type: str, accepted: tuple[str, ...]) -> WebFailure:
    accept = ", ".join(accepted)
    message = f"content-type {content_type[:100]!r} is not supported here; use one of {accept}"
    headers = ((b"accept-post", accept.encode()),)
    return WebFailure(grpc.StatusCode.UNIMPLEMENTED, message, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, headers)


def unsupported_encoding(encoding: str) -> WebFailure:
    message = f"requests compressed with {encoding[:40]!r} are not supported; use gzip or identity"
    return WebFailure(grpc.StatusCode.UNIMPLEMENTED, message, headers=((b"accept-encoding", b"gzip, identity"),))


def too_large(limit: int) -> WebFailure:
    message = f"the request has more than {limit} bytes, the limit; send fewer records at once"
    return WebFailure(grpc.StatusCode.RESOURCE_EXHAUSTED, message, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def malformed(problem: str) -> WebFailure:
    return WebFailure(grpc.StatusCode.INVALID_ARGUMENT, problem)


def foreign_origin(origin: str) -> WebFailure:
    message = f"pages of {origin[:200]!r} may not call this server; its operator can allow them with --web-origins"
    return WebFailure(grpc.StatusCode.PERMISSION_DENIED, message)


def deadline_exceeded() -> WebFailure:
    return WebFailure(grpc.StatusCode.DEADLINE_EXCEEDED, "the caller's deadline has passed")
