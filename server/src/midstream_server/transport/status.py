"""How a refusal looks on the wire: one table from reason to code, and the details that go with it."""

from itertools import islice
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from midstream_server.domain.errors import Reason, Refused

DOMAIN: Final = "midstream.v1"
DETAILS_KEY: Final = "grpc-status-details-bin"

# A status travels in HTTP/2 trailers, which peers limit to 8 KiB, with the message in it twice, once with three bytes
# for each one that is not ASCII. A caller's own absurd text must not burst that.
MAX_MESSAGE_BYTES: Final = 1_000
MAX_VALUE_BYTES: Final = 200
MAX_FIELDS: Final = 4
MAX_RULES_MESSAGE_BYTES: Final = 400
MAX_RULES_BYTES: Final = 3_000
"""Broken rules, with their fields: as many as fit, where the message is shorter for it."""

CODES: Final[dict[Reason, grpc.StatusCode]] = {
    Reason.FIELD_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.FRAME_OUT_OF_ORDER: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.RUN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.RUN_FINISHED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.RUN_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Reason.RUN_MANAGED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.IDEMPOTENCY_KEY_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Reason.PAYLOAD_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.PAYLOAD_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.STREAM_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_STREAMS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.FENCED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ACK_AHEAD: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SERVER_DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.CREDENTIALS_MISSING: grpc.StatusCode.UNAUTHENTICATED,
    Reason.CREDENTIALS_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_REVOKED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_USED_UP: grpc.StatusCode.PERMISSION_DENIED,
    Reason.SCOPE_MISSING: grpc.StatusCode.PERMISSION_DENIED,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_SUBSCRIPTIONS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.SCHEMA_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.SCHEMA_INCOMPATIBLE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SCHEMA_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.STREAM_UNDECLARED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.STREAM_BACKEND_ONLY: grpc.StatusCode.PERMISSION_DENIED,
}


def to_status(refused: Refused) -> Status:
    """The refusal as a `google.rpc.Status`: for a receipt, or for a whole call through `trailing_metadata`."""
    metadata = {name: _cut(value) for name, value in refused.metadata.items()}
    info = ErrorInfo(reason=refused.reason.value, domain=DOMAIN, metadata=metadata)
    details: list[Message] = [info]
    violations = _violations(refused)
    if violations:
        details.append(BadRequest(field_violations=violations))
    if refused.retry_after_us is not None:
        details.append(RetryInfo(retry_delay=_duration(refused.retry_after_us)))
    message = _cut(refused.message, MAX_RULES_MESSAGE_BYTES if refused.violations else MAX_MESSAGE_BYTES)
    return Status(code=CODES[refused.reason].value[0], message=message, details=map(_packed, details))


def _violations(refused: Refused) -> list[BadRequest.FieldViolation]:
    if not refused.violations:
        fields = islice(refused.fields.items(), MAX_FIELDS)
        return [BadRequest.FieldViolation(field=_cut(path), description=_cut(why)) for path, why in fields]
    violations: list[BadRequest.FieldViolation] = []
    size = 0
    for path, why, rule in refused.violations:
        violation = BadRequest.FieldViolation(field=_cut(path), description=_cut(why), reason=_cut(rule))
        size += violation.ByteSize() + 2
        if size > MAX_RULES_BYTES:
            break
        violations.append(violation)
    return violations


def trailing_metadata(status: Status) -> tuple[tuple[str, bytes]]:
    """The trailer in which gRPC clients look for the status's details."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def _cut(text: str, limit: int = MAX_VALUE_BYTES) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _duration(duration_us: int) -> Duration:
    seconds, us = divmod(duration_us, 1_000_000)
    return Duration(seconds=seconds, nanos=us * 1_000)
