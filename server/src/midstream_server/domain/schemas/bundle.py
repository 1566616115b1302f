"""The `.proto` files that every server has: well-known types, rules, the contract. Nobody needs to send them."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

_MODULES = (
    *(
        f"google.protobuf.{name}_pb2"
        for name in (
            *("any", "api", "descriptor", "duration", "empty", "field_mask", "source_context", "struct", "timestamp"),
            *("type", "wrappers"),
        )
    ),
    "buf.validate.validate_pb2",
    *(f"midstream.v1.{name}_pb2" for name in ("input_stream", "record")),
)


@cache
def bundled() -> dict[str, FileDescriptorProto]:
    """By name; each after those that it imports."""
    files: dict[str, FileDescriptorProto] = {}

    def add(descriptor: FileDescriptor) -> None:
        for imported in descriptor.dependencies:
            add(imported)
        if descriptor.name not in files:
            file = FileDescriptorProto()
            descriptor.CopyToProto(file)
            for message in file.message_type:
                name_in_json(message)
            files[descriptor.name] = file

    for module in _MODULES:
        add(import_module(module).DESCRIPTOR)
    return files


def completed(files: Iterable[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """The files with those of the bundle that they need in front; each after those that it imports."""
    own = list(files)
    wanted: set[str] = set()

    def want(file: FileDescriptorProto) -> None:
        for name in file.dependency:
            if name in bundled() and name not in wanted:
                wanted.add(name)
                want(bundled()[name])

    for file in own:
        want(file)
    return [*(file for name, file in bundled().items() if name in wanted), *own]


def name_in_json(message: DescriptorProto) -> None:
    """Writes down what fields are called in JSON. Some tools leave that out where it follows from the name."""
    for field in message.field:
        if not field.json_name:
            head, *rest = field.name.split("_")
            field.json_name = head + "".join(word[:1].upper() + word[1:] for word in rest)
    for nested in message.nested_type:
        name_in_json(nested)
