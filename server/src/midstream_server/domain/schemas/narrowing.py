"""What a new JSON Schema refuses that the old one took, as far as it can be told by looking at the same place in both.

Looked at are objects' properties, arrays' items, definitions, and the words below. Alternatives (`anyOf`, ...) are not
compared: these are warnings, and none does not mean that nothing is narrower.
"""

from collections.abc import Iterator
from typing import Any, Final

_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MAX_WARNINGS: Final = 20


def narrowings(old: Any, new: Any) -> list[str]:
    """For a person to read; at most 20."""
    found: list[str] = []
    for warning in _narrowings(old, new, ""):
        if len(found) == _MAX_WARNINGS:
            return [*found, "and more"]
        found.append(warning)
    return found


def _narrowings(old: Any, new: Any, place: str) -> Iterator[str]:
    shown = place or "the payload"
    if new is False and old is not False:
        yield f"{shown}: nothing is allowed any more"
    if not isinstance(new, dict):
        return
    if not isinstance(old, dict):
        old = {}
    yield from _values(old, new, shown)
    yield from _bounds(old, new, shown)
    for name in _names(new, "required") - _names(old, "required"):
        yield f"{shown}: {name!r} is required now"
    yield from _properties(old, new, place)
    if isinstance(new.get("items"), dict | bool) and "items" in new:
        yield from _narrowings(old.get("items", True), new["items"], f"{place}[]")
    for name, schema in _schemas(new, "$defs").items():
        if name in _schemas(old, "$defs"):
            yield from _narrowings(old["$defs"][name], schema, f"$defs.{name}")


def _values(old: dict[str, Any], new: dict[str, Any], shown: str) -> Iterator[str]:
    if "type" in new:
        gone = _types(old) - _types(new)
        if gone:
            yield f"{shown}: no {', '.join(sorted(gone))} any more"
    for word in ("enum", "const"):
        if word in new and old.get(word, ...) != new[word]:
            kept = new["enum"] if word == "enum" else [new["const"]]
            before = old.get("enum") if "enum" in old else [old["const"]] if "const" in old else None
            gone_values = None if before is None else [value for value in before if value not in kept]
            if gone_values is None:
                yield f"{shown}: only certain values are allowed now"
            elif gone_values:
                yield f"{shown}: {', '.join(map(repr, gone_values[:3]))} is not allowed any more"
    if "pattern" in new and old.get("pattern") != new["pattern"]:
        yield f"{shown}: has to match another pattern now: {new['pattern']!r}"
    if new.get("uniqueItems") is True and old.get("uniqueItems") is not True:
        yield f"{shown}: no item may be there twice now"


def _bounds(old: dict[str, Any], new: dict[str, Any], shown: str) -> Iterator[str]:
    for word in (*_UPPER, *_LOWER):
        limit, before = new.get(word), old.get(word)
        if not isinstance(limit, int | float):
            continue
        tighter = not isinstance(before, int | float) or (limit < before if word in _UPPER else limit > before)
        if tighter:
            yield f"{shown}: {word} is {limit} now" + ("" if before is None else f", was {before}")


def _properties(old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[str]:
    before, after = _schemas(old, "properties"), _schemas(new, "properties")
    closed = new.get("additionalProperties") is False
    for name, schema in before.items():
        inner = f"{place}.{name}" if place else name
        if name in after:
            yield from _narrowings(schema, after[name], inner)
        elif closed:
            yield f"{inner}: is not allowed any more"
    if closed and old.get("additionalProperties") is not False:
        yield f"{place or 'the payload'}: properties that are not declared are not allowed any more"


def _types(schema: dict[str, Any]) -> set[str]:
    """A number may be an integer."""
    named = schema.get("type", ["array", "boolean", "null", "number", "object", "string"])
    types = {named} if isinstance(named, str) else set(named)
    return types | {"integer"} if "number" in types else types


def _names(schema: dict[str, Any], word: str) -> set[str]:
    held = schema.get(word)
    return {name for name in held if isinstance(name, str)} if isinstance(held, list) else set()


def _schemas(schema: dict[str, Any], word: str) -> dict[str, Any]:
    held = schema.get(word)
    return held if isinstance(held, dict) else {}
