"""Finds where JSON does not fit a message type: the reader itself tells a field's name, but not which of many."""

from collections.abc import Iterator
from typing import Any

from protobuf import (
    DescField,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescMessage,
    Registry,
    message_from_json_value,
)
from pydantic_core import from_json

from midstream_server.domain.errors import Violation
from midstream_server.domain.schemas.field_path import Key, instance_path

_LOOKED_AT_BYTES = 64 * 1024
"""In a larger text nobody looks for the place: each level of nesting would be read again."""

Path = tuple[str | int, ...]


def unreadable(message: DescMessage, registry: Registry, text: str, error: Exception) -> Violation:
    """The violation, with the innermost place that can be told."""
    path: Path = ()
    problem: Exception = error
    if len(text) <= _LOOKED_AT_BYTES:
        value = from_json(text, allow_inf_nan=False)
        path, problem = _innermost(message, registry, value, error)
    shown = " ".join(str(problem).split())
    return Violation(instance_path(path), shown if len(shown) <= 200 else shown[:200] + "…", "type")


def doubled_oneof(message: DescMessage, text: str) -> Violation | None:
    """Where two members of a oneof are set: whichever came last would silently win."""
    waiting: list[tuple[Path, DescMessage, Any]] = [((), message, from_json(text, allow_inf_nan=False))]
    while waiting:
        path, within, value = waiting.pop()
        if not isinstance(value, dict) or _has_own_form(within):
            continue
        for oneof in within.oneofs:
            names = [
                name for field in oneof.fields for name in {field.json_name, field.name} if value.get(name) is not None
            ]
            if len(names) > 1:
                where = instance_path((*path, oneof.name))
                return Violation(where, f"only one of {' and '.join(names)} may be set", "oneof")
        waiting += _children(path, within, value)
    return None


def message_of(field: DescField) -> DescMessage | None:
    """The message that the field's values are, or hold."""
    match field.value:
        case DescFieldValueMessage(message=message):
            return message
        case DescFieldValueList(element=DescMessage() as message):
            return message
        case DescFieldValueMap(value=DescMessage() as message):
            return message
        case _:
            return None


def _innermost(message: DescMessage, registry: Registry, value: Any, error: Exception) -> tuple[Path, Exception]:
    path: Path = ()
    while True:
        if not isinstance(value, dict) or _has_own_form(message):
            return path, error
        for inner_path, inner, inner_value in _children(path, message, value):
            problem = _problem(inner, registry, inner_value)
            if problem is not None:
                path, message, value, error = inner_path, inner, inner_value, problem
                break
        else:
            return _field_at_fault(path, message, registry, value), error


def _field_at_fault(path: Path, message: DescMessage, registry: Registry, value: dict[str, Any]) -> Path:
    names = {field.json_name: field.name for field in message.fields}
    for name, each in value.items():
        if _problem(message, registry, {name: each}) is not None:
            return (*path, names.get(name, name))
    return path


def _problem(message: DescMessage, registry: Registry, value: Any) -> Exception | None:
    try:
        message_from_json_value(message.type, value, registry=registry)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return error
    return None


def _children(path: Path, message: DescMessage, value: dict[str, Any]) -> Iterator[tuple[Path, DescMessage, Any]]:
    for field in message.fields:
        inner = message_of(field)
        if inner is None:
            continue
        for name in {field.json_name: None, field.name: None}:
            held = value.get(name)
            if held is None:
                continue
            at = (*path, field.name)
            match field.value:
                case DescFieldValueList() if isinstance(held, list):
                    yield from (((*at, index), inner, each) for index, each in enumerate(held))
                case DescFieldValueMap() if isinstance(held, dict):
                    yield from (((*at, Key(key)), inner, each) for key, each in held.items())
                case DescFieldValueMessage():
                    yield at, inner, held


def _has_own_form(message: DescMessage) -> bool:
    """Well-known types are written in JSON in a way of their own."""
    return message.type_name.startswith("google.protobuf.")
