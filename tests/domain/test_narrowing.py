"""JSON Schemas that take less than before."""

from typing import Any

import pytest

from midstream_server.domain.schemas.narrowing import narrowings

TEXT = {"type": "string"}
OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a"]}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (OBJECT, OBJECT | {"required": ["a", "b"]}, ["the payload: 'b' is required now"]),
        (
            OBJECT | {"additionalProperties": False},
            {"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False},
            ["b: is not allowed any more"],
        ),
        (
            OBJECT,
            OBJECT | {"additionalProperties": False},
            ["the payload: properties that are not declared are not allowed any more"],
        ),
        ({"type": ["string", "null"]}, TEXT, ["the payload: no null any more"]),
        ({"type": "number"}, {"type": "integer"}, ["the payload: no number any more"]),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, ["the payload: 'b' is not allowed any more"]),
        ({"enum": ["a", "b"]}, {"const": "a"}, ["the payload: 'b' is not allowed any more"]),
        (TEXT, {"type": "string", "enum": ["a"]}, ["the payload: only certain values are allowed now"]),
        ({"maxLength": 5}, {"maxLength": 4}, ["the payload: maxLength is 4 now, was 5"]),
        ({"minimum": 1}, {"minimum": 2}, ["the payload: minimum is 2 now, was 1"]),
        ({}, {"minItems": 1}, ["the payload: minItems is 1 now"]),
        ({}, {"pattern": "^a"}, ["the payload: has to match another pattern now: '^a'"]),
        ({}, {"uniqueItems": True}, ["the payload: no item may be there twice now"]),
        (True, False, ["the payload: nothing is allowed any more"]),
        (
            {"properties": {"a": {"items": {"properties": {"b": {"maximum": 2}}}}}},
            {"properties": {"a": {"items": {"properties": {"b": {"maximum": 1}}}}}},
            ["a[].b: maximum is 1 now, was 2"],
        ),
        ({"$defs": {"D": TEXT}}, {"$defs": {"D": {"type": "null"}}}, ["$defs.D: no string any more"]),
    ],
)
def test_narrower(old: Any, new: Any, told: list[str]) -> None:
    assert narrowings(old, new) == told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OBJECT, OBJECT),
        (OBJECT | {"required": ["a", "b"]}, OBJECT),
        (OBJECT, {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}),
        (TEXT, {"type": ["string", "null"]}),
        ({"type": "integer"}, {"type": "number"}),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}),
        ({"const": "a"}, {"enum": ["a", "b"]}),
        ({"maxLength": 5}, {"maxLength": 6}),
        ({"minimum": 2}, {"minimum": 1}),
        ({"pattern": "^a"}, {}),
        (False, True),
        ({"type": "string"}, True),
    ],
)
def test_not_narrower(old: Any, new: Any) -> None:
    assert narrowings(old, new) == []


def test_there_is_an_end_to_it() -> None:
    names = [f"n{number}" for number in range(100)]
    assert len(narrowings({}, {"required": names})) == 21
