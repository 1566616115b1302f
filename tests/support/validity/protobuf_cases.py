"""Message types with rules, and JSON payloads for them: some by hand, many at random."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.validity.build import build

HAND_WRITTEN: dict[str, list[str]] = {
    "shape": [
        '{"name":"a"}',
        '{"name":"a","high":"9007199254740993"}',
        '{"name":"a","high":9007199254740993}',
        '{"name":"a","high":"9007199254740994"}',
        '{"name":"a","low":"5","high":"4"}',
        '{"name":"a","low":"1","high":"2","count":"18446744073709551615"}',
        '{"name":"a","count":"18446744073709551616"}',
        '{"name":"a","count":-1}',
        "{}",
        '{"name":"ééééé"}',
        '{"name":"😀😀😀😀😀"}',
        '{"name":"sechsx"}',
        '{"name":"a","kind":"KIND_ROUND"}',
        '{"name":"a","kind":1}',
        '{"name":"a","kind":7}',
        '{"name":"a","openKind":7}',
        '{"name":"a","open_kind":"KIND_SQUARE"}',
        '{"name":"a","openKind":"KIND_NOPE"}',
        '{"name":"a","tags":["x","y","z"]}',
        '{"name":"a","tags":["x","x"]}',
        '{"name":"a","tags":["x","",  "z","q"]}',
        '{"name":"a","tags":"x"}',
        '{"name":"a","tags":[null]}',
        '{"name":"a","prices":{"ab":1}}',
        '{"name":"a","prices":{"AB":1,"b":0}}',
        '{"name":"a","prices":{"a":1,"b":2,"c":3}}',
        '{"name":"a","numbered":{"-9223372036854775808":{"name":"x"}}}',
        '{"name":"a","numbered":{"7":{"name":"too long"}}}',
        '{"name":"a","numbered":{"x":{"name":"x"}}}',
        '{"name":"a","children":[{"name":"b","children":[{"name":"c"},{"name":""}]}]}',
        '{"name":"a","children":[{"name":"b"},{"name":"c"},{"name":"d"}]}',
        '{"name":"a","parent":{"name":"b","parent":{"name":"c","parent":{"kind":9}}}}',
        '{"name":"a","text":"toast"}',
        '{"name":"a","text":"bread"}',
        '{"name":"a","number":1.5}',
        '{"name":"a","number":"NaN"}',
        '{"name":"a","number":"Infinity"}',
        '{"name":"a","nested":{"name":"b"}}',
        '{"name":"a","text":"t","number":1}',
        '{"name":"a","any":{"@type":"type.googleapis.com/shapes.Shape","name":"b"}}',
        '{"name":"a","any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.5s"}}',
        '{"name":"a","any":{"@type":"type.googleapis.com/no.Such"}}',
        '{"name":"a","struct":{"a":[1,null,{"b":true}],"c":"d"}}',
        '{"name":"a","struct":[]}',
        '{"name":"a","value":null}',
        '{"name":"a","value":[1,"x",{}]}',
        '{"name":"a","wrapped":"xy"}',
        '{"name":"a","wrapped":"x"}',
        '{"name":"a","wrapped":""}',
        '{"name":"a","wrapped":null}',
        '{"name":"a","at":"2026-01-01T00:00:00.123456789Z"}',
        '{"name":"a","at":"yesterday"}',
        '{"name":"a","wait":"1s"}',
        '{"name":"a","wait":"0.5s"}',
        '{"name":"a","wait":"soon"}',
        '{"name":"a","blob":"AQID"}',
        '{"name":"a","blob":"AQIDBA=="}',
        '{"name":"a","blob":"*"}',
        '{"name":"a","maybe":false}',
        '{"name":"a","maybe":"no"}',
        '{"name":"a","ratio":0.5}',
        '{"name":"a","ratio":1.5}',
        '{"name":"a","ratio":"NaN"}',
        '{"name":"a","nope":1}',
        '{"name":7}',
        "[]",
        "null",
        '"a"',
    ],
    "order": [
        '{"id":"018f6b1c-7d6e-7c3e-9d1a-0123456789ab","item":{"sku":"a","amount":1},"cash":true}',
        '{"id":"018f6b1c-7d6e-7c3e-9d1a-0123456789ab","item":{"sku":"a","amount":1},"card":""}',
        '{"id":"x","item":{"sku":"","amount":0}}',
        '{"id":"018f6b1c-7d6e-7c3e-9d1a-0123456789ab","cash":false}',
        '{"item":{"amount":100},"cash":true}',
    ],
}

SEED = 6
TYPES = 30
VALUES = 15


def shapes() -> bytes:
    return build({"shapes.proto": (Path(__file__).parent / "shapes.proto").read_text()})


def random_types() -> tuple[bytes, dict[str, list[str]]]:
    """A descriptor set with many types, and payloads by stream."""
    chance = random.Random(SEED)
    texts: list[str] = []
    payloads: dict[str, list[str]] = {}
    for number in range(TYPES):
        fields = [_field(chance, index) for index in range(1, chance.randint(2, 6))]
        lines = "\n".join(f"  {line}" for line, _ in fields)
        texts.append(
            f'message Random{number} {{\n  option (midstream.v1.input_stream) = {{id: "random-{number}"}};\n{lines}\n'
            f"  Random{number} self = 30;\n}}\n"
        )
        payloads[f"random-{number}"] = [json.dumps(_value(chance, fields, depth=2)) for _ in range(VALUES)]
    head = 'syntax = "proto3";\npackage random;\nimport "buf/validate/validate.proto";\n'
    head += 'import "midstream/v1/input_stream.proto";\nenum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }\n'
    return build({"random.proto": head + "".join(texts)}), payloads


def _field(chance: random.Random, index: int) -> tuple[str, tuple[str, list[Any]]]:
    """A field's line, and its name with values around what its rule allows."""
    name = f"f{index}"
    low = chance.randint(0, 3)
    high = low + chance.randint(0, 3)
    text = ["", "a", "ab", "abc", "abcd", "é😀", "zzzzzzzz"]
    whole: list[Any] = [low - 1, low, high, high + 1, 0, str(high)]
    kinds: list[tuple[str, str, list[Any]]] = [
        ("string", f"string = {{min_len: {low}, max_len: {high}}}", text),
        ("string", 'string.pattern = "^a+b?$"', ["", "a", "ab", "abb", "xa"]),
        ("string", 'string = {in: ["a", "b"]}', ["", "a", "b", "c"]),
        ("string", "string.email = true", ["", "a@b.de", "a@", "nobody"]),
        ("int32", f"int32 = {{gte: {low}, lte: {high}}}", whole),
        ("int64", f"int64 = {{gt: {low}}}", [*whole, "9007199254740993"]),
        ("uint32", f"uint32.lt = {high + 1}", [*whole, 4294967295, 4294967296]),
        ("sint64", f"sint64 = {{not_in: [{low}]}}", [low, high, "-9223372036854775808"]),
        ("double", f"double = {{gt: {low}, lt: {high + 1}}}", [low, low + 0.5, high + 1, "NaN", "-Infinity"]),
        ("bool", "bool.const = true", [True, False, 1]),
        ("bytes", f"bytes.max_len = {low}", ["", "AA==", "AAAA", "AAAAAAAA"]),
        ("Colour", "enum.defined_only = true", ["COLOUR_RED", 1, 0, 5, "COLOUR_BLUE"]),
        ("repeated string", f"repeated = {{min_items: {low}, unique: true}}", [[], ["a"], ["a", "a"], list("abcdef")]),
        ("repeated int32", f"repeated.items.int32.lte = {high}", [[], [high], [0, high + 1, high + 2]]),
        (
            "map<string, int32>",
            f"map = {{min_pairs: 1, values: {{int32: {{gt: {low}}}}}}}",
            [{}, {"k y": low}, {"a": 9}],
        ),
        ("optional string", f"string.min_len = {low + 1}", ["", "x", "xxxxx"]),
        ("optional int32", "required = true", [0, 5]),
    ]
    kind, rule, values = chance.choice(kinds)
    line = f"{kind} {name} = {index} [(buf.validate.field).{rule}];"
    return line, (name, values)


def _value(chance: random.Random, fields: list[tuple[str, tuple[str, list[Any]]]], *, depth: int) -> dict[str, Any]:
    value = {name: chance.choice(values) for _, (name, values) in fields if chance.random() < 0.8}
    if depth and chance.random() < 0.3:
        value["self"] = _value(chance, fields, depth=depth - 1)
    return value


def all_types() -> Iterator[tuple[bytes, dict[str, list[str]]]]:
    yield shapes(), HAND_WRITTEN
    yield random_types()
