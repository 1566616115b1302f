"""Reads a descriptor set that somebody sent, and cuts from it what one type needs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from buf.validate import validate_pb2
from midstream.v1 import input_stream_pb2
from midstream_server.domain.schemas.bundle import bundled, name_in_json
from midstream_server.domain.schemas.errors import schema_invalid

MAX_BYTES = 1024 * 1024
MAX_FILES = 1_000
MAX_MESSAGES = 300
"""That one stream's type reaches: compiling them goes from one into the next."""

# Options that say what is valid. All others are for generators of code and differ between tools.
_MEANINGFUL = {"allow_alias", "map_entry", "message_set_wire_format", "packed"}
_KEPT_OPTIONS: Sequence[Any] = (
    *(validate_pb2.field, validate_pb2.message, validate_pb2.oneof),
    input_stream_pb2.input_stream,
)


class Files(NamedTuple):
    """A sound set. `own` are the files that were sent, but those of the bundle; each after those that it imports."""

    pool: DescriptorPool
    own: list[FileDescriptorProto]


def read_files(data: bytes) -> Files:
    """Raises Refused: SCHEMA_INVALID, with the file."""
    if len(data) > MAX_BYTES:
        raise schema_invalid(f"the descriptor set has {len(data)} bytes, at most {MAX_BYTES} are allowed")
    try:
        files = FileDescriptorSet.FromString(data).file
    except DecodeError as error:
        raise schema_invalid(f"not a google.protobuf.FileDescriptorSet: {error}") from None
    if not files:
        raise schema_invalid("the descriptor set has no files")
    if len(files) > MAX_FILES:
        raise schema_invalid(f"the descriptor set has {len(files)} files, at most {MAX_FILES:,} are allowed")
    sent: dict[str, FileDescriptorProto] = {}
    for file in files:
        if file.name in sent:
            raise schema_invalid("is twice in the descriptor set", file=file.name)
        sent[file.name] = file
    own = _in_order({name: file for name, file in sent.items() if name not in bundled()})
    return Files(build_pool(own), own)


def build_pool(own: Iterable[FileDescriptorProto]) -> DescriptorPool:
    """A pool with the bundle and the files. Raises Refused: SCHEMA_INVALID."""
    pool = DescriptorPool()
    for file in (*bundled().values(), *own):
        try:
            pool.AddSerializedFile(file.SerializeToString())
        except (TypeError, ValueError, DecodeError) as error:
            raise schema_invalid(f"cannot be built: {error}", file=file.name) from None
    return pool


def _in_order(files: Mapping[str, FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Each file after those that it imports. Without recursion: a chain may be as long as there are files."""
    ordered: dict[str, FileDescriptorProto] = {}
    for start in files:
        path: dict[str, Iterator[str]] = {start: iter(files[start].dependency)}
        while path:
            name, imports = next(reversed(path.items()))
            wanted = next((each for each in imports if each not in ordered and each not in bundled()), None)
            if wanted is None:
                ordered[name] = files[name]
                path.popitem()
            elif wanted in path:
                raise schema_invalid(f"imports {wanted!r}, which imports it in turn", file=name)
            elif wanted not in files:
                raise schema_invalid(
                    f"imports {wanted!r}, which is not in the descriptor set; write it with --include_imports",
                    file=name,
                )
            else:
                path[wanted] = iter(files[wanted].dependency)
    return list(ordered.values())


def messages_of(file: FileDescriptor) -> Iterator[Descriptor]:
    """All messages of a file, nested ones too."""
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop(0)
        yield message
        waiting += message.nested_types


class Needs(NamedTuple):
    """What a type needs: messages it reaches, by name, and the top-level names to keep, by file."""

    messages: dict[str, Descriptor]
    kept: dict[str, set[str]]


def needs_of(root: Descriptor) -> Needs:
    """All that can occur in a message of this type."""
    messages: dict[str, Descriptor] = {}
    kept: dict[str, set[str]] = {}
    waiting: list[Descriptor | EnumDescriptor] = [root]
    seen: set[str] = set()
    while waiting:
        each = waiting.pop()
        if each.full_name in seen:
            continue
        seen.add(each.full_name)
        if each.containing_type is not None:
            # Kept as a whole, so that names stay what they are.
            waiting.append(each.containing_type)
        else:
            kept.setdefault(each.file.name, set()).add(each.name)
        if isinstance(each, Descriptor):
            messages[each.full_name] = each
            waiting += each.nested_types
            for field in each.fields:
                waiting += (of for of in (field.message_type, field.enum_type) if of is not None)
    return Needs(messages, kept)


def prune(files: Files, root: Descriptor) -> list[FileDescriptorProto]:
    """The files that a message of this type needs, with nothing else in them; each after those that it imports.

    The same whichever tool has made the descriptor set: what differs between them is left out. Raises Refused:
    SCHEMA_INVALID.
    """
    needs = needs_of(root)
    if len(needs.messages) > MAX_MESSAGES:
        raise schema_invalid(
            f"message {root.full_name} needs {len(needs.messages)} message types, at most {MAX_MESSAGES} are allowed",
            file=root.file.name,
        )
    rules = _rule_files(files, root.file)
    pruned: list[FileDescriptorProto] = []
    for file in files.own:
        kept = needs.kept.get(file.name, set())
        if kept or file.name in rules:
            pruned.append(_cut(files.pool.FindFileByName(file.name), kept, with_rules=file.name in rules))
    return pruned


def _rule_files(files: Files, root: FileDescriptor) -> set[str]:
    """Files with rules of the user's own (extensions of the rules' messages) that the file can use."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        file = waiting.pop()
        if file.name in seen or file.name in bundled():
            continue
        seen.add(file.name)
        waiting += file.dependencies
        if any(_is_rule(extension) for extension in file.extensions_by_name.values()):
            found.add(file.name)
    return found


def _is_rule(extension: FieldDescriptor) -> bool:
    return extension.containing_type is not None and extension.containing_type.file.package == "buf.validate"


def _cut(file: FileDescriptor, kept: set[str], *, with_rules: bool) -> FileDescriptorProto:
    whole = FileDescriptorProto()
    file.CopyToProto(whole)
    cut = FileDescriptorProto(name=whole.name, package=whole.package, syntax=whole.syntax)
    if whole.HasField("edition"):
        cut.edition = whole.edition
    if whole.options.HasField("features"):
        cut.options.features.CopyFrom(whole.options.features)
    cut.message_type.extend(each for each in whole.message_type if each.name in kept)
    cut.enum_type.extend(each for each in whole.enum_type if each.name in kept)
    if with_rules:
        cut.extension.extend(each for each in whole.extension if _is_rule(file.extensions_by_name[each.name]))
    for message in cut.message_type:
        name_in_json(message)
        _normalise(message)
    for enum in cut.enum_type:
        _keep_options(enum)
    used = {field.message_type or field.enum_type for field in _fields(file, kept, with_rules=with_rules)}
    used |= {field.containing_type for field in file.extensions_by_name.values() if with_rules and _is_rule(field)}
    cut.dependency.extend(sorted({each.file.name for each in used if each is not None} - {file.name}))
    return cut


def _fields(file: FileDescriptor, kept: set[str], *, with_rules: bool) -> Iterator[FieldDescriptor]:
    waiting = [message for name, message in file.message_types_by_name.items() if name in kept]
    while waiting:
        message = waiting.pop()
        yield from message.fields
        waiting += message.nested_types
    if with_rules:
        yield from (each for each in file.extensions_by_name.values() if _is_rule(each))


def _normalise(message: DescriptorProto) -> None:
    _keep_options(message)
    del message.extension[:]
    for field in message.field:
        _keep_options(field)
    for oneof in message.oneof_decl:
        _keep_options(oneof)
    for enum in message.enum_type:
        _keep_options(enum)
    for nested in message.nested_type:
        _normalise(nested)


def _keep_options(owner: Any) -> None:
    """Drops the options that are not known here: they are for generators of code."""
    if not owner.HasField("options"):
        return
    kept = type(owner.options)()
    for field, value in owner.options.ListFields():
        if field.is_extension and field in _KEPT_OPTIONS:
            kept.Extensions[field].CopyFrom(value)
        elif field.name == "features":
            kept.features.CopyFrom(value)
        elif field.name in _MEANINGFUL and not field.is_extension:
            setattr(kept, field.name, value)
    owner.ClearField("options")
    if kept.ByteSize():
        owner.options.CopyFrom(kept)
