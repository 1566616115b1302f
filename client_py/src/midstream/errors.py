"""What goes wrong, as exceptions, made from a failed call or from a `google.rpc.Status`."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from google.rpc import code_pb2, error_details_pb2, status_pb2

if TYPE_CHECKING:  # a task's module imports this one, and the process that is forked for every run must be without gRPC
    import grpc

_DETAILS_KEY: Final = "grpc-status-details-bin"
_WRITE_FAILED: Final = "Internal error from Core"
"""What grpc.aio makes of a write on a call that has just ended, whatever the call's own status was."""


class MidstreamError(Exception):
    """A call was refused or could not be made.

    `reason` is a name of `midstream.v1.ErrorReason` ("" where the server gave none), `code` the gRPC status's name.
    `metadata` holds the reason's values, `fields` what is wrong with which field of the request or payload.
    `retry_after_us` (microseconds) is set where the server said when a retry may help.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: str = "UNKNOWN",
        metadata: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        retry_after_us: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.metadata = dict(metadata or {})
        self.fields = dict(fields or {})
        self.retry_after_us = retry_after_us

    def __str__(self) -> str:
        return f"{self.reason or self.code}: {self.message}"


class RunNotFound(MidstreamError):
    """No such run, or none that the caller may see."""


class RunFinished(MidstreamError):
    """The run has ended and takes no more records."""


class StreamFull(MidstreamError):
    """The stream holds as many unread records as it may; send again when the run has consumed some."""


class Fenced(MidstreamError):
    """Another process has taken over; whatever this one still does would be done twice."""


class RunCancelled(MidstreamError):
    """Somebody cancelled the run that this process is attached to."""


class PayloadError(MidstreamError):
    """A value that cannot be sent, or a payload that is not what its stream declares. `fields` says where."""


class RecordInvalid(PayloadError):
    """A stored record that does not fit what this program declares its stream to be.

    Taken by `once`, `wait`, `drain` or `async for`, the record is consumed: catch this to go on with the next one.
    Uncaught, it blocks a managed run instead of failing it: code whose declaration fits takes the run on from there.
    `schema_version` is what the server checked it against, 0 for nothing.
    """

    def __init__(self, problem: PayloadError, stream_id: str, seq: int, schema_version: int) -> None:
        checked = f", checked against schema version {schema_version}" if schema_version else ""
        super().__init__(
            f"record {seq} on stream {stream_id!r}{checked}: {problem.message}",
            reason="PAYLOAD_INVALID",
            code="INVALID_ARGUMENT",
            metadata={"stream_id": stream_id, "seq": str(seq), "schema_version": str(schema_version)},
            fields=problem.fields,
        )
        self.stream_id = stream_id
        self.seq = seq
        self.schema_version = schema_version


class Unauthenticated(MidstreamError):
    """Other credentials are needed: there were none, they are wrong or revoked, or the access token has expired."""


class PermissionDenied(MidstreamError):
    """The access token is good, but not for this, or not any more: it is used up."""


class Unavailable(MidstreamError):
    """The server could not be reached, or did not answer in time. Records sent with the same key may be sent again."""


_BY_REASON: Final[dict[str, type[MidstreamError]]] = {
    "RUN_NOT_FOUND": RunNotFound,
    "RUN_FINISHED": RunFinished,
    "STREAM_FULL": StreamFull,
    "FENCED": Fenced,
    "PAYLOAD_INVALID": PayloadError,
    "PAYLOAD_TOO_LARGE": PayloadError,
}
_BY_CODE: Final[dict[str, type[MidstreamError]]] = {
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": Unavailable,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
}


class FailedCall(Protocol):
    """A failed gRPC call, of the synchronous or the asyncio kind."""

    def code(self) -> "grpc.StatusCode": ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Any: ...


def from_call(failed: FailedCall) -> MidstreamError:
    """The error that a failed call stands for."""
    return from_outcome(failed.code(), failed.details(), failed.trailing_metadata())


def from_outcome(code: "grpc.StatusCode", details: str | None, trailers: Iterable[Any] | None) -> MidstreamError:
    """The error that a call's outcome stands for, with the server's own details where it gave some."""
    for key, value in trailers or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return from_status(status_pb2.Status.FromString(value))
    if code.name == "INTERNAL" and details == _WRITE_FAILED:
        return Unavailable("the connection broke while writing", code="UNAVAILABLE")
    kind = _BY_CODE.get(code.name, MidstreamError)
    return kind(details or "the call failed without a message", code=code.name)


def from_reason(reason: str, message: str) -> MidstreamError:
    """The error that a refusal stands for of which no more is known."""
    return _BY_REASON.get(reason, MidstreamError)(message, reason=reason)


def from_status(status: status_pb2.Status) -> MidstreamError:
    """The error that a status stands for, such as the one in a refused record's receipt."""
    code = code_pb2.Code.Name(code_pb2.Code.ValueType(status.code))
    reason = ""
    metadata: dict[str, str] = {}
    fields: dict[str, str] = {}
    retry_after_us: int | None = None
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad_request):
            fields.update((violation.field, violation.description) for violation in bad_request.field_violations)
        elif detail.Unpack(retry):
            retry_after_us = retry.retry_delay.ToMicroseconds()
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, MidstreamError)
    return kind(
        status.message, reason=reason, code=code, metadata=metadata, fields=fields, retry_after_us=retry_after_us
    )
