"""A message type that is known only from its descriptors: checks binary payloads, and reads and writes JSON."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from protobuf import DescMessage, Message, Registry, wkt
from protovalidate import CompilationError, EvaluationError, Validator

from midstream_server.domain.errors import Violation
from midstream_server.domain.schemas import json_path
from midstream_server.domain.schemas.bundle import completed
from midstream_server.domain.schemas.errors import MAX_VIOLATIONS, schema_invalid
from midstream_server.domain.schemas.field_path import field_path

_EXPLAINED_BYTES: Final = 4 * 1024
"""Up to this size all that is wrong is told: each violation costs some 80 µs. Of a larger message the first."""

# What protobuf-py raises for bytes, and for JSON, that are no message of the type.
_UNREADABLE = (ValueError, TypeError, OverflowError, RecursionError)


class Unfit(Exception):
    """A payload that is no message of the type, or breaks its rules."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__(violations)
        self.violations = violations


class ProtobufType:
    """One type of one schema version. The first use compiles it: some 10 ms, and 1.3 MB of memory."""

    def __init__(self, type_name: str, definition: bytes) -> None:
        self.type_name = type_name
        self._definition = definition

    def check_binary(self, value: bytes) -> None:
        """Raises Unfit."""
        try:
            message = self._class.from_binary(value)
        except _UNREADABLE as error:
            problem = f"is no {self.type_name} in its binary form: {_short(error)}"
            raise Unfit([Violation("", problem, "type")]) from None
        violations = self._violations(message, len(value))
        if violations:
            raise Unfit(violations)

    def from_json(self, text: str) -> tuple[bytes, list[Violation]]:
        """The binary form of what the JSON text says, and what rules that breaks. The same text gives the same bytes.

        Raises Unfit where the text says no message of the type.
        """
        message = self._read(text)
        binary = message.to_binary()
        return binary, self._violations(message, len(binary))

    def _read(self, text: str) -> Message:
        try:
            message = self._class.from_json(text, registry=self._registry)
        except _UNREADABLE as error:
            raise Unfit([json_path.unreadable(self._message, self._registry, text, error)]) from None
        if self._has_oneofs:
            doubled = json_path.doubled_oneof(self._message, text)
            if doubled is not None:
                raise Unfit([doubled])
        return message

    def to_json(self, value: bytes) -> str | None:
        """None where it cannot be written, such as for an Any of a type that is not known here."""
        try:
            return self._class.from_binary(value).to_json(registry=self._registry)
        except _UNREADABLE:
            return None

    def check(self, file: str) -> None:
        """Compiles every rule that a message could meet. Raises Refused: SCHEMA_INVALID."""
        try:
            for message in _reachable(self._message):
                self._validator.collect_violations(message.type())
        except (CompilationError, EvaluationError) as error:
            raise schema_invalid(f"a rule cannot be used: {_short(error)}", file=file) from None
        except (*_UNREADABLE, KeyError, AssertionError, AttributeError) as error:
            raise schema_invalid(f"cannot be built: {_short(error)}", file=file) from None

    def _violations(self, message: Message, size: int) -> list[Violation]:
        first_only = size > _EXPLAINED_BYTES
        try:
            return _as_violations(self._validator.collect_violations(message, fail_fast=first_only))
        except (EvaluationError, CompilationError) as error:
            return [Violation("", f"a rule cannot be evaluated: {_short(error)}", "evaluation")]

    @cached_property
    def _registry(self) -> Registry:
        files = completed(FileDescriptorSet.FromString(self._definition).file)
        data = FileDescriptorSet(file=files).SerializeToString()
        return wkt.FileDescriptorSet.from_binary(data).to_registry()

    @cached_property
    def _message(self) -> DescMessage:
        message = self._registry.message(self.type_name)
        if message is None:
            raise KeyError(self.type_name)
        return message

    @cached_property
    def _class(self) -> type[Message]:
        return self._message.type

    @cached_property
    def _validator(self) -> Validator:
        return Validator(self._registry)

    @cached_property
    def _has_oneofs(self) -> bool:
        return any(len(oneof.fields) > 1 for message in _reachable(self._message) for oneof in message.oneofs)


def _reachable(root: DescMessage) -> list[DescMessage]:
    """The innermost first, so that what is compiled at a time is little."""
    found = {root.type_name: root}
    waiting = [root]
    while waiting:
        for field in waiting.pop().fields:
            message = json_path.message_of(field)
            if message is not None and message.type_name not in found:
                found[message.type_name] = message
                waiting.append(message)
    return list(reversed(found.values()))


def _as_violations(found: Iterable[Any]) -> list[Violation]:
    violations = []
    for each in found:
        proto = each.proto
        violations.append(Violation(field_path(proto.field), proto.message or "is not valid", proto.rule_id))
        if len(violations) == MAX_VIOLATIONS:
            break
    return violations


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + "…"
