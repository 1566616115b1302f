"""Values to payloads and back, by what a stream declares."""

import inspect
import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from midstream.errors import PayloadError
from midstream.v1.record_pb2 import Payload, TypedMessage

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_PLAIN: Final = frozenset({str, int, float, bool, type(None), dict, list})
_to_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Codec(Protocol[T]):
    """Turns a stream's values into payloads and back. Both raise PayloadError with what does not fit, and where."""

    def encode(self, value: T) -> Payload: ...
    def decode(self, payload: Payload) -> T: ...


class AnyCodec:
    """A stream without a type: JSON values, and bytes. Models and protobuf messages may be sent as well."""

    def encode(self, value: Any) -> Payload:
        if type(value) not in _PLAIN:
            if isinstance(value, (bytes, bytearray, memoryview)):
                return Payload(raw=bytes(value))
            if isinstance(value, Message):
                return _protobuf_payload(value)
            if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
                return _model_codec(type(value)).encode(value)
        try:
            return Payload(json=_to_json(value))
        except (TypeError, ValueError, RecursionError) as error:  # ValueError: also text that has no UTF-8 form
            raise _cannot_send(value, "JSON", str(error)) from error

    def decode(self, payload: Payload) -> Any:
        kind = payload.WhichOneof("content")
        if kind == "json":
            try:
                return json.loads(payload.json)
            except ValueError as error:
                raise PayloadError(f"the payload is not JSON: {error}", reason="PAYLOAD_INVALID") from error
        if kind == "raw":
            return payload.raw
        if kind == "proto":
            return payload.proto
        raise _wrong_kind(payload, "a payload")


class BytesCodec:
    """Bytes as they are."""

    def encode(self, value: bytes) -> Payload:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise _cannot_send(value, "bytes", "this stream carries bytes")
        return Payload(raw=bytes(value))

    def decode(self, payload: Payload) -> bytes:
        if payload.WhichOneof("content") != "raw":
            raise _wrong_kind(payload, "bytes")
        return payload.raw


class ProtobufCodec(Generic[M]):
    """A protobuf message. JSON is accepted too, so that people can send one from the command line."""

    def __init__(self, message_type: type[M]) -> None:
        self._type = message_type

    def encode(self, value: M) -> Payload:
        if not isinstance(value, self._type):
            raise _cannot_send(value, self._type.DESCRIPTOR.full_name, f"it is a {type(value).__name__}")
        return _protobuf_payload(value)

    def decode(self, payload: Payload) -> M:
        name = self._type.DESCRIPTOR.full_name
        try:
            if payload.WhichOneof("content") == "json":
                return json_format.Parse(payload.json, self._type())
            if payload.WhichOneof("content") == "proto" and payload.proto.type_name == name:
                return self._type.FromString(payload.proto.value)
        except (json_format.ParseError, DecodeError) as error:
            raise PayloadError(f"the payload is no {name}: {error}", reason="PAYLOAD_INVALID") from error
        raise _wrong_kind(payload, name)


class ModelCodec(Generic[T]):
    """Whatever pydantic understands, as JSON."""

    def __init__(self, adapter: TypeAdapter[T], name: str) -> None:
        self._adapter = adapter
        self._name = name

    def encode(self, value: T) -> Payload:
        try:
            valid = self._adapter.validate_python(value)
            text = self._adapter.dump_json(valid, by_alias=True, round_trip=True, warnings="error")
        except ValidationError as error:
            raise _does_not_fit(error, f"cannot send {_short(value)} as {self._name}") from error
        except (PydanticSerializationError, UnicodeEncodeError) as error:
            raise _cannot_send(value, self._name, str(error)) from error
        return Payload(json=text.decode())

    def decode(self, payload: Payload) -> T:
        if payload.WhichOneof("content") != "json":
            raise _wrong_kind(payload, self._name)
        try:
            value: T = self._adapter.validator.validate_json(payload.json)
        except ValidationError as error:
            raise _does_not_fit(error, f"the payload is no {self._name}") from error
        return value


ANY: Final = AnyCodec()


def codec_for(declared: type[T] | None) -> Codec[T]:
    """The codec of a stream's declared type: a pydantic model or any type that pydantic can check, `bytes`, a protobuf
    message class, or None for any JSON. Raises TypeError for a type that none of them handles."""
    if declared is None:
        return ANY
    # What follows tells the types apart at run time, which no type checker can follow.
    unchecked: Any = declared
    if unchecked is bytes:
        return cast(Codec[T], BytesCodec())
    if inspect.isclass(unchecked) and issubclass(unchecked, Message):
        return cast(Codec[T], ProtobufCodec(unchecked))
    return _model_codec(unchecked)


@lru_cache(maxsize=1024)
def _model_codec(declared: Any) -> ModelCodec[Any]:
    name = getattr(declared, "__name__", None) or str(declared)
    try:
        return ModelCodec(TypeAdapter(declared), name)
    except PydanticSchemaGenerationError as error:
        raise TypeError(
            f"{name} cannot be a stream's type: use a pydantic model, a type made of plain values, bytes, "
            "or a protobuf message class"
        ) from error


def _protobuf_payload(message: Message) -> Payload:
    try:
        value = message.SerializeToString()
    except Exception as error:  # protobuf 6 and 7 raise different types for a missing proto2 field
        raise _cannot_send(message, message.DESCRIPTOR.full_name, str(error)) from error
    return Payload(proto=TypedMessage(type_name=message.DESCRIPTOR.full_name, value=value))


def _cannot_send(value: object, form: str, problem: str) -> PayloadError:
    return PayloadError(
        f"cannot send {_short(value)} as {form}: {problem}", reason="PAYLOAD_INVALID", code="INVALID_ARGUMENT"
    )


def _wrong_kind(payload: Payload, expected: str) -> PayloadError:
    kind = payload.WhichOneof("content")
    got = {"json": "JSON", "raw": "bytes", "proto": f"a {payload.proto.type_name!r} message", None: "nothing"}[kind]
    return PayloadError(f"expected {expected}, the payload holds {got}", reason="PAYLOAD_INVALID")


def _does_not_fit(error: ValidationError, what: str) -> PayloadError:
    fields = dict(_problems(error))
    problems = "; ".join(f"{path}: {problem}" for path, problem in fields.items())
    return PayloadError(f"{what}: {problems}", reason="PAYLOAD_INVALID", code="INVALID_ARGUMENT", fields=fields)


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        yield ".".join(str(step) for step in problem["loc"]) or "payload", problem["msg"]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
