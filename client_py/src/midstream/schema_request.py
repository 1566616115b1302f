"""What declared streams say about their types, as the server registers it."""

import inspect
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from pydantic import PydanticInvalidForJsonSchema, TypeAdapter

from midstream.declaration import StreamOptions, declared_in_proto
from midstream.v1.schema_service_pb2 import RegisterSchemasRequest

if TYPE_CHECKING:
    from midstream.input_stream import InputStream

_KNOWN_TO_SERVERS: Final = ("google/protobuf/", "buf/validate/", "midstream/v1/")


def has_schema(stream: "InputStream[Any]") -> bool:
    """False for any JSON, bytes, and protobuf messages without the option `(midstream.v1.input_stream)`."""
    if stream.type is None or stream.type is bytes:
        return False
    return not _is_message(stream.type) or declared_in_proto(stream.type) is not None


def request_for(streams: "Iterable[InputStream[Any]]") -> RegisterSchemasRequest:
    """Raises TypeError for a stream without a schema, and where two of one name differ."""
    request = RegisterSchemasRequest()
    files: dict[str, FileDescriptor] = {}
    by_id: dict[str, tuple[Any, StreamOptions]] = {}
    for stream in streams:
        if not has_schema(stream):
            raise TypeError(
                f"stream {stream.id!r} has no schema to register: give it a pydantic model, or a protobuf message with "
                "the option (midstream.v1.input_stream)"
            )
        said = (stream.type, stream.options)
        if by_id.setdefault(stream.id, said) != said:
            raise TypeError(f"stream {stream.id!r} is declared twice, and differently; declare it once and import it")
        declared: Any = stream.type
        if _is_message(declared):
            _add_files(declared.DESCRIPTOR.file, files)
    for stream_id, (type, options) in by_id.items():
        if not _is_message(type):
            request.json_streams.add(options=options.to_proto(stream_id), schema=_json_schema(stream_id, type))
    if files:
        described = FileDescriptorSet()
        for file in files.values():
            file.CopyToProto(described.file.add())
        request.file_descriptor_set = described.SerializeToString(deterministic=True)
    return request


def _is_message(declared: Any) -> bool:
    return inspect.isclass(declared) and issubclass(declared, Message)


def _add_files(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    """Imports first."""
    if file.name in files or file.name.startswith(_KNOWN_TO_SERVERS):
        return
    for imported in file.dependencies:
        _add_files(imported, files)
    files[file.name] = file


def _json_schema(stream_id: str, declared: Any) -> str:
    try:
        # What the stream's codec takes is what may be sent.
        schema = TypeAdapter(declared).json_schema(by_alias=True, mode="validation")
    except PydanticInvalidForJsonSchema as error:
        raise TypeError(f"stream {stream_id!r}: {declared!r} has no JSON Schema: {error.message}") from error
    return json.dumps(schema, ensure_ascii=False)
