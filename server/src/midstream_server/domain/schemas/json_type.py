"""A JSON Schema, draft 2020-12: compiled within bounds, and checked within bounds."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import jsonschema_rs
from pydantic_core import from_json

from midstream_server.domain.errors import Violation
from midstream_server.domain.schemas.errors import MAX_VIOLATIONS, schema_invalid
from midstream_server.domain.schemas.field_path import instance_path
from midstream_server.domain.schemas.json_bounds import METER, check_bounds, metered
from midstream_server.domain.schemas.protobuf_type import Unfit

MAX_SCHEMA_BYTES: Final = 256 * 1024
_PATTERN_BYTES: Final = 512 * 1024
"""Of a compiled pattern. There is no look-around and no back-reference, so time grows with the text only."""

_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES)

_EXPLAINED_BYTES: Final = 8 * 1024
"""Up to this size all that is wrong is told. Each wrong item costs some 10 µs, and they cannot be had one by one."""

_STEPS: Final = 10_000
_STEPS_EXPLAINING: Final = 200

_DIALECTS = ("https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft/2020-12/schema")


class _Steps:
    """How often a schema may still refer to itself while one payload is checked."""

    def __init__(self) -> None:
        self.left = 0

    def meter(self) -> type:
        steps = self

        class Meter:
            def __init__(self, parent: object, value: object, path: object) -> None: ...

            def validate(self, instance: object) -> None:
                steps.left -= 1
                if steps.left < 0:
                    raise ValueError("too many steps")

        return Meter


class JsonType:
    """One JSON Schema of one version. The first use compiles it."""

    def __init__(self, definition: bytes, stream_id: str = "") -> None:
        self._definition = definition
        self._stream_id = stream_id
        self._steps = _Steps()

    def check_text(self, text: str) -> None:
        """Of well-formed JSON. Raises Unfit."""
        value = from_json(text, allow_inf_nan=False)
        self._steps.left = _STEPS + len(text) // 4
        if self._validator.is_valid(value):
            return
        if self._steps.left < 0:
            raise Unfit([Violation("", "takes too many steps to check: it is too deep for this schema", "$ref")])
        raise Unfit(self._explain(value) if len(text) <= _EXPLAINED_BYTES else self._first(value))

    def check(self) -> list[str]:
        """Compiles it; what of it is not checked. Raises Refused: SCHEMA_INVALID."""
        _ = self._validator
        return [
            f"{pointer}/pattern is not checked: it has look-around or is too large; its format {name!r} tells readers"
            for pointer, name in _unusable_patterns(self._schema)
        ]

    def _explain(self, value: Any) -> list[Violation]:
        self._steps.left = _STEPS_EXPLAINING
        violations: list[Violation] = []
        for error in self._validator.iter_errors(value):
            violations += _violations(error)
            if len(violations) >= MAX_VIOLATIONS:
                break
        return violations[:MAX_VIOLATIONS]

    def _first(self, value: Any) -> list[Violation]:
        """Where the schema has alternatives, each of them would be explained in full."""
        if not self._alternatives:
            self._steps.left = _STEPS_EXPLAINING
            try:
                self._validator.validate(value)
            except jsonschema_rs.ValidationError as error:
                return list(_violations(error))[:MAX_VIOLATIONS]
        return [Violation("", "does not fit; it is too large to tell where", "schema")]

    @cached_property
    def _schema(self) -> Any:
        return read_schema(self._definition, self._stream_id)

    @cached_property
    def _alternatives(self) -> bool:
        return any(f'"{word}"' in self._definition.decode() for word in ("anyOf", "oneOf", "not", "contains", "if"))

    @cached_property
    def _validator(self) -> jsonschema_rs.Validator:
        bounds = check_bounds(self._schema, self._stream_id)
        unusable = {pointer for pointer, _ in _unusable_patterns(self._schema)}
        schema = metered(_without_patterns(self._schema, unusable), bounds)
        try:
            # What was sent does not belong into messages.
            return self._compiled(schema, mask="the value")
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
            raise schema_invalid(f"not a JSON Schema: {self._problem(schema)}", stream_id=self._stream_id) from None

    def _problem(self, schema: Any) -> str:
        """Here the value is the schema: to be shown."""
        try:
            self._compiled(schema, mask=None)
        except jsonschema_rs.ValidationError as error:
            where = instance_path(error.instance_path)
            return f"{f'{where}: ' if where else ''}{_short(error.message)}"
        except (jsonschema_rs.ReferencingError, ValueError) as error:
            return _short(str(error))
        return "it cannot be compiled"

    def _compiled(self, schema: Any, *, mask: str | None) -> jsonschema_rs.Validator:
        return jsonschema_rs.Draft202012Validator(
            schema,
            # Formats are said in words only, as the draft has it: validators differ in them.
            validate_formats=False,
            pattern_options=_PATTERNS,
            keywords={METER: self._steps.meter()},
            mask=mask,
            offline=True,
        )


def read_schema(definition: bytes, stream_id: str) -> Any:
    """The schema as a value. Raises Refused: SCHEMA_INVALID."""
    if len(definition) > MAX_SCHEMA_BYTES:
        raise schema_invalid(
            f"the JSON Schema has {len(definition)} bytes, at most {MAX_SCHEMA_BYTES} are allowed", stream_id=stream_id
        )
    try:
        schema = from_json(definition, allow_inf_nan=False)
    except ValueError as error:
        raise schema_invalid(f"not well-formed JSON: {error}", stream_id=stream_id) from None
    if not isinstance(schema, dict | bool):
        raise schema_invalid("a JSON Schema is an object, true or false", stream_id=stream_id)
    if isinstance(schema, dict) and schema.get("$schema", _DIALECTS[0]) not in _DIALECTS:
        raise schema_invalid(f"$schema is not {_DIALECTS[0]!r}", stream_id=stream_id)
    return schema


def _unusable_patterns(schema: Any) -> list[tuple[str, str]]:
    """Where a pattern only spells out a format, in a way that is not supported: generators do so for emails."""
    found: list[tuple[str, str]] = []
    waiting: list[tuple[str, Any]] = [("", schema)]
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, dict):
            pattern, name = value.get("pattern"), value.get("format")
            if isinstance(pattern, str) and isinstance(name, str) and not _usable(pattern):
                found.append((pointer, name))
            waiting += [(f"{pointer}/{key}", each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{pointer}/{index}", each) for index, each in enumerate(value)]
    return found


def _usable(pattern: str) -> bool:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=_PATTERNS, offline=True)
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True


def _without_patterns(value: Any, pointers: set[str], pointer: str = "") -> Any:
    if isinstance(value, list):
        return [_without_patterns(each, pointers, f"{pointer}/{index}") for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_patterns(each, pointers, f"{pointer}/{key}")
        for key, each in value.items()
        if not (key == "pattern" and pointer in pointers)
    }


def _violations(error: jsonschema_rs.ValidationError) -> Iterator[Violation]:
    """One for each property, as protobuf's rules have it."""
    path = list(error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            yield Violation(instance_path([*path, name]), "is required", "required")
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            for name in names:
                yield Violation(instance_path([*path, name]), "is not known", "additionalProperties")
        case jsonschema_rs.ValidationErrorKind.UnevaluatedProperties(unexpected=names):
            for name in names:
                yield Violation(instance_path([*path, name]), "is not known", "unevaluatedProperties")
        case kind:
            yield Violation(instance_path(path), _short(error.message), _keyword(kind.name, error.schema_path))


def _keyword(kind: str, schema_path: list[str | int]) -> str:
    if kind != "falseSchema":
        return kind
    words = [step for step in schema_path if step in ("additionalProperties", "unevaluatedProperties", "items")]
    return str(words[-1]) if words else "false"


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"
