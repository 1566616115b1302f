"""Whether a new schema of a stream can read what the newest one could write."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from pydantic_core import from_json

from midstream_server.domain.schemas.declaration import Declaration, SchemaKind
from midstream_server.domain.schemas.errors import Change
from midstream_server.domain.schemas.narrowing import narrowings
from midstream_server.domain.schemas.wire_changes import wire_changes


class Comparison(NamedTuple):
    """`breaking` is refused, unless it is forced; `warnings` are for a person to read."""

    breaking: list[Change]
    warnings: list[str]


def compare(old: Declaration, new: Declaration) -> Comparison:
    """What changes from one schema of a stream to the next."""
    if old.kind is not new.kind:
        change = f"payloads were {old.kind.name} and would be {new.kind.name}"
        return Comparison([Change("", change, "SCHEMA_KIND_SAME")], [])
    if old.kind is SchemaKind.PROTOBUF and old.type_name != new.type_name:
        change = f"payloads were {old.type_name} and would be {new.type_name}"
        return Comparison([Change(old.type_name, change, "MESSAGE_TYPE_SAME")], [])
    if old.kind is SchemaKind.PROTOBUF:
        return Comparison(wire_changes(_files(old), _files(new)), [])
    return Comparison([], narrowings(_schema(old), _schema(new)))


def _files(declaration: Declaration) -> Iterable[FileDescriptorProto]:
    return FileDescriptorSet.FromString(declaration.definition).file


def _schema(declaration: Declaration) -> Any:
    return from_json(declaration.definition)
