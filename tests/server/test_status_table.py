"""The table from reasons to gRPC codes, and the details of a status."""

import re
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from midstream.v1.error_reason_pb2 import ErrorReason
from midstream_server.domain.errors import (
    Reason,
    Refused,
    field_invalid,
    payload_too_large,
    run_not_found,
    stream_full,
)
from midstream_server.transport.status import CODES, to_status, trailing_metadata

PROTO = Path(__file__).parents[2] / "proto" / "midstream" / "v1" / "error_reason.proto"


def _unpack(status: Status) -> dict[str, Any]:
    return {detail.TypeName(): detail for detail in status.details}


def test_every_reason_of_the_contract_has_a_code_and_no_other() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
    assert {reason.value for reason in CODES} == {reason.value for reason in Reason} == contract


@pytest.mark.parametrize("reason", list(Reason))
def test_the_code_is_the_one_that_the_contract_documents(reason: Reason) -> None:
    comment = PROTO.read_text().partition(f"ERROR_REASON_{reason.value} =")[0].rpartition("\n\n")[2]
    documented = re.search(r"\(([A-Z_]+)\)", comment)
    assert documented is not None
    assert CODES[reason].name == documented[1]


def test_error_info_carries_reason_domain_and_metadata() -> None:
    status = to_status(run_not_found("run_1"))
    assert status.code == 5
    assert "run_1" in status.message
    (detail,) = status.details
    info = ErrorInfo()
    assert detail.Unpack(info)
    assert info == ErrorInfo(reason="RUN_NOT_FOUND", domain="midstream.v1", metadata={"run_id": "run_1"})


@pytest.mark.parametrize("refused", [field_invalid("run_id", "is empty"), payload_too_large(9, 8)])
def test_bad_request_names_the_field(refused: Refused) -> None:
    bad_request = BadRequest()
    assert _unpack(to_status(refused))["google.rpc.BadRequest"].Unpack(bad_request)
    ((path, problem),) = refused.fields.items()
    (violation,) = bad_request.field_violations
    assert (violation.field, violation.description) == (path, problem)


def test_retry_info_has_the_delay() -> None:
    retry = RetryInfo()
    assert _unpack(to_status(stream_full("s", unread=1, limit=1, unit="records")))["google.rpc.RetryInfo"].Unpack(retry)
    assert retry.retry_delay.ToMicroseconds() == 1_000_000


@pytest.mark.parametrize("character", ["x", "é", "🙂", "\ud800"])
def test_a_status_stays_below_the_limit_of_trailers_whatever_the_caller_wrote(character: str) -> None:
    long = character * 100_000
    refused = Refused(Reason.FIELD_INVALID, long, {"field": long}, fields=dict.fromkeys(map(str, range(100)), long))
    status = to_status(refused)
    ((_, trailer),) = trailing_metadata(status)
    assert len(b64encode(trailer)) + len(quote(status.message)) < 8 * 1024
