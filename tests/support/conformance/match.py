"""Compares what came with what a vector expects: a subset, in proto JSON."""

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def to_json(message: Message) -> dict[str, Any]:
    """Proto JSON with every field that has no presence, so that a vector can expect `false` or an empty list."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def differences(expected: Any, actual: Any, path: str = "response") -> list[str]:
    """What of `expected` is not in `actual`, one line each."""
    if expected == "<any>":
        return []
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping):
            return [f"{path}: expected an object, got {_short(actual)}"]
        return [line for key, each in expected.items() for line in _field_differences(key, each, actual, path)]
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return [f"{path}: expected {len(expected)} elements, got {_short(actual)}"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for index, (want, got) in pairs for line in differences(want, got, f"{path}[{index}]")]
    if expected != actual or type(expected) is not type(actual):
        return [f"{path}: expected {_short(expected)}, got {_short(actual)}"]
    return []


def error_of_call(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """A failed call as a vector writes it: code, reason, metadata, fields."""
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin", b"")
    assert isinstance(details, bytes)
    return {**_error(Status.FromString(details)), "code": error.code().name}


def _field_differences(key: str, expected: Any, actual: Mapping[str, Any], path: str) -> list[str]:
    if key == "refused":  # A receipt's error, written as the error of a call.
        return differences(expected, _error_of_receipt(actual), f"{path}.error")
    if expected == "<unset>":
        return [f"{path}.{key}: expected nothing, got {_short(actual[key])}"] if key in actual else []
    if key not in actual:
        return [f"{path}.{key}: expected {_short(expected)}, got nothing"]
    return differences(expected, actual[key], f"{path}.{key}")


def _error_of_receipt(receipt: Mapping[str, Any]) -> dict[str, Any] | None:
    status = receipt.get("error")
    if status is None:
        return None
    error: dict[str, Any] = {"code": _CODES[status["code"]], "fields": []}
    for detail in status["details"]:
        if detail["@type"].endswith(ErrorInfo.DESCRIPTOR.full_name):
            error |= {"reason": detail["reason"], "metadata": detail["metadata"]}
        elif detail["@type"].endswith(BadRequest.DESCRIPTOR.full_name):
            error["fields"] = [violation["field"] for violation in detail["fieldViolations"]]
    return error


def _error(status: Status) -> dict[str, Any]:
    error: dict[str, Any] = {"reason": None, "metadata": {}, "fields": []}
    for packed in status.details:
        info, bad = ErrorInfo(), BadRequest()
        if packed.Unpack(info):
            error |= {"reason": info.reason, "metadata": dict(info.metadata)}
            assert info.domain == "midstream.v1"
        elif packed.Unpack(bad):
            error["fields"] = [violation.field for violation in bad.field_violations]
    return error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"
