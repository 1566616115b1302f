"""JSON Schemas, and values for them: some by hand, many at random."""

import random
from collections.abc import Iterator
from typing import Any

_MESSAGE = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 5},
        "kind": {"enum": ["chat", "stop"]},
        "count": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3, "uniqueItems": True},
    },
    "required": ["text"],
    "additionalProperties": False,
}
_TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            },
            "required": ["value"],
        }
    },
    "$ref": "#/$defs/Node",
}
_UNION = {
    "oneOf": [
        {"type": "object", "properties": {"type": {"const": "a"}, "a": {"type": "integer"}}, "required": ["type", "a"]},
        {"type": "object", "properties": {"type": {"const": "b"}, "b": {"type": "string"}}, "required": ["type", "b"]},
    ]
}

HAND_WRITTEN: list[tuple[str, Any, list[Any]]] = [
    (
        "message",
        _MESSAGE,
        [
            {"text": "a"},
            {"text": ""},
            {"text": "😀😀😀😀😀"},
            {"text": "sechsx"},
            {},
            {"text": "a", "nope": 1},
            {"text": "a", "kind": "stop", "count": 9, "tags": ["x", "y"]},
            {"text": "a", "kind": "go", "count": 10, "tags": ["x", "x"]},
            {"text": "a", "count": 1.5},
            {"text": "a", "count": 1.0},
            {"text": "a", "count": "1"},
            {"text": "a", "count": -1, "tags": [1, "a", None, "b"]},
            {"text": None},
            [],
            None,
            "a",
        ],
    ),
    (
        "tree",
        _TREE,
        [
            {"value": 1},
            {"value": 1, "children": [{"value": 2, "children": [{"value": "x"}]}]},
            {"value": 1, "children": [{}]},
            {"value": 1, "next": {"value": 2, "next": None}},
            {"value": 1, "next": {"value": 2, "next": 5}},
        ],
    ),
    (
        "union",
        _UNION,
        [
            {"type": "a", "a": 1},
            {"type": "b", "b": "x"},
            {"type": "a", "b": "x"},
            {"type": "c"},
            {"type": "a", "a": "1"},
        ],
    ),
    ("anything", True, [None, 1, {}, "x"]),
    ("nothing", False, [None, {}]),
    (
        "map",
        {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z]+$"},
            "additionalProperties": {"type": "integer"},
            "minProperties": 1,
        },
        [{"a": 1}, {}, {"A": 1}, {"a": "x"}, {"a b": 1}],
    ),
    (
        "tuple",
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
        [["a", 1], ["a"], ["a", 1, 2], [1, "a"]],
    ),
    (
        "condition",
        {"if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"required": ["b"]}},
        [{"a": 1}, {"a": 1, "b": 2}, {"a": 2}, {}],
    ),
]

SEED = 7
SCHEMAS = 40
VALUES = 8


def all_schemas() -> Iterator[tuple[str, Any, list[Any]]]:
    yield from HAND_WRITTEN
    chance = random.Random(SEED)
    for number in range(SCHEMAS):
        schema = _schema(chance, depth=3)
        values = [_value(chance, schema, depth=4) for _ in range(VALUES)]
        yield f"random-{number}", schema, values


def _schema(chance: random.Random, *, depth: int) -> dict[str, Any]:
    low = chance.randint(0, 3)
    high = low + chance.randint(0, 3)
    simple: list[dict[str, Any]] = [
        {"type": "string", "minLength": low, "maxLength": high},
        {"type": "string", "pattern": "^a+b?$"},
        {"type": "integer", "minimum": low, "maximum": high},
        {"type": "number", "exclusiveMinimum": low},
        {"type": "integer", "multipleOf": low + 1},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", 1, None, True]},
        {"const": {"a": [1]}},
        {"type": ["string", "null"]},
    ]
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(simple)
    inner = [_schema(chance, depth=depth - 1) for _ in range(3)]
    return chance.choice(
        [
            {"type": "array", "items": inner[0], "minItems": low, "uniqueItems": chance.random() < 0.5},
            {
                "type": "object",
                "properties": {"a": inner[0], "b c": inner[1], "d": inner[2]},
                "required": chance.sample(["a", "b c", "d"], chance.randint(0, 2)),
                "additionalProperties": chance.random() < 0.5,
            },
            {"anyOf": inner[:2]},
            {"allOf": [{"type": "object"}, {"properties": {"a": inner[0]}}]},
            {"type": "object", "additionalProperties": inner[0], "maxProperties": high},
        ]
    )


def _value(chance: random.Random, schema: Any, *, depth: int) -> Any:
    """Mostly of the schema's shape, so that what is valid and what is not both happen."""
    if depth == 0 or chance.random() < 0.1:
        return chance.choice([None, True, 0, -1, 2.5, "", "a", "ab", [], {}])
    match schema:
        case {"anyOf": options}:
            return _value(chance, chance.choice(options), depth=depth - 1)
        case {"allOf": options}:
            return _value(chance, options[1] | {"type": "object"}, depth=depth - 1)
        case {"enum": options}:
            return chance.choice([*options, "b"])
        case {"const": value}:
            return chance.choice([value, {"a": [2]}])
        case {"type": "array", "items": items}:
            return [_value(chance, items, depth=depth - 1) for _ in range(chance.randint(0, 4))]
        case {"type": "object"}:
            properties = schema.get("properties", {})
            value = {
                name: _value(chance, each, depth=depth - 1)
                for name, each in properties.items()
                if chance.random() < 0.8
            }
            more = schema.get("additionalProperties")
            if isinstance(more, dict) or chance.random() < 0.2:
                value["z"] = _value(chance, more if isinstance(more, dict) else {}, depth=depth - 1)
            return value
        case {"type": "string"}:
            return chance.choice(["", "a", "ab", "aab", "abcdef", "é😀"])
        case {"type": "integer" | "number"}:
            return chance.choice([-1, 0, 1, 2, 3, 4, 6, 1.5])
        case {"type": "boolean"}:
            return chance.random() < 0.5
        case _:
            return chance.choice([None, "x", 1])
