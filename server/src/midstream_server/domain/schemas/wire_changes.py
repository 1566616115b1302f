"""Changes after which what was written by the old types cannot be read by the new ones: what `buf breaking` calls WIRE.

The rules have buf's names. Messages and enums are compared by their full names, fields and values by their numbers.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from midstream_server.domain.schemas.errors import Change

Type = FieldDescriptorProto.Type
_GROUPS: Final = (
    {Type.TYPE_INT32, Type.TYPE_INT64, Type.TYPE_UINT32, Type.TYPE_UINT64, Type.TYPE_BOOL},
    {Type.TYPE_SINT32, Type.TYPE_SINT64},
    {Type.TYPE_FIXED32, Type.TYPE_SFIXED32},
    {Type.TYPE_FIXED64, Type.TYPE_SFIXED64},
)
_CARDINALITIES: Final[dict[int, str]] = {
    FieldDescriptorProto.LABEL_OPTIONAL: "singular",
    FieldDescriptorProto.LABEL_REQUIRED: "required",
    FieldDescriptorProto.LABEL_REPEATED: "repeated",
}
_NAMED: Final = {Type.TYPE_MESSAGE, Type.TYPE_GROUP}


def wire_changes(old: Iterable[FileDescriptorProto], new: Iterable[FileDescriptorProto]) -> list[Change]:
    """In the order of the old declarations."""
    before, after = _Types(old), _Types(new)
    changes: list[Change] = []
    for name, enum in before.enums.items():
        if name in after.enums:
            changes += _enum_changes(name, enum, after.enums[name])
    for name, message in before.messages.items():
        if name in after.messages:
            changes += _message_changes(name, message, after.messages[name], before, after)
    return changes


class _Types:
    """All messages and enums of some files, by full name with a leading dot."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self.messages: dict[str, DescriptorProto] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        for file in files:
            package = f".{file.package}" if file.package else ""
            self._add(package, file.message_type, file.enum_type)

    def _add(self, prefix: str, messages: Iterable[DescriptorProto], enums: Iterable[EnumDescriptorProto]) -> None:
        for enum in enums:
            self.enums[f"{prefix}.{enum.name}"] = enum
        for message in messages:
            name = f"{prefix}.{message.name}"
            self.messages[name] = message
            self._add(name, message.nested_type, message.enum_type)


def _enum_changes(name: str, old: EnumDescriptorProto, new: EnumDescriptorProto) -> Iterator[Change]:
    shown = name[1:]
    kept = {value.number for value in new.value}
    for number, label in {value.number: value.name for value in old.value}.items():
        if number not in kept and not _reserved(number, new.reserved_range, inclusive=True):
            yield Change(
                f"{shown}.{label}",
                f"enum {shown} has no value {label} = {number} any more, and the number is not reserved",
                "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED",
            )
    yield from _reservations(shown, old, new, "RESERVED_ENUM_NO_DELETE", inclusive=True)


def _message_changes(
    name: str, old: DescriptorProto, new: DescriptorProto, before: _Types, after: _Types
) -> Iterator[Change]:
    shown = name[1:]
    kept = {field.number: field for field in new.field}
    for field in old.field:
        other = kept.get(field.number)
        if other is not None:
            yield from _field_changes(shown, field, other, (old, before), (new, after))
        elif not _reserved(field.number, new.reserved_range, inclusive=False):
            yield Change(
                f"{shown}.{field.name}",
                f"message {shown} has no field {field.name} = {field.number} any more, and the number is not reserved",
                "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED",
            )
    yield from _required(shown, old, new)
    yield from _reservations(shown, old, new, "RESERVED_MESSAGE_NO_DELETE", inclusive=False)


def _field_changes(
    message: str,
    old: FieldDescriptorProto,
    new: FieldDescriptorProto,
    before: tuple[DescriptorProto, _Types],
    after: tuple[DescriptorProto, _Types],
) -> Iterator[Change]:
    path = f"{message}.{new.name}"
    field = f"field {new.name} = {new.number} of {message}"
    was, now = _CARDINALITIES[old.label], _CARDINALITIES[new.label]
    if was != now:
        yield Change(path, f"{field} was {was} and would be {now}", "FIELD_WIRE_COMPATIBLE_CARDINALITY")
    if not _compatible(old, new, before[1], after[1]):
        types = f"{field} was of type {_type_name(old)} and would be of type {_type_name(new)}"
        yield Change(path, types, "FIELD_WIRE_COMPATIBLE_TYPE")
    was, now = _oneof(old, before[0]), _oneof(new, after[0])
    if was != now:
        text = f"{field} was in {was or 'no oneof'} and would be in {now or 'no oneof'}"
        yield Change(path, text, "FIELD_SAME_ONEOF")
    if old.type == new.type and old.default_value != new.default_value:
        text = f"the default of {field} was {old.default_value!r} and would be {new.default_value!r}"
        yield Change(path, text, "FIELD_SAME_DEFAULT")


def _required(message: str, old: DescriptorProto, new: DescriptorProto) -> Iterator[Change]:
    def required(fields: Iterable[FieldDescriptorProto]) -> dict[int, str]:
        return {each.number: each.name for each in fields if each.label == FieldDescriptorProto.LABEL_REQUIRED}

    was, now = required(old.field), required(new.field)
    for number in sorted(was.keys() ^ now.keys()):
        name = was.get(number) or now.get(number)
        text = f"field {name} = {number} of {message} was {'required' if number in was else 'not required'}"
        yield Change(f"{message}.{name}", f"{text}; that cannot be changed", "MESSAGE_SAME_REQUIRED_FIELDS")


def _reservations(name: str, old: Any, new: Any, rule: str, *, inclusive: bool) -> Iterator[Change]:
    """Of a message or an enum."""
    for each in old.reserved_range:
        last = each.end if inclusive else each.end - 1
        if not _covered(each.start, last, new.reserved_range, inclusive=inclusive):
            yield Change(name, f"{name} does not reserve {each.start} to {last} any more", rule)
    for reserved in old.reserved_name:
        if reserved not in new.reserved_name:
            yield Change(name, f"{name} does not reserve the name {reserved!r} any more", rule)


def _covered(first: int, last: int, ranges: Iterable[Any], *, inclusive: bool) -> bool:
    """Whether the ranges together have every number from `first` to `last`."""
    for start, end in sorted((each.start, each.end if inclusive else each.end - 1) for each in ranges):
        if start <= first <= end:
            first = end + 1
    return first > last


def _reserved(number: int, ranges: Iterable[Any], *, inclusive: bool) -> bool:
    return _covered(number, number, ranges, inclusive=inclusive)


def _compatible(old: FieldDescriptorProto, new: FieldDescriptorProto, before: _Types, after: _Types) -> bool:
    if old.type == new.type:
        if old.type == Type.TYPE_ENUM:
            return old.type_name == new.type_name or _superset(old.type_name, new.type_name, before, after)
        return old.type not in _NAMED or old.type_name == new.type_name
    if (old.type, new.type) == (Type.TYPE_STRING, Type.TYPE_BYTES):
        return True
    return any(old.type in group and new.type in group for group in _GROUPS)


def _superset(old: str, new: str, before: _Types, after: _Types) -> bool:
    """An enum may move elsewhere under its own name, with all of its values."""
    was, now = before.enums.get(old), after.enums.get(new)
    if was is None or now is None or was.name != now.name:
        return False
    kept = {(value.name, value.number) for value in now.value}
    return all((value.name, value.number) in kept for value in was.value)


def _oneof(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    if not field.HasField("oneof_index") or field.proto3_optional:
        return ""
    return message.oneof_decl[field.oneof_index].name


def _type_name(field: FieldDescriptorProto) -> str:
    return field.type_name.lstrip(".") or Type.Name(field.type).removeprefix("TYPE_").lower()
