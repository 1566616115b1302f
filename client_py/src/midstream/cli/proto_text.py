"""Protobuf messages as a person writes them, from their descriptors."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.message import Message

import buf.validate.validate_pb2  # noqa: F401 - so that the rules of fields can be read
from midstream.v1 import input_stream_pb2  # noqa: F401 - and the option of messages


def proto_text(file_descriptor_set: bytes) -> str:
    """The types of a serialised FileDescriptorSet, imported ones last."""
    described = FileDescriptorSet.FromString(file_descriptor_set)
    return "\n\n".join("\n".join(_file(file)) for file in reversed(described.file))


def _file(file: FileDescriptorProto) -> Iterator[str]:
    yield f"// {file.name}"
    for message in file.message_type:
        yield from _message(message, "")
    for enum in file.enum_type:
        yield from _enum(enum, "")


def _message(message: DescriptorProto, indent: str) -> Iterator[str]:
    inner = indent + "  "
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    yield f"{indent}message {message.name} {{"
    for option in _options(message.options):
        yield f"{inner}option {option};"
    for enum in message.enum_type:
        yield from _enum(enum, inner)
    for nested in message.nested_type:
        if nested.name not in entries:
            yield from _message(nested, inner)
    for number, oneof in enumerate(message.oneof_decl):
        members = [each for each in message.field if each.HasField("oneof_index") and each.oneof_index == number]
        if members and not any(each.proto3_optional for each in members):
            yield f"{inner}oneof {oneof.name} {{"
            for each in members:
                yield _field(each, entries, inner + "  ")
            yield f"{inner}}}"
    for field in message.field:
        if not field.HasField("oneof_index") or field.proto3_optional:
            yield _field(field, entries, inner)
    yield f"{indent}}}"


def _field(field: FieldDescriptorProto, entries: dict[str, DescriptorProto], indent: str) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        kind = f"map<{_type(entry.field[0])}, {_type(entry.field[1])}>"
    else:
        kind = _label(field) + _type(field)
    options = ", ".join(_options(field.options))
    return f"{indent}{kind} {field.name} = {field.number}{f' [{options}]' if options else ''};"


def _label(field: FieldDescriptorProto) -> str:
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return "repeated "
    if field.label == FieldDescriptorProto.LABEL_REQUIRED:
        return "required "
    return "optional " if field.proto3_optional else ""


def _type(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return field.type_name.removeprefix(".")
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _enum(enum: EnumDescriptorProto, indent: str) -> Iterator[str]:
    yield f"{indent}enum {enum.name} {{"
    for value in enum.value:
        yield f"{indent}  {value.name} = {value.number};"
    yield f"{indent}}}"


def _options(options: Message) -> Iterator[str]:
    for field, value in options.ListFields():
        name = f"({field.full_name})" if field.is_extension else field.name
        text = f"{{{' '.join(str(value).split())}}}" if isinstance(value, Message) else str(value).lower()
        yield f"{name} = {text}"
