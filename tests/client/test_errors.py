"""Errors from failed calls and receipts: the type by reason, and every detail that the server gave."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from midstream import errors

STATUSES = [
    ("RUN_NOT_FOUND", code_pb2.NOT_FOUND, errors.RunNotFound),
    ("RUN_FINISHED", code_pb2.FAILED_PRECONDITION, errors.RunFinished),
    ("STREAM_FULL", code_pb2.RESOURCE_EXHAUSTED, errors.StreamFull),
    ("FENCED", code_pb2.FAILED_PRECONDITION, errors.Fenced),
    ("PAYLOAD_TOO_LARGE", code_pb2.INVALID_ARGUMENT, errors.PayloadError),
    ("PAYLOAD_INVALID", code_pb2.INVALID_ARGUMENT, errors.PayloadError),
    ("SERVER_DRAINING", code_pb2.UNAVAILABLE, errors.Unavailable),
    ("STORE_UNAVAILABLE", code_pb2.UNAVAILABLE, errors.Unavailable),
    ("RUN_MANAGED", code_pb2.FAILED_PRECONDITION, errors.MidstreamError),
    ("TOKEN_EXPIRED", code_pb2.UNAUTHENTICATED, errors.Unauthenticated),
    ("SCOPE_MISSING", code_pb2.PERMISSION_DENIED, errors.PermissionDenied),
    ("A_REASON_OF_A_LATER_SERVER", code_pb2.ABORTED, errors.MidstreamError),
]


def packed(detail: Message) -> Any:
    wrapped = Any()
    wrapped.Pack(detail)
    return wrapped


@pytest.mark.parametrize(("reason", "code", "kind"), STATUSES)
def test_a_reason_has_its_type(reason: str, code: code_pb2.Code, kind: type[errors.MidstreamError]) -> None:
    info = error_details_pb2.ErrorInfo(reason=reason, domain="midstream.v1", metadata={"run_id": "run_1"})
    error = errors.from_status(status_pb2.Status(code=code, message="what happened", details=[packed(info)]))
    assert type(error) is kind
    assert (error.reason, error.code) == (reason, code_pb2.Code.Name(code))
    assert error.message == "what happened"
    assert error.metadata == {"run_id": "run_1"}
    assert str(error) == f"{reason}: what happened"


def test_fields_and_the_servers_delay_are_kept_and_unknown_details_ignored() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="payload.text", description="is empty")
    details = [
        packed(error_details_pb2.BadRequest(field_violations=[violation])),
        packed(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))),
        Any(type_url="type.googleapis.com/acme.Unheard", value=b"\xff"),
    ]
    error = errors.from_status(status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="no", details=details))
    assert error.fields == {"payload.text": "is empty"}
    assert error.retry_after_us == 1_500_000
    assert error.reason == ""


def test_a_failed_call_brings_its_details_in_its_trailers() -> None:
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="no run", details=[packed(
        error_details_pb2.ErrorInfo(reason="RUN_NOT_FOUND")
    )])  # fmt: skip
    trailers = (("other", "x"), ("grpc-status-details-bin", status.SerializeToString()))
    error = errors.from_outcome(grpc.StatusCode.NOT_FOUND, "no run", trailers)
    assert isinstance(error, errors.RunNotFound)


@pytest.mark.parametrize(
    ("code", "details", "kind", "name"),
    [
        (grpc.StatusCode.UNAVAILABLE, "connection refused", errors.Unavailable, "UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, None, errors.Unavailable, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.UNIMPLEMENTED, "", errors.MidstreamError, "UNIMPLEMENTED"),
        (grpc.StatusCode.INTERNAL, "Internal error from Core", errors.Unavailable, "UNAVAILABLE"),
        (grpc.StatusCode.INTERNAL, "something else", errors.MidstreamError, "INTERNAL"),
    ],
)
def test_a_call_that_failed_on_the_way_has_a_code_and_a_message(
    code: grpc.StatusCode, details: str | None, kind: type[errors.MidstreamError], name: str
) -> None:
    error = errors.from_outcome(code, details, None)
    assert type(error) is kind
    assert error.code == name
    assert error.message
    assert error.reason == ""
